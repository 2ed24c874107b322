"""Parquet: each row is a record, whose text is a JSON object made of its values.

A row group is in memory at a time, and of it as many rows at once as a chunk has room for. Values become text natively
and without loss: what JSON has no number or word for is a text (dates, times and durations in ISO 8601, binary in
base64). NaN, infinity, and dates that have no four-digit year make a bad record.

The views that expressions see are the file's own types: integer, float (decimals too), boolean, and text for the rest.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence

import polars as pl
from polars import selectors
from polars.exceptions import PanicException, PolarsError

from filemill.formats.kinds import Type, kind_of, spoken, texts
from filemill.formats.terms import ReadRequest
from filemill.model.errors import PermanentError
from filemill.model.runs import BadRecord, RunOrder
from filemill.records import json_text, text
from filemill.records.batch import Batch
from filemill.records.columns import PLACES, absent
from filemill.records.layout import Layout
from filemill.records.text import CELL, TAG

_MAGIC = b"PAR1"
_FIRST_LOOK = 1_000
"""Rows that are made to records at once before their size is known."""
_MOST_ROWS = 50_000
_FIRST_DAY, _LAST_DAY = -719_162, 2_932_896
"""The years 1 to 9999, in days from 1970."""
_PER_DAY = {"ms": 86_400_000, "us": 86_400_000_000, "ns": 86_400_000_000_000}
_HELP = "ask its sender for the file anew; `parquet-tools` or Polars should be able to open it"


class ParquetReader:
    """Reads the request's orders, in order, as batches. `columns`: only these; `nan`: `bad` or `null`."""

    def __init__(
        self, request: ReadRequest, *, columns: Sequence[str] | None = None, nan: str = "bad"
    ) -> None:
        self.request = request
        self.columns = columns
        self.nan_is_null = nan == "null"
        self.file_tags = [frozenset(order.file.tags) for order in request.orders]
        needs = request.named if request.needs is None else request.needs
        self.names = needs
        """Columns of which views are made."""
        self.required = needs if request.required is None else request.required

    def read(self) -> Iterator[Batch]:
        """Batches of consecutive rows of one file; bad ones are reported, not yielded.

        Raises:
            PermanentError: the file is cut off, damaged, no Parquet, or lacks a column that is named.
            OSError: the file could not be read.
        """
        for index, order in enumerate(self.request.orders):
            try:
                yield from self._read(index, order)
            except (PolarsError, PanicException) as error:
                raise _unreadable(error) from error

    def _read(self, index: int, order: RunOrder) -> Iterator[Batch]:
        _check_ends(order.file.path, order.file.size)
        path = os.fsdecode(order.file.path)
        lazy = pl.scan_parquet(path, glob=False, hive_partitioning=False)
        schema = dict(lazy.collect_schema())
        for name in self.columns or ():
            if name not in schema:
                raise absent(name, list(schema), "file")
        if self.columns is not None:
            schema = {name: schema[name] for name in self.columns}
            lazy = lazy.select(selectors.by_name(*schema))
        for name in sorted(self.required):
            if name not in schema:
                raise absent(name, list(schema), "file")
        names = tuple(schema)
        kinds = tuple((name, kind) for name, dtype in schema.items() if (kind := kind_of(dtype)))
        layout = Layout("jsonl", "parquet", names, returns=False, kinds=kinds)
        self.request.note_layout(index, layout)
        if not names:
            return
        first, rows = 1, _FIRST_LOOK
        for part in lazy.collect_batches(chunk_size=_MOST_ROWS, maintain_order=True, lazy=True):
            at = 0
            while at < part.height:
                some = part.slice(at, rows)
                frame = self._records(index, some, names, first)
                if frame.height:
                    yield Batch(frame, layout, self.file_tags)
                    size = frame.get_column("_raw").str.len_bytes().mean()
                    rows = _rows_of(self.request.chunk_size, size)
                first += some.height
                at += some.height

    def _records(
        self, index: int, part: pl.DataFrame, names: Sequence[str], first: int
    ) -> pl.DataFrame:
        """Rows as records; bad ones are reported and gone."""
        # Under names of ours: Polars takes `^a$` and `*` for patterns.
        part = pl.DataFrame([part.get_column(name).alias(f"c{i}") for i, name in enumerate(names)])
        self.request.count_records(index, part.height)
        numbers = pl.int_range(first, first + part.height, dtype=pl.Int64, eager=True)
        part, numbers = self._without_bad(index, part, names, numbers)
        cells = [(name, _cells(values)) for name, values in zip(names, part, strict=True)]
        frame = pl.DataFrame(
            [
                text.json_objects(cells).alias("_raw"),
                pl.repeat(index, part.height, dtype=pl.UInt32, eager=True).alias("_file"),
                numbers.alias("_record"),
                numbers.alias("_line"),
                pl.repeat(0, part.height, dtype=pl.Int64, eager=True).alias("_start"),
                *(
                    _view(values, cell).alias(name)
                    for values, (name, cell) in zip(part, cells, strict=True)
                    if name in self.names and not _is_ours(name)
                ),
            ]
        )
        long = frame.get_column("_raw").str.len_bytes() > self.request.max_record
        if long.any():
            message = f"longer than max_record ({self.request.max_record} bytes)"
            rows = frame.filter(long).get_column("_record").to_list()
            self._report(index, [(row, "TooLong", message) for row in rows])
            frame = frame.filter(~long)
        return frame

    def _without_bad(
        self, index: int, part: pl.DataFrame, names: Sequence[str], numbers: pl.Series
    ) -> tuple[pl.DataFrame, pl.Series]:
        """The rows whose values all have a text, and their numbers."""
        tests = [(_timeless, "is a time outside of the years 1 to 9999")]
        if not self.nan_is_null:
            tests.append((_infinite, "is NaN or infinite (`nan: null` makes it null)"))
        wrong: dict[int, str] = {}
        for name, (column, dtype) in zip(names, part.schema.items(), strict=True):
            for test, what in tests:
                found = test(pl.col(column), dtype)
                if found is None:
                    continue
                mask = part.select(found.fill_null(value=False)).to_series()
                if mask.any():
                    for row in numbers.filter(mask):
                        wrong.setdefault(row, f"column `{name}` {what}")
            if self.nan_is_null and dtype.is_float():
                finite = pl.when(pl.col(column).is_finite()).then(pl.col(column))
                part = part.with_columns(finite.alias(column))
        if not wrong:
            return part, numbers
        self._report(index, [(row, "Value", wrong[row]) for row in sorted(wrong)])
        good = ~numbers.is_in(list(wrong))
        return part.filter(good), numbers.filter(good)

    def _report(self, index: int, bad: Sequence[tuple[int, str, str]]) -> None:
        step = self.request.step
        self.request.report_bad(
            index, [BadRecord(step, row, row, 0, 0, error, message) for row, error, message in bad]
        )


