"""The contract of `ports.ledger.Ledger`: derive a test class from `LedgerContract` and give it a `ledger` fixture.

    class TestMyLedger(LedgerContract):
        @pytest.fixture
        def ledger(self, runner): ...          # an empty ledger, opened inside `runner`; closed afterwards

Two more fixtures widen what is tested: `reopen` (an async function that closes the ledger without ceremony and opens
what it left) and `reading` (a function that opens a `ports.reading.Reading` beside it). Where they answer None,
their tests are skipped.
"""

from __future__ import annotations

from filemill.testing.contracts.ledger_access import AccessContract
from filemill.testing.contracts.ledger_children import ChildContract
from filemill.testing.contracts.ledger_chunks import ChunkContract
from filemill.testing.contracts.ledger_claims import ClaimContract
from filemill.testing.contracts.ledger_deeds import DeedContract
from filemill.testing.contracts.ledger_endings import EndingContract
from filemill.testing.contracts.ledger_inputs import InputContract
from filemill.testing.contracts.ledger_journeys import JourneyContract
from filemill.testing.contracts.ledger_moves import MoveContract
from filemill.testing.contracts.ledger_runs import RunContract
from filemill.testing.contracts.ledger_sessions import SessionContract
from filemill.testing.contracts.ledger_turns import TurnContract
from filemill.testing.contracts.ledger_uploads import UploadContract


class LedgerContract(
    JourneyContract,
    ChunkContract,
    ChildContract,
    MoveContract,
    RunContract,
    DeedContract,
    TurnContract,
    ClaimContract,
    EndingContract,
    InputContract,
    UploadContract,
    AccessContract,
    SessionContract,
):
    """What every ledger must do."""
