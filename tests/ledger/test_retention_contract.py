"""The SQLite ledger keeps the contract of retention."""

from __future__ import annotations

import pytest

from filemill.durable import Durable, Failpoints
from filemill.ledgers.sqlite.ledger import SqliteLedger
from filemill.testing.contracts.retention import RetentionContract


class TestRetention(RetentionContract):
    @pytest.fixture
    def ledger(self, runner, tmp_path):
        durable = Durable(Failpoints("test"), sync=False)
        path = str(tmp_path / "ledger.db")
        ledger = runner.run(SqliteLedger.open(path, durable=durable))
        yield ledger
        runner.run(ledger.close())
