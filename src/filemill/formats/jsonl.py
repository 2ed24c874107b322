"""JSON lines: each is one object, kept as it is written; only named members are read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
import polars as pl

from filemill.formats.lines import parse_lines
from filemill.formats.opening import first_line_ends_crlf
from filemill.formats.placing import Piece, Placed
from filemill.formats.reading import RecordReader
from filemill.formats.terms import Head, Parsed, ReadRequest
from filemill.formats.typing import Segment, segments
from filemill.records import json_text, text, views
from filemill.records.batch import Batch
from filemill.records.columns import beside
from filemill.records.layout import Dialect, Layout, text_layout

_BLANK = r"^[ \t\r]*$"
_OBJECT = r"^[ \t]*\{"
_CLOSED = r"\}[ \t\r]*$"


class JsonlReader(RecordReader):
    """Reads one JSON object a line. A line that is none is a bad record of class `Json`."""

    def __init__(self, request: ReadRequest) -> None:
        super().__init__(request)
        needs = request.named if request.needs is None else request.needs
        self.names = tuple(sorted(request.wanted(needs)))
        self._braced = False
        """Of the block that was proven last."""

    def head(self, block: bytes, *, final: bool) -> Head | None:
        """The first line's ending."""
        crlf = first_line_ends_crlf(block, final=final, limit=self.request.max_record)
        if crlf is None:
            return None
        return Head(Layout("jsonl", "jsonl", self.names, dialect=Dialect(crlf=crlf)))

    def parse(
        self,
        block: bytes,
        pieces: Sequence[Piece],
        layout: Layout,  # noqa: ARG002 -- the shape all readers share
        *,
        final: bool,  # noqa: ARG002
    ) -> Parsed:
        """One record a line; lines of nothing but spaces are blank."""
        return parse_lines(block, pieces, self.request.max_record, blank=_BLANK, plain="{")

    def batches(self, placed: Placed, layout: Layout, *, alone: bool) -> Iterator[Batch]:
        """Records proven to be one object each, with views of the named members."""
        escapes = placed.block is None or b"\\" in placed.block
        columns = self._prove(placed)
        if not placed.frame.height:
            return
        marks = {"returns": placed.returns, "braced": self._braced, "escapes": escapes}
        layout = text_layout(layout, marks)
        found = {name: _Member(values) for name, values in columns.items()}
        for segment in self._segments(placed, found, alone=alone):
            frame = placed.frame.slice(segment.first, segment.length)
            seen, bad = self._views(frame, found, segment)
            if bad is not None:
                part = Placed(frame.with_columns(seen), [], {}, {})
                part.drop(bad[0], "Type", bad[1])
                self.report(part.bad)
                frame = part.frame
            else:
                frame = beside(frame, seen)
            if frame.height:
                yield Batch(frame, layout, self.file_tags)

    def _prove(self, placed: Placed) -> dict[str, list[Any]]:
        """The named members' values over records that are one object each; others are reported and gone."""
        # A value cannot reach over a line whose end is `}` into one whose start is `{`, so with all lines like that,
        # as many objects as lines means one in each.
        raw = pl.col("_raw")
        shaped = (raw.str.starts_with('{"') & raw.str.ends_with("}")).all()
        looser = (raw.str.contains(_OBJECT) & raw.str.contains(_CLOSED)).all()
        frame = placed.frame
        self._braced = bool(frame.select(shaped).item())
        if self._braced or frame.select(looser).item():
            try:
                columns, count = _columns(placed, self.names)
                if count == frame.height:
                    return columns
            except (msgspec.MsgspecError, RecursionError):
                pass  # one of the lines is bad: found below, line by line
        before = len(placed.bad)
        messages: list[str] = []
        bad: list[bool] = []
        values: list[dict[str, Any]] = []
        for line in text.standing(frame):
            try:
                values.append(_named(line, self.names))
                bad.append(False)
            except (msgspec.MsgspecError, RecursionError) as error:
                bad.append(True)
                messages.append(f"not a JSON object: {error}")
        placed.drop(pl.Series(bad, dtype=pl.Boolean), "Json", messages)
        self.report(placed.bad[before:])
        return {name: [row[name] for row in values] for name in self.names}

    def _segments(
        self, placed: Placed, found: Mapping[str, _Member], *, alone: bool
    ) -> list[Segment]:
        declared = {n: word for n, word in self.request.types.items() if n in found}
        stretches = placed.frame.get_column("_file")
        if alone:
            words = {n: m.infer() for n, m in found.items() if n not in declared}
            order = int(stretches[0])
            return [
                Segment(0, placed.frame.height, {**self.settle_types(order, words), **declared}, ())
            ]
        return segments(
            stretches,
            self.names,
            declared,
            self.request.hints,
            lambda name, first, length: found[name].infer(first, length),
            {n: m.infer() for n, m in found.items() if n not in declared},
        )

    def _views(
        self, frame: pl.DataFrame, found: Mapping[str, _Member], segment: Segment
    ) -> tuple[list[pl.Series], tuple[pl.Series, list[str]] | None]:
        seen: list[pl.Series] = []
        wrong: dict[int, str] = {}
        for name in self.names:
            word = segment.types[name]
            values = found[name].slice(segment.first, segment.length)
            if word == "text":
                if not set(map(type, values)) <= {str, type(None)}:
                    values = json_text.text_of_members(text.standing(frame).to_list(), name)
                seen.append(pl.Series(name, values, dtype=pl.String))
                continue
            lenient = name in self.request.lenient
            if lenient and word == "integer":
                values = views.whole_numbers(values)
            view, misfits = found[name].view(values, word)
            seen.append(view.alias(name))
            if lenient:
                continue
            for i in misfits:
                wrong.setdefault(i, f"column `{name}` is no {word}: {str(values[i])[:60]!r}")
        if not wrong:
            return seen, None
        rows = sorted(wrong)
        mask = pl.Series([False] * frame.height).scatter(rows, values=True)
        return seen, (mask, [wrong[i] for i in rows])


class _Member:
    """One member's values over a block."""

    def __init__(self, values: list[Any]) -> None:
        self.values = values
        self.word: str | None = None

    def slice(self, first: int, length: int) -> list[Any]:
        if first == 0 and length == len(self.values):
            return self.values
        return self.values[first : first + length]

    def infer(self, first: int = 0, length: int | None = None) -> str:
        if length is not None:
            return views.infer_values(self.slice(first, length))
        if self.word is None:
            self.word = views.infer_values(self.values)
        return self.word

    def view(self, values: list[Any], word: str) -> tuple[pl.Series, list[int]]:
        """The view, and which values do not fit: none, if all values together are of that type."""
        if word == self.word:
            return pl.Series("", values, dtype=views.DTYPES[word], strict=False), []
        return views.cast_values(values, word)


def _columns(placed: Placed, names: tuple[str, ...]) -> tuple[dict[str, list[Any]], int]:
    lines = placed.block
    if lines is None:
        lines = placed.frame.get_column("_raw").str.join("\n")[0].encode()
    rows = json_text.named_decoder(names)(lines)
    return {name: json_text.field(rows, i) for i, name in enumerate(names)}, len(rows)


def _named(line: str, names: Sequence[str]) -> dict[str, Any]:
    """The named members of one line; a number that no float can hold is its text."""
    exact = json_text.members(line)
    values: dict[str, Any] = {}
    for name in names:
        raw = exact.get(name)
        try:
            values[name] = None if raw is None else msgspec.json.decode(raw)
        except msgspec.MsgspecError:
            values[name] = bytes(raw or b"").decode()
    return values
