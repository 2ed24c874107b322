"""JSON records as dicts and back, some at a time: what a step left alone keeps its text.

A row is encoded as soon as it is made, and only its text is kept: that text tells all that has to be known of the row.
A record that is written as we would write it is, up to its `}`, the beginning of what its row is written as, if that
only has more members at the end; then that text is the record's new text. This is told by whole columns of texts, and
only the records that are in doubt are compared member by member.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import chain
from types import NoneType
from typing import TYPE_CHECKING, Any

import msgspec
import polars as pl

from filemill.model.errors import PermanentError
from filemill.records import json_text, text, views
from filemill.records.json_text import same
from filemill.records.layout import text_layout
from filemill.records.text import CELL

if TYPE_CHECKING:
    from filemill.records.batch import Batch

AT_A_TIME = 256
"""Records whose dicts exist at a time. So few stay in a processor's cache, and their memory serves the next ones: a
batch of 17,000 at once takes 2 to 3 times as long to decode, hand over and encode."""
WRITABLE = "return only texts, numbers, booleans, lists and dicts"
UNWRITABLE = (TypeError, ValueError, RecursionError, msgspec.MsgspecError)
_ENCODE_LINES = msgspec.json.Encoder().encode_lines
_PLAIN = frozenset({str, int, float, bool, NoneType})
_SURE = frozenset({str, int, bool, NoneType})
"""Types whose every value is written as what it is."""


class Added:
    """The columns that were added to a batch and do not stand in its text."""

    def __init__(self, batch: Batch) -> None:
        frame = batch.frame
        self._columns = [
            (name, frame.get_column(name).to_list(), frame.get_column(CELL + name).is_not_null())
            for name in batch.layout.added
        ]

    def put(self, rows: list[dict[str, Any]], start: int) -> list[dict[str, Any]]:
        """The rows of the records from `start` on, those members put in that they have."""
        stop = start + len(rows)
        for name, values, there in self._columns:
            for row, value, has in zip(rows, values[start:stop], there[start:stop], strict=True):
                if has:
                    row[name] = value
        return rows


class JsonRows:
    """The rows of a JSON batch, each time decoded anew: who gets one may change it."""

    def __init__(self, batch: Batch) -> None:
        standing = text.standing(batch.frame)
        self._block = memoryview(text.joined(standing))
        self._ends = (standing.str.len_bytes().cast(pl.Int64) + 1).cum_sum().to_list()
        self._added = Added(batch)

    def take(self, start: int, stop: int) -> list[dict[str, Any]]:
        """Those from `start` up to, but not including, `stop`; at least one."""
        first = self._ends[start - 1] if start else 0
        rows = json_text.objects(self._block[first : self._ends[stop - 1] - 1])
        return self._added.put(rows, start)


class JsonWriter:
    """Takes in what a step made of a JSON batch's rows, and answers with the batch that it is.

    `bad` says by origin why one of its rows cannot be written; no row of that origin is in the batch then.
    """

    def __init__(self, batch: Batch) -> None:
        self.bad: dict[int, str] = {}
        self._batch = batch
        self._blocks: list[bytes] = []
        self._origin: list[int] = []
        self._names: dict[str, None] = {}
        self._values: dict[str, list[Any]] = {name: [] for name in batch.viewed()}
        """Of the columns that somebody names: what the text would be parsed for once more."""

    def take(self, rows: Sequence[Mapping[Any, Any]], origin: Sequence[int]) -> None:
        """Take in rows, `rows[i]` made of record `origin[i]`; all of one origin come in one call."""
        try:
            block = _ENCODE_LINES(rows)
        except UNWRITABLE:
            self._take_each(rows, origin)
            return
        new: set[Any] = set().union(*rows) - self._names.keys()
        # A name that is no text, and NaN, are written as something else.
        if set(map(type, new)) <= {str} and (b"null" not in block or all(map(_is_finite, rows))):
            self._add(rows, origin, block, new)
        else:
            self._take_each(rows, origin)

    def _add(
        self,
        rows: Sequence[Mapping[str, Any]],
        origin: Sequence[int],
        block: bytes,
        new: Collection[str],
    ) -> None:
        if new:
            self._names |= dict.fromkeys(chain.from_iterable(rows))
        self._blocks.append(block)
        self._origin += origin
        for name, values in self._values.items():
            values += [row.get(name) for row in rows]

    def _take_each(self, rows: Sequence[Mapping[Any, Any]], origin: Sequence[int]) -> None:
        self.bad |= refused(rows, origin)
        for row, at in zip(rows, origin, strict=True):
            if at not in self.bad:
                self._add([row], [at], _ENCODE_LINES([dict(row)]), row)

    def batch(self) -> tuple[Batch, list[int]]:
        """What was taken in, and each record's origin.

        A row that is equal to its origin has the origin's text; a changed one keeps the text of every member that is
        equal (same type and value) and new ones are encoded.
        """
        origin = self._origin
        batch = self._batch.picked(origin)
        if origin:
            made = _written(batch, b"".join(self._blocks), self._names)
            if made is not batch:
                self._keep_views(made)
            batch = made
        return batch, origin

    def _keep_views(self, batch: Batch) -> None:
        for name, values in self._values.items():
            if set(map(type, values)) <= _PLAIN:
                view = views.of_json(name, values)
                if view is not None:
                    batch.keep_view(view)


def _written(batch: Batch, block: bytes, names: Mapping[str, None]) -> Batch:
    """The batch with these rows, a line each, in the place of its records'."""
    before = text.complete(batch.frame, batch.layout)
    ends = text.line_ends(before, batch.layout)
    old = before if ends is None else text.bare(before, batch.layout)
    made = pl.Series("new", [block[:-1]], dtype=pl.Binary).cast(pl.String).str.split("\n").explode()
    if len(made) != len(old):
        raise PermanentError(
            "a row holds a value that was encoded before, with a line break in it",
            help="return values as they are, not as JSON text",
        )
    frame = pl.DataFrame([made, old.alias("old")])
    new = pl.col("new")
    head = pl.col("old").str.strip_suffix("}")
    longer = new.str.starts_with(pl.concat_str([head, pl.lit(",")]))
    frame = frame.with_columns(((new == pl.col("old")) | longer).alias("plain"))
    if not frame.get_column("plain").all():
        doubtful = (~frame.get_column("plain")).arg_true()
        made = made.scatter(
            doubtful, _settled(*(frame[n].gather(doubtful) for n in ("old", "new")))
        )
    if (made == old).all():
        return batch
    if ends is not None and ends.any():
        carriage = pl.when(pl.col("ends")).then(pl.lit("\r")).otherwise(pl.lit(""))
        made = pl.DataFrame([made, ends.alias("ends")]).select(pl.col("new") + carriage).to_series()
    known = tuple(name for name in batch.layout.columns if name in names)
    columns = (*known, *(name for name in names if name not in batch.layout.columns))
    layout = text_layout(batch.layout, {"columns": columns, "added": ()})
    places = batch._places()  # noqa: SLF001 -- one half of the same thing
    return type(batch)(places.with_columns(made.alias("_text")), layout, batch.file_tags)


