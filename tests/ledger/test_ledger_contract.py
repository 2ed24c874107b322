"""The SQLite ledger keeps the ledger's contract, in a file and in memory."""

from __future__ import annotations

import pytest

from filemill.durable import Durable, Failpoints
from filemill.ledgers.sqlite.ledger import SqliteLedger
from filemill.ledgers.sqlite.reading import SqliteReading
from filemill.testing.contracts.ledger import LedgerContract


def _durable():
    return Durable(Failpoints("test"), sync=False)


class TestInMemory(LedgerContract):
    @pytest.fixture
    def ledger(self, runner):
        ledger = runner.run(SqliteLedger.open(":memory:", durable=_durable()))
        yield ledger
        runner.run(ledger.close())


class TestInAFile(LedgerContract):
    @pytest.fixture
    def path(self, tmp_path):
        return str(tmp_path / "ledger.db")

    @pytest.fixture
    def ledger(self, runner, path):
        ledger = runner.run(SqliteLedger.open(path, durable=_durable()))
        yield ledger
        runner.run(ledger.close())

    @pytest.fixture
    def reopen(self, ledger, path):
        async def again():
            await ledger.close()
            return await SqliteLedger.open(path, durable=_durable())

        return again

    @pytest.fixture
    def reading(self, path):
        return lambda: SqliteReading.open(path)
