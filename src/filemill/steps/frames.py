"""Frame functions: what they changed is taken over, and only that."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from filemill.model.errors import PermanentError
from filemill.ports.step import StepContext

if TYPE_CHECKING:
    import polars as pl

    from filemill.records.batch import Batch
    from filemill.records.functions import Function


def through(
    context: StepContext,
    function: Function,
    options: dict[str, Any],
    batch: Batch,
) -> Batch:
    """The batch after a frame function has seen it: the same height, or the records its `_record` names.

    `options` are the keyword arguments of the call.

    Raises:
        PermanentError: what it returned is no frame, or does not say which records it is of.
    """
    import polars as pl  # noqa: PLC0415 -- keeps Polars out of `check`

    names = batch.keys()
    before = batch.typed(names)
    height = len(
        batch
    )  # of a frame without a column, which records without a member make, it would be 0
    numbers = pl.Series("_record", range(height), dtype=pl.Int64)
    given = pl.DataFrame([*before.get_columns(), numbers])
    after = function.call(given, **options)
    if not isinstance(after, pl.DataFrame):
        raise PermanentError(
            f"`{function.path}` returned {type(after).__name__}, not a polars.DataFrame",
            help="return the frame, changed or not",
        )
    if "_record" in after.columns:
        rows = after["_record"].to_list()
        after = after.drop("_record")
    elif after.height == height:
        rows = list(range(height))
    else:
        raise PermanentError(
            f"`{function.path}` was given {height} records and returned {after.height}, "
            "without saying which they are",
            help="keep the column `_record` of the frame it was given",
        )
    if any(each is None or not 0 <= each < height for each in rows):
        raise PermanentError(f"`{function.path}` returned a `_record` it was not given")
    if any(one >= other for one, other in pairwise(rows)):
        made = batch.with_rows(after.to_dicts(), rows)
        _count(context, batch, rows)
        return made
    if len(rows) < height:
        mask = pl.Series([False] * height, dtype=pl.Boolean).scatter(rows, values=True)
        batch, before = batch.where(mask), given.filter(mask).select(before.columns)
    return _columns(batch, before, after)


def _count(context: StepContext, batch: Batch, rows: list[int]) -> None:
    """Where records were both dropped and doubled, count each by file."""
    files = batch.frame["_file"].to_list()
    seen: set[int] = set()
    for row in rows:
        if row in seen:
            context.count(added=1, file=files[row])
        seen.add(row)
    for row, file in enumerate(files):
        if row not in seen:
            context.count(filtered=1, file=file)


def _columns(batch: Batch, before: pl.DataFrame, after: pl.DataFrame) -> Batch:
    """Take over what the function changed, and only that."""
    for name in after.columns:
        new = after[name]
        if name not in before.columns:
            batch = batch.with_column(name, new)
            continue
        old = before[name]
        if old.dtype != new.dtype:
            batch = batch.with_column(name, new)
        elif (changed := old.ne_missing(new)).any():
            batch = batch.with_column(name, new, changed)
    fresh = [name for name in after.columns if name not in before.columns]
    if after.columns != [*before.columns, *fresh]:
        batch = batch.select([(name, None) for name in after.columns])
    return batch
