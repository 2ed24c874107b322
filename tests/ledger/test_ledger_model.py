"""The SQLite ledger behaves as a few dictionaries do, whatever is asked in whatever order; a broken one does not."""

from __future__ import annotations

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import initialize, invariant, run_state_machine_as_test
from recounting import kept, recounted

from filemill.durable import Durable, Failpoints
from filemill.ledgers.sqlite import deeds, runs
from filemill.ledgers.sqlite.ledger import SqliteLedger
from filemill.model.states import RUN_MOVES, RunState
from filemill.testing.contracts.ledger_model import LedgerMachine


class SqliteMachine(LedgerMachine):
    async def open_ledger(self):
        return await SqliteLedger.open(":memory:", durable=Durable(Failpoints("test"), sync=False))


class BegunMachine(SqliteMachine):
    """A run is dead and another with a worker from the start: what is broken shows sooner."""

    @initialize()
    def begin(self):
        self.arrive(2)
        self.lease(2)
        order = self.orders[0]
        self._move(order, RunState.RUNNING, RunState.DEAD)
        assert self.loop.run(self.ledger.fail([self.journey.fail(order, "dead")])) == [True]


class KeptMachine(SqliteMachine):
    """After every step, too, what it keeps of how many are where is what counting them finds."""

    @invariant()
    def what_is_kept_is_what_is_counted(self):
        asked = self.ledger._writer.ask(lambda tx: (kept(tx.db), recounted(tx.db)))
        ours, anew = self.loop.run(asked)
        assert ours == anew


TestSqliteMachine = KeptMachine.TestCase
TestSqliteMachine.settings = settings(max_examples=60, stateful_step_count=50, deadline=None)


def _any_owner(row, fence, after):
    return row is not None and (row.state, after) in runs._MOVES


def _any_fence(rows, run, fence, after, before=None):
    row = rows.get(run)
    if row is None or after not in RUN_MOVES[RunState(row.state)]:
        return None
    return rows.pop(run) if before in (None, row.state) else None


def _without(query, text):
    """A statement that lacks a part."""
    assert text in query.text
    return type(query)(query.name, query.comment, query.text.replace(text, ""))


BROKEN = {
    "an owner whose fence is over may go on": lambda: (runs, "_may", _any_owner),
    "people may move a run that has moved on": lambda: (deeds, "_take", _any_fence),
    "a lease counts no attempt": lambda: (
        runs.SQL,
        "lease",
        _without(runs.SQL["lease"], "attempt = attempt + 1,"),
    ),
    "a lease raises no fence": lambda: (
        runs.SQL,
        "lease",
        _without(runs.SQL["lease"], "fence = fence + 1,"),
    ),
    "an interruption keeps the attempt": lambda: (
        runs.SQL,
        "interrupt",
        _without(runs.SQL["interrupt"], "attempt = attempt - 1,"),
    ),
    "a redriven run keeps its attempts": lambda: (
        deeds.SQL,
        "redrive",
        _without(deeds.SQL["redrive"], "attempt = 0,"),
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_ledger_is_seen(what, monkeypatch):
    place, name, broken = BROKEN[what]()
    (monkeypatch.setitem if isinstance(place, dict) else monkeypatch.setattr)(place, name, broken)
    quickly = settings(
        max_examples=400,
        stateful_step_count=50,
        deadline=None,
        database=None,
        derandomize=True,
        phases=(Phase.generate,),
    )
    with pytest.raises(AssertionError):
        run_state_machine_as_test(BegunMachine, settings=quickly)
