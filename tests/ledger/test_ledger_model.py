"""The SQLite ledger behaves as a few dictionaries do, whatever is asked in whatever order."""

from __future__ import annotations

from hypothesis import settings

from filemill.durable import Durable, Failpoints
from filemill.ledgers.sqlite import SqliteLedger
from filemill.testing.contracts.ledger_model import LedgerMachine


class SqliteMachine(LedgerMachine):
    async def open_ledger(self):
        return await SqliteLedger.open(":memory:", durable=Durable(Failpoints("test"), sync=False))


TestSqliteMachine = SqliteMachine.TestCase
TestSqliteMachine.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