def _check_ends(path: bytes, size: int) -> None:
    """Look at the first and the last bytes, which tell most of what can be wrong with a file.

    Raises:
        PermanentError: it is no Parquet file, cut off, or encrypted.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        head, tail = os.pread(descriptor, 4, 0), os.pread(descriptor, 4, max(0, size - 4))
    finally:
        os.close(descriptor)
    if head == _MAGIC and tail == _MAGIC and size > 2 * len(_MAGIC):
        return
    if b"PARE" in (head, tail):
        raise PermanentError("the file is encrypted Parquet", help="ask its sender for a plain one")
    if head == _MAGIC:
        raise PermanentError(
            f"the Parquet file is cut off at byte {size}: its end is missing",
            help="ask the sender for the whole file; drop it again when it is there",
        )
    raise PermanentError(
        "the file is no Parquet: it does not begin with PAR1",
        help="read it with the step for its format: read_csv, read_jsonl, read_json",
    )


def _unreadable(error: BaseException) -> PermanentError:
    said = str(error).splitlines()[0] if str(error) else type(error).__name__
    return PermanentError(f"the Parquet file cannot be read: {said}", help=_HELP)


def _rows_of(chunk_size: int, mean: object) -> int:
    """How many rows of that mean size a chunk has room for."""
    size = float(mean) if isinstance(mean, int | float) else 1.0
    return max(1, min(_MOST_ROWS, int(chunk_size / max(1.0, size))))


def _is_ours(name: str) -> bool:
    """Say whether a batch has a column of that name for itself, or cannot have one."""
    return not name or name in PLACES or name.startswith((TAG, CELL))


# -- values as text -------------------------------------------------------------------------------


def _cells(values: pl.Series) -> pl.Series:
    """A column as JSON texts, `null` for null."""
    dtype = values.dtype
    if dtype == pl.Null:
        return pl.repeat("null", len(values), dtype=pl.String, eager=True).alias(values.name)
    if dtype == pl.Boolean or dtype.is_numeric():
        return values.cast(pl.String).fill_null("null")
    if dtype.is_nested():
        whole = values.alias("v").to_frame()
        plain = _plain(pl.col("v"), dtype)
        encoded = whole.select(
            pl.struct((pl.col("v") if plain is None else plain).alias("v")).struct.json_encode()
        )
        return (
            encoded.to_series().str.strip_prefix('{"v":').str.strip_suffix("}").alias(values.name)
        )
    return json_text.json_cells(texts(values))


def _plain(value: pl.Expr, dtype: Type) -> pl.Expr | None:
    """A nested value with everything in it that JSON has nothing for as text; None if there is nothing such."""
    if isinstance(dtype, pl.List | pl.Array):
        inner = _plain(pl.element(), dtype.inner)
        if inner is None:
            return None
        items = value.arr.to_list() if isinstance(dtype, pl.Array) else value
        return items.list.eval(inner)
    if isinstance(dtype, pl.Struct):
        fields = {f.name: _plain(value.struct.field(f.name), f.dtype) for f in dtype.fields}
        if not any(each is not None for each in fields.values()):
            return None
        made = pl.struct(
            (value.struct.field(name) if each is None else each).alias(name)
            for name, each in fields.items()
        )
        return pl.when(value.is_not_null()).then(made)
    return spoken(value, dtype)


def _view(values: pl.Series, cells: pl.Series) -> pl.Series:
    """A column as expressions see it."""
    dtype = values.dtype
    if dtype.is_decimal() or dtype.is_float():
        return values.cast(pl.Float64)
    if dtype in {pl.UInt64, pl.Boolean, pl.Null, pl.String}:
        return values
    if dtype.is_integer():
        return values.cast(pl.Int64)
    if dtype.is_nested():
        shown = pl.when(pl.col("v").is_not_null()).then(pl.col("c"))
        return pl.DataFrame({"v": values, "c": cells}).select(shown.alias(values.name)).to_series()
    return texts(values)


# -- values without text --------------------------------------------------------------------------


def _infinite(value: pl.Expr, dtype: Type) -> pl.Expr | None:
    """Which values are, or hold, NaN or infinity; None if none can."""
    if dtype.is_float():
        return ~value.is_finite()
    return _within(value, dtype, _infinite)


def _timeless(value: pl.Expr, dtype: Type) -> pl.Expr | None:
    """Which values are, or hold, a time that has no text; None if none can."""
    if dtype == pl.Date:
        return ~value.to_physical().is_between(_FIRST_DAY, _LAST_DAY)
    if isinstance(dtype, pl.Datetime):
        # A day less at both ends: a time zone moves the clock.
        day = _PER_DAY[dtype.time_unit]
        first, last = (_FIRST_DAY + 1) * day, _LAST_DAY * day
        least, most = max(first, -(2**63)), min(last, 2**63 - 1)
        return ~value.to_physical().is_between(least, most)
    if dtype == pl.Time:
        return ~value.to_physical().is_between(0, _PER_DAY["ns"] - 1)
    return _within(value, dtype, _timeless)


def _within(
    value: pl.Expr, dtype: Type, test: Callable[[pl.Expr, Type], pl.Expr | None]
) -> pl.Expr | None:
    """A test of what a nested value holds."""
    if isinstance(dtype, pl.List | pl.Array):
        inner = test(pl.element(), dtype.inner)
        if inner is None:
            return None
        items = value.arr.to_list() if isinstance(dtype, pl.Array) else value
        return items.list.eval(inner.fill_null(value=False)).list.any()
    if isinstance(dtype, pl.Struct):
        found = [test(value.struct.field(f.name), f.dtype) for f in dtype.fields]
        tests = [each.fill_null(value=False) for each in found if each is not None]
        return pl.any_horizontal(tests) if tests else None
    return None