def _settled(old: pl.Series, new: pl.Series) -> list[str]:
    """The text of each record, compared member by member: it is `old`, and its row is written as `new`."""
    texts: list[str] = []
    for at in range(0, len(old), AT_A_TIME):
        records = old.slice(at, AT_A_TIME).to_list()
        rows = json_text.objects("\n".join(records).encode())
        lines = new.slice(at, AT_A_TIME).to_list()
        as_we_write = _ENCODE_LINES(rows).decode().split("\n")
        texts += map(_one, records, rows, as_we_write, lines)
    return texts


def _one(record: str, old: dict[str, Any], as_we_write: str, line: str) -> str:
    if line == as_we_write:
        return record
    if record == as_we_write and len(line) != len(record):
        return line  # all that is equal is written as it was
    if len(as_we_write) > 2 and line.startswith(as_we_write[:-1] + ","):
        at = record.rindex("}")
        return record[:at] + line[len(as_we_write) - 1 :] + record[at + 1 :]
    row = json_text.decoded(line)
    return record if equal(row, old) else json_text.rewrite(record, old, row)


def problem(row: Mapping[Any, Any]) -> str:
    """Why no format can write this row; empty when it can be written."""
    for name, value in row.items():
        if not isinstance(name, str):
            return f"column name {name!r} is no text"
        if type(value) in _SURE:
            continue
        if _infinite(value):
            return f"column `{name}` is inf or NaN"
        try:
            json_text.value_json(value)
        except UNWRITABLE:
            return f"column `{name}` holds a {type(value).__name__}, which has no text"
    return ""


def refuse(rows: Iterable[Mapping[Any, Any]]) -> None:
    """Raise a PermanentError for the first row that no format can write."""
    for row in rows:
        if why := problem(row):
            raise PermanentError(why, help=WRITABLE)


def refused(rows: Iterable[Mapping[Any, Any]], origin: Iterable[int]) -> dict[int, str]:
    """By origin: why one of its rows cannot be written."""
    return {at: why for row, at in zip(rows, origin, strict=True) if (why := problem(row))}


def equal(row: Mapping[Any, Any], before: Mapping[Any, Any]) -> bool:
    """Say whether both have the same members of the same types, in whatever order."""
    return len(row) == len(before) and all(
        name in before and same(value, before[name]) for name, value in row.items()
    )


def _is_finite(row: Mapping[Any, Any]) -> bool:
    return not any(type(value) not in _SURE and _infinite(value) for value in row.values())


def _infinite(value: Any) -> bool:
    if isinstance(value, float):
        return not math.isfinite(value)
    if isinstance(value, dict):
        return any(map(_infinite, value.values()))
    if isinstance(value, list | tuple):
        return any(map(_infinite, value))
    return False
