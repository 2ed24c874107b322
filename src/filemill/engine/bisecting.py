"""Finding the records that a step chokes on, when it raises on a whole batch.

The batch is halved until single records fail. Each of these becomes a bad record, and the step sees the others once
more, together: what it makes of them does not depend on where the search cut. Every part is seen with the columns and
types of the whole batch, so that no record fails only because it was looked at without the others.

A step that is simply broken fails on everything. It is told apart by never having worked: when so many records have
failed one by one and not one call ever succeeded, its error is the run's, after a few dozen calls however many
records there are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import polars as pl
from polars.exceptions import PanicException

from filemill.engine.chain import Node
from filemill.engine.failures import kind_of
from filemill.model.errors import FailureKind, FilemillError, Reject
from filemill.ports.step import Grain, Scope
from filemill.records.batch import Batch
from filemill.records.columns import is_place
from filemill.records.layout import Drifted, Restart
from filemill.records.tracebacks import user_line, user_traceback

HOPELESS = 32
"""So many single records fail, and no call has ever worked: the step is broken, not the records."""
CALLS = 10_000
"""Calls a step's searches in one attempt may take; beyond them its error is the run's."""
ROUNDS = 3
"""How often the records that passed one by one may fail together: then the step does not see rows by themselves."""
_LONGEST = 300

Try = Callable[[Batch], Batch]
"""One call of the step that leaves no trace in the books."""


class Finding(msgspec.Struct, frozen=True):
    """One record that fails: its row in the batch, and the error."""

    row: int
    error: BaseException

    @property
    def name(self) -> str:
        """Its class, as bad records have it."""
        return type(self.error).__name__

    def message(self) -> str:
        """What a person reads."""
        if isinstance(self.error, Reject):
            return self.error.message
        said = (str(self.error).strip().splitlines() or [""])[0][:_LONGEST]
        where = user_line(self.error)
        return f"{self.name}: {said}" + (f" ({where})" if where != "?" else "")

    def traceback(self) -> str:
        """The user's frames; none of a refusal, which is meant as it is."""
        return "" if isinstance(self.error, Reject) else user_traceback(self.error)


class Bisector:
    """The searches of one attempt."""

    def __init__(self) -> None:
        self._worked: set[int] = set()
        """Steps that have ever succeeded, by node."""
        self._calls: dict[int, int] = {}

    def worked(self, node: Node) -> None:
        """Note that a call of this step succeeded."""
        self._worked.add(node.index)

    def divides(self, node: Node, step: Any, error: BaseException) -> bool:
        """Say whether an error may be one of single records: the step sees rows by themselves, and it will not mend."""
        if not isinstance(error, Exception | PanicException) or isinstance(
            error, Restart | Drifted
        ):
            return False
        if getattr(step, "grain", Grain.BATCH) not in (Grain.BATCH, Grain.FRAME):
            return False
        if node.scope() is Scope.FILE:
            return False
        if isinstance(error, FilemillError):
            return isinstance(error, Reject)
        return kind_of(error) is FailureKind.PERMANENT

    def search(
        self, node: Node, step: Any, batch: Batch, error: BaseException, attempt: Try
    ) -> list[Finding]:
        """The records of a batch that fail, in order; the batch as a whole failed with `error`.

        Raises:
            BaseException: the first error, if the step is broken or the search takes too long; or one that is not of
                single records, such as a time-out.
        """
        found: list[Finding] = []
        waiting = [(0, len(batch), error)]
        while waiting:
            start, stop, last = waiting.pop()
            if stop - start == 1:
                found.append(Finding(start, last))
                if len(found) >= HOPELESS and node.index not in self._worked:
                    raise error
                continue
            middle = (start + stop) // 2
            halves = ((start, middle), (middle, stop))
            failed = [
                (low, high, why)
                for low, high in halves
                if (why := self._fails(node, step, _part(batch, low, high), error, attempt))
            ]
            waiting += reversed(failed)  # the first one is looked into next
        return found

    def _fails(
        self, node: Node, step: Any, part: Batch, first: BaseException, attempt: Try
    ) -> BaseException | None:
        calls = self._calls[node.index] = self._calls.get(node.index, 0) + 1
        if calls > CALLS:
            raise first
        try:
            attempt(part)
        except (Exception, PanicException) as error:
            if not self.divides(node, step, error):
                raise
            return error
        self._worked.add(node.index)
        return None


def as_seen(batch: Batch) -> Batch:
    """The batch with views of all its columns made, so that its parts are seen as the whole was."""
    names = batch.keys()
    new = [name for name in names if name not in batch.frame.columns and not is_place(name)]
    made = Batch(
        batch.frame.with_columns(batch.typed(new).get_columns() if new else []),
        batch.layout,
        batch.file_tags,
    )
    made.own, made.also = batch.own, names
    return made


def without(batch: Batch, rows: list[int]) -> Batch:
    """The batch without these rows, still seen as the whole was."""
    left = batch.where(~mask_of(rows, len(batch)))
    left.own, left.also = batch.own, batch.also
    return left


def mask_of(rows: list[int], height: int) -> pl.Series:
    """These rows as a mask."""
    return pl.Series([False] * height, dtype=pl.Boolean).scatter(rows, values=True)


def _part(batch: Batch, start: int, stop: int) -> Batch:
    part = Batch(batch.frame.slice(start, stop - start), batch.layout, batch.file_tags)
    part.own, part.also = batch.own, batch.also
    return part
