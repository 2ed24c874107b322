"""Feeding a function that pulls: an `Iterable[dict]` function over batches that are pushed.

The function runs in a thread of its own and in strict turns with the worker's thread: it runs until it asks for
a record that is not there yet, then waits while the next batch is read. So a file of any size passes through in
bounded memory, unless the function itself keeps records.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import groupby
from typing import TYPE_CHECKING, Any

from filemill.model.errors import PermanentError
from filemill.step_api import Tagged
from filemill.steps.calls import as_given

if TYPE_CHECKING:
    from filemill.records.batch import Batch

Origin = tuple[Any, int]
"""A batch, and which of its records."""


class Row(dict[str, Any]):
    """A record on its way through a stream function; it knows where it came from while it is the same object."""

    __slots__ = ("origin",)

    def __init__(self, values: dict[str, Any], origin: Origin) -> None:
        super().__init__(values)
        self.origin = origin


class _Abandoned(BaseException):
    """The run ended early; unwinds the function's thread. Not an Exception: a user's `except` must not keep it."""


class Turns:
    """One call of a stream function over one file.

    `feed` hands over records and answers with what the function yielded meanwhile; `finish` says that there are no
    more. Each output comes with its origin: that of the same object, else that of the record read last.
    Errors of the function are raised from `feed` and `finish`.
    """

    def __init__(self, call: Callable[[Iterator[Row]], Any]) -> None:
        self._call = call
        self._todo: list[Row] = []
        self._at = 0
        self._made: list[tuple[Any, Origin]] = []
        self._last: Origin | None = None
        self._ended = False
        self._abandoned = False
        self._done = False
        self._error: BaseException | None = None
        self._mine = threading.Semaphore(0)
        self._theirs = threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, name="stream step", daemon=True)
        self._thread.start()

    def feed(self, rows: list[Row]) -> list[tuple[Any, Origin]]:
        """Hand over records in order; answers with what was yielded until the function wanted more."""
        self._todo, self._at = rows, 0
        return self._turn()

    def finish(self) -> list[tuple[Any, Origin]]:
        """No more records come; answers with the rest."""
        self._ended = True
        made = self._turn()
        self._thread.join()
        return made

    def abandon(self) -> None:
        """End the function where it stands. Idempotent."""
        if not self._done:
            self._abandoned = True
            self._theirs.release()
            self._thread.join()

    def _turn(self) -> list[tuple[Any, Origin]]:
        if not self._done:
            self._theirs.release()
            self._mine.acquire()
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        made, self._made = self._made, []
        return made

    def _rows(self) -> Iterator[Row]:
        while True:
            while self._at >= len(self._todo):
                if self._ended:
                    return
                self._todo = []
                self._mine.release()
                self._theirs.acquire()
                self._at = 0
                if self._abandoned:
                    raise _Abandoned
            row = self._todo[self._at]
            self._at += 1
            self._last = row.origin
            yield row

    def _origin(self, made: Any) -> Origin:
        origin = getattr(getattr(made, "row", made), "origin", None) or self._last
        if origin is None:
            raise TypeError("a record was yielded before any was read")
        return origin

    def _run(self) -> None:
        self._theirs.acquire()
        try:
            if not self._abandoned:
                for made in self._call(self._rows()) or ():
                    self._made.append((as_given(made), self._origin(made)))
        except _Abandoned:
            pass
        except BaseException as error:  # noqa: BLE001 -- it is raised again in the worker's thread
            self._error = error
        finally:
            self._done = True
            self._mine.release()


class Assembly:
    """What a stream function yielded, written as it comes; records that it held back come of earlier batches."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._parts: list[Batch] = []
        self._of: Batch | None = None
        self._writer: Any = None
        self._tags: list[tuple[str, ...]] = []

    def take(self, made: Iterable[tuple[Any, Origin]]) -> None:
        """Take in what `Turns` answered.

        Raises:
            PermanentError: it is no dict, or one that no format can write.
        """
        for _, group in groupby(made, lambda each: id(each[1][0])):
            some = list(group)
            self._turn_to(some[0][1][0])
            rows: list[Mapping[str, Any]] = []
            for item, _ in some:
                row = item.row if isinstance(item, Tagged) else item
                if not isinstance(row, Mapping):
                    raise PermanentError(
                        f"`{self._path}` yielded {type(row).__name__}, not a dict",
                        help="yield one dict a record",
                    )
                rows.append(row)
                self._tags.append(item.tags if isinstance(item, Tagged) else ())
            self._writer.take(rows, [at for _, (_, at) in some])

    def batch(self) -> Batch | None:
        """All that was taken in, as one batch; None: nothing was."""
        from filemill.records.merging import concat, own_columns  # noqa: PLC0415 -- keeps Polars out of `check`

        self._end()
        if len(self._parts) < 2:
            return self._parts[0] if self._parts else None
        whole = concat(self._parts)
        whole.own = own_columns(self._parts)
        return whole

    def _turn_to(self, batch: Batch) -> None:
        """The next rows are made of records of this batch."""
        from filemill.records.rows import rows_of, writer_of  # noqa: PLC0415 -- keeps Polars out of `check`

        if batch is not self._of:
            self._end()
            self._of, self._writer = batch, writer_of(batch, rows_of(batch))

    def _end(self) -> None:
        from filemill.records.rows import finished, tagged  # noqa: PLC0415 -- keeps Polars out of `check`

        if self._of is not None:
            self._parts.append(tagged(finished(self._writer), self._tags))
            self._of, self._tags = None, []
