"""Reading one batch ahead: while steps work on a chunk, a thread finds the records of the next one.

Most of a reader's time is spent in native code that lets other threads run, so a big file goes through
one worker on more than one core. What the reader says of its chunk (bad records, counts, layout) is kept beside the
batch and said when the batch is handed over, in the thread of the one who asked: nobody else need be thread-safe.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from filemill.records.batch import Batch

Call = Callable[[], None]
Told = tuple[Batch | None, list[Call], Exception | None]


class Notes:
    """What a reader says while it reads ahead, to be said later."""

    def __init__(self) -> None:
        self._calls: list[Call] = []

    def later(self, function: Callable[..., None]) -> Callable[..., None]:
        """A stand-in for `function` that notes its calls."""

        def note(*values: Any) -> None:
            self._calls.append(lambda: function(*values))

        return note

    def take(self) -> list[Call]:
        """The calls noted since the last time."""
        calls, self._calls = self._calls, []
        return calls


def ahead(batches: Generator[Batch, None, None], notes: Notes) -> Iterator[Batch]:
    """The same batches in the same order, each begun before the one before it is asked for.

    An error of the reader is raised where its batch would have been. Closing this iterator closes the reader.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="read ahead") as thread:
        coming: Future[Told] = thread.submit(_next, batches, notes)
        try:
            while True:
                batch, calls, error = coming.result()
                for call in calls:
                    call()
                if error is not None:
                    raise error
                if batch is None:
                    return
                coming = thread.submit(_next, batches, notes)
                yield batch
        finally:
            # The reader's files are closed in its own thread, when it is not running.
            with contextlib.suppress(Exception):
                coming.result()
            thread.submit(batches.close).result()


def _next(batches: Generator[Batch, None, None], notes: Notes) -> Told:
    try:
        return next(batches, None), notes.take(), None
    except Exception as error:  # noqa: BLE001 -- raised again where the batch is asked for
        return None, notes.take(), error
