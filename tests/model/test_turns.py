"""Turns: everybody's order is kept, and nobody waits for more than one of each other."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filemill.model.turns import Turns

ITEMS = st.lists(st.tuples(st.sampled_from("abc"), st.integers(-1, 1)), max_size=60)


def test_one_of_each_in_turn_and_the_highest_priority_first() -> None:
    turns: Turns[str] = Turns()
    turns.put("bulk", (f"bulk {n}" for n in range(1_000)))
    turns.put("one", ["one 0"])
    turns.put("few", ["few 0", "few 1"])
    turns.put("nobody", [])
    assert turns.take(5) == ["bulk 0", "one 0", "few 0", "bulk 1", "few 1"]
    turns.put("one", ["one 1"])
    turns.put("low", ["low 0"], -1)
    turns.put("high", ["high 0"], 1)
    assert turns.take(3) == ["high 0", "bulk 2", "one 1"]
    assert len(turns) == 998
    assert turns.take(2_000)[-1] == "low 0"
    with pytest.raises(IndexError):
        turns.pop()


@given(ITEMS)
def test_nothing_is_lost_and_nobody_overtakes_himself(items: list[tuple[str, int]]) -> None:
    turns: Turns[tuple[str, int, int]] = Turns()
    for number, (owner, priority) in enumerate(items):
        turns.put(owner, [(owner, priority, number)], priority)
    out = turns.take(len(items))
    assert sorted(out, key=lambda each: each[2]) == [
        (owner, priority, number) for number, (owner, priority) in enumerate(items)
    ]
    assert [each[1] for each in out] == sorted((each[1] for each in out), reverse=True)
    for owner in "abc":
        for priority in (-1, 0, 1):
            mine = [each[2] for each in out if each[:2] == (owner, priority)]
            assert mine == sorted(mine)
