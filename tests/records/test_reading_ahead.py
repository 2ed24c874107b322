"""One batch ahead: same order, callbacks in the asker's thread, errors in their place, nothing left open."""

from __future__ import annotations

import threading
from collections.abc import Generator
from typing import Any

import pytest

from filemill.formats.ahead import Notes, ahead


def reader(
    notes: Notes, told: list[Any], *, fail_at: int = -1, closed: list[bool]
) -> Generator[Any, None, None]:
    note = notes.later(lambda *values: told.append((threading.current_thread(), *values)))
    try:
        for number in range(5):
            note("before", number)
            if number == fail_at:
                raise ValueError("broken here")
            yield number
    finally:
        closed.append(True)


def test_order_and_callbacks_are_those_of_reading_without_it() -> None:
    told: list[Any] = []
    closed: list[bool] = []
    notes = Notes()
    seen = []
    for batch in ahead(reader(notes, told, closed=closed), notes):
        # What was said of a later batch is not said before that batch is handed over.
        assert [number for _, _, number in told] == list(range(batch + 1))
        seen.append(batch)
    assert seen == [0, 1, 2, 3, 4]
    assert {thread for thread, *_ in told} == {threading.current_thread()}
    assert closed == [True]


def test_an_error_comes_where_its_batch_would_have_been() -> None:
    told: list[Any] = []
    closed: list[bool] = []
    notes = Notes()
    seen: list[Any] = []
    with pytest.raises(ValueError, match="broken here"):
        seen.extend(ahead(reader(notes, told, fail_at=3, closed=closed), notes))
    assert seen == [0, 1, 2]
    assert closed == [True]


def test_leaving_early_closes_the_reader() -> None:
    closed: list[bool] = []
    notes = Notes()
    batches = ahead(reader(notes, [], closed=closed), notes)
    assert next(iter(batches)) == 0
    batches.close()
    assert closed == [True]
    assert not [t for t in threading.enumerate() if t.name.startswith("read ahead")]
