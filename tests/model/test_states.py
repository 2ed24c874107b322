"""The transition table, over every pair of states."""

import itertools

import pytest

from filemill.model import states
from filemill.model.states import (
    FILE_MOVES,
    LIVE_FILE_STATES,
    LIVE_RUN_STATES,
    RUN_MOVES,
    FileState,
    RunState,
    file_state_of,
    may_move_file,
    may_move_run,
)

# Written out by hand, not derived: a change of the table must be meant twice.
RUN = {
    "queued": "running cancelled",
    "running": "publishing queued retrying dead held cancelled",
    "publishing": "done dead",
    "done": "",
    "retrying": "running dead cancelled",
    "dead": "queued publishing discarded",
    "held": "queued discarded",
    "cancelled": "",
    "discarded": "",
}
FILE = {
    "claiming": "ingested rejected",
    "ingested": "inspected held rejected quarantined cancelled discarded",
    "inspected": "",
    "held": "ingested discarded",
    "rejected": "discarded",
    "quarantined": "ingested discarded",
    "cancelled": "",
    "discarded": "",
}


@pytest.mark.parametrize(("before", "after"), list(itertools.product(RunState, repeat=2)))
def test_every_pair_of_run_states(before, after):
    assert may_move_run(before, after) == (after in RUN[before].split())


@pytest.mark.parametrize(("before", "after"), list(itertools.product(FileState, repeat=2)))
def test_every_pair_of_file_states(before, after):
    assert may_move_file(before, after) == (after in FILE[before].split())


def test_every_state_has_a_row_and_can_be_reached():
    assert set(RUN_MOVES) == set(RunState)
    assert set(FILE_MOVES) == set(FileState)
    assert set().union(*RUN_MOVES.values()) == set(RunState)  # queued again, too
    assert set().union(*FILE_MOVES.values()) == set(FileState) - {FileState.CLAIMING}


def test_no_state_is_its_own_successor():
    assert not [s for s, after in RUN_MOVES.items() if s in after]
    assert not [s for s, after in FILE_MOVES.items() if s in after]


def test_what_is_live_ends_and_what_has_ended_is_not_live():
    # From every live state an end can be reached, and nothing that needs no person is stuck.
    ends = {s for s in RunState if not RUN_MOVES[s]}
    assert ends == {RunState.DONE, RunState.CANCELLED, RunState.DISCARDED}
    for state in RunState:
        reached, todo = set(), [state]
        while todo:
            for after in RUN_MOVES[todo.pop()] - reached:
                reached.add(after)
                todo.append(after)
        assert state in ends or reached & ends
    assert not LIVE_RUN_STATES & ends
    assert {FileState.CLAIMING, FileState.INGESTED} == LIVE_FILE_STATES


def test_done_is_reached_only_from_publishing():
    befores = [before for before in RunState if may_move_run(before, RunState.DONE)]
    assert befores == [RunState.PUBLISHING]


@pytest.mark.parametrize(
    ("file", "runs", "expected"),
    [
        (FileState.CLAIMING, [], "live"),
        (FileState.INGESTED, [], "live"),
        (FileState.HELD, [], "held"),
        (FileState.REJECTED, [], "rejected"),
        (FileState.QUARANTINED, [], "quarantined"),
        (FileState.DISCARDED, [], "discarded"),
        (FileState.INSPECTED, [RunState.DONE, RunState.DONE], "done"),
        (FileState.INSPECTED, [RunState.DONE, RunState.RETRYING], "live"),
        (FileState.INSPECTED, [RunState.DEAD, RunState.PUBLISHING], "live"),
        (FileState.INSPECTED, [RunState.DEAD, RunState.HELD, RunState.DONE], "dead"),
        (FileState.INSPECTED, [RunState.HELD, RunState.CANCELLED], "held"),
        (FileState.INSPECTED, [RunState.DISCARDED, RunState.CANCELLED], "cancelled"),
        (FileState.INSPECTED, [RunState.DONE, RunState.DISCARDED], "discarded"),
    ],
)
def test_a_file_counts_once(file, runs, expected):
    assert file_state_of(file, runs) == expected


@pytest.mark.parametrize("runs", list(itertools.product(RunState, repeat=2)))
def test_the_order_of_runs_does_not_matter(runs):
    assert file_state_of(FileState.INSPECTED, runs) == file_state_of(
        FileState.INSPECTED, runs[::-1]
    )


def test_states_are_their_words():
    assert str(RunState.DONE) == "done"
    assert states.RunState("dead") is RunState.DEAD
