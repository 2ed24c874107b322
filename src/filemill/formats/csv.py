"""CSV: records stay the text they are; only named columns are read, and only of proven records.

A record is proven when its quoting parses and its cells are as many as the header's. The fast paths prove it natively;
a block in which anything looks wrong is left to the exact scanner (`csv_scan`), whose verdicts are the definition.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import polars as pl

from filemill.formats.csv_header import CsvHeaders
from filemill.formats.csv_scan import Found, scan
from filemill.formats.lines import BLANK
from filemill.formats.placing import (
    Piece,
    Placed,
    number_records,
    place,
    reads_whole,
    split_lines,
    too_long,
    without_blank,
)
from filemill.formats.reading import RecordReader
from filemill.formats.terms import Entangled, Head, NotText, Parsed, ReadRequest, Skip, empty_frame
from filemill.formats.typing import Segment, segments
from filemill.model.runs import BadRecord
from filemill.records import views
from filemill.records.batch import Batch
from filemill.records.cells import split_cells
from filemill.records.layout import UNKNOWN, Layout, text_layout
from filemill.records.text import csv_base_values


class CsvReader(RecordReader):
    """Reads CSV. The separator is found in the header unless given; `quote` None turns quotes off.

    Without a `header`, `columns` names the columns, and outputs get a header all the same.
    """

    def __init__(
        self,
        request: ReadRequest,
        *,
        separator: str | None = None,
        quote: str | None = '"',
        header: bool = True,
        columns: Sequence[str] = (),
    ) -> None:
        super().__init__(request)
        needs = request.named if request.needs is None else request.needs
        required = request.wanted(needs if request.required is None else request.required)
        self.headers = CsvHeaders(
            separator, quote, header, tuple(columns), required, request.max_record
        )

    def head(self, block: bytes, *, final: bool) -> Head | None:
        """Blank lines, then the header: its columns, the separator, the line ending."""
        return self.headers.head(block, final=final)

    def quote_of(self, layout: Layout) -> bytes | None:
        """What quotes a cell."""
        return layout.dialect.quote.encode() if layout.dialect.quote is not None else None

    def parse(
        self, block: bytes, pieces: Sequence[Piece], layout: Layout, *, final: bool
    ) -> Parsed:
        """Records by lines where nothing is quoted, by quote parity where all is well, else by the scanner."""
        quote = layout.dialect.quote
        if quote is None or quote.encode() not in block:
            found: Parsed | None = self._by_lines(block, pieces, layout)
        else:
            found = self._by_parity(block, pieces, layout, quote)
        left = len(block) - found.consumed if found is not None else 0
        if found is not None and left == 0:
            return found
        if found is None or final:
            if len(pieces) > 1:
                raise Entangled
            return self._by_scan(block, pieces[0], layout, final=final)
        if left > self.request.max_record + 2:
            return self._by_scan(block, pieces[0], layout, final=final)
        return found

    def batches(self, placed: Placed, layout: Layout, *, alone: bool) -> Iterator[Batch]:
        """Proven records with views of the named columns."""
        layout = text_layout(layout, {"returns": placed.returns})
        names = self._names(layout)
        values = dict(zip(names, _values(placed, layout, names), strict=True))
        for segment in self._segments(placed, values, alone=alone):
            frame = placed.frame.slice(segment.first, segment.length)
            frame = self._with_views(frame, values, segment)
            if frame.height:
                yield Batch(frame, layout, self.file_tags)

    def _names(self, layout: Layout) -> list[str]:
        request = self.request
        if request.needs is None:
            return list(layout.columns)
        wanted = request.wanted(request.needs)
        return [name for name in layout.columns if name in wanted]

    def _segments(
        self, placed: Placed, values: dict[str, pl.Series], *, alone: bool
    ) -> list[Segment]:
        declared = {n: word for n, word in self.request.types.items() if n in values}
        open_names = [name for name in values if name not in declared]
        files = placed.frame.get_column("_file")
        if alone:
            seen = {name: views.view_text(values[name]) for name in open_names}
            words = {name: word for name, (word, _) in seen.items()}
            types = {**self.settle_types(int(files[0]), words), **declared}
            made = {n: v for n, (word, v) in seen.items() if v is not None and word == types[n]}
            return [Segment(0, len(files), types, views=made)]
        whole = {name: views.infer_text(values[name]) for name in open_names}
        maybe = {
            name: views.maybe_typed(values[name]).any()
            for name in open_names
            if whole[name] == "text"
        }

        def infer(name: str, first: int, length: int) -> str:
            column = values[name].slice(first, length)
            if maybe.get(name) is False:
                return "text" if (column != "").any() else UNKNOWN
            return views.infer_text(column)

        return segments(files, list(values), declared, self.request.hints, infer, whole)

    def _with_views(
        self, frame: pl.DataFrame, values: dict[str, pl.Series], segment: Segment
    ) -> pl.DataFrame:
        seen: list[pl.Series] = []
        wrong: dict[int, str] = {}
        for name, word in segment.types.items():
            if name in segment.views:
                seen.append(segment.views[name].alias(name))
                continue
            column = values[name].slice(segment.first, segment.length).alias(name)
            declared = name in self.request.types
            view, misfits = views.cast_text(column, word, declared=declared)
            if misfits is not None and name in self.request.lenient:
                view = views.without(view, misfits)
            elif misfits is not None:
                for i in misfits.arg_true():
                    wrong.setdefault(i, f"column `{name}` is no {word}: {column[i][:60]!r}")
            if word == "text":
                view = _without_unknown(view, name, segment)
            seen.append(view)
        frame = frame.with_columns(seen)
        if not wrong:
            return frame
        rows = sorted(wrong)
        part = Placed(frame, [], {}, {})
        mask = pl.Series([False] * frame.height).scatter(rows, values=True)
        part.drop(mask, "Type", [wrong[i] for i in rows])
        self.report(part.bad)
        return part.frame

    def _by_lines(self, block: bytes, pieces: Sequence[Piece], layout: Layout) -> Parsed:
        """Records of a block without a quote: its lines."""
        consumed = block.rfind(b"\n") + 1
        if not consumed:
            return Parsed(Placed(empty_frame(), [], {}, {}), 0)
        body = block if consumed == len(block) else block[:consumed]
        frame, counts = place(_lines(body), body, pieces)
        placed = without_blank(frame, counts, pieces, BLANK)
        placed.returns = b"\r" in body
        placed.block = body
        too_long(placed, self.request.max_record)
        counted = placed.frame.get_column("_raw").str.count_matches(
            layout.dialect.separator, literal=True
        )
        _refuse_counts(placed, counted, len(layout.base))
        return Parsed(placed, consumed)

    def _by_parity(
        self, block: bytes, pieces: Sequence[Piece], layout: Layout, quote: str
    ) -> Parsed | None:
        """Records begin where the quotes before are even in number; None unless all of them are proven."""
        consumed = block.rfind(b"\n") + 1
        if not consumed:
            return Parsed(Placed(empty_frame(), [], {}, {}), 0)
        body = block if consumed == len(block) else block[:consumed]
        lines = _lines(body)
        frame, counts = place(lines, body, pieces)
        quotes = lines.str.count_matches(quote, literal=True).cast(pl.Int64)
        before = quotes.cum_sum() - quotes
        begins = before % 2 == 0
        open_end = bool((before[-1] + quotes[-1]) % 2)
        if len(pieces) > 1:
            first = 0
            for count in counts:
                if not begins[first]:
                    return None
                first += count
            if open_end:
                return None
        total = len(lines)
        if open_end:
            # The last record goes on behind the block.
            last = int(begins.arg_true()[-1])
            consumed = int(frame.get_column("_start")[last]) - pieces[0].start
            frame, quotes, begins, total = frame[:last], quotes[:last], begins[:last], last
            counts = [last]
        if not total:
            return Parsed(Placed(empty_frame(), [], {}, {}), 0)
        if not begins.all():
            frame, _ = number_records(_joined(frame, body[:consumed], begins), pieces)
            counts = _counts(frame, pieces)
        placed = without_blank(frame, counts, pieces, BLANK)
        placed.returns = b"\r" in body
        placed.block = body[:consumed]
        placed.lines = total
        if not self._prove_quoted(placed, layout, quote):
            return None
        return Parsed(placed, consumed)

    def _prove_quoted(self, placed: Placed, layout: Layout, quote: str) -> bool:
        """Prove the quoting of every record and make those bad whose cells are too few or many; False: not proven."""
        raw = placed.frame.get_column("_raw")
        sizes = raw.str.len_bytes()
        if len(sizes) and int(sizes.max()) > self.request.max_record:  # type: ignore[arg-type]
            return False
        separator = layout.dialect.separator
        s, q = re.escape(separator), re.escape(quote)
        quoted = raw.str.contains(quote, literal=True)
        # What is in quotes becomes one character, which must stand alone in its cell.
        outside = raw.str.replace_all(f"{q}(?:[^{q}]|{q}{q})*{q}", "\x01")
        suspects = outside.filter(quoted)
        broken = suspects.str.contains(f"{q}|[^{s}]\x01|\x01[^{s}\r]|\x01\r.")
        if broken.any():
            return False
        _refuse_counts(placed, outside.str.count_matches(separator, literal=True), len(layout.base))
        return True

    def _by_scan(self, block: bytes, piece: Piece, layout: Layout, *, final: bool) -> Parsed:
        """Records as the scanner finds them."""
        dialect = layout.dialect
        if dialect.quote is None:
            return self._long_line(block, piece, layout)
        try:
            block.decode()
        except UnicodeDecodeError as error:
            raise NotText from error
        found = scan(
            block,
            dialect.separator.encode(),
            dialect.quote.encode(),
            self.request.max_record,
            final=final,
        )
        placed = self._placed(block, piece, found.records)
        quote, separator = dialect.quote, dialect.separator
        counted = [
            len(split_cells(text.removesuffix("\r"), dialect)) - 1
            if quote in text
            else text.count(separator)
            for text in placed.frame.get_column("_raw")
        ]
        _refuse_counts(placed, pl.Series(counted, dtype=pl.UInt32), len(layout.base))
        parsed = Parsed(placed, found.consumed)
        if (bad := found.unfinished) is not None:
            parsed.skip = Skip(
                piece.start + bad.start,
                piece.line + placed.lines,
                piece.record + placed.records.get(piece.order, 0),
                bad.error,
                bad.message,
                1 + block.count(b"\n", bad.start),
                block[-1],
            )
        return parsed

    def _long_line(self, block: bytes, piece: Piece, layout: Layout) -> Parsed:
        """Without quotes only one thing can be in the way: a last line that is too long already."""
        parsed = self._by_lines(block, [piece], layout)
        parsed.skip = Skip(
            piece.start + parsed.consumed,
            piece.line + parsed.placed.lines,
            piece.record + parsed.placed.records.get(piece.order, 0),
            "TooLong",
            f"longer than max_record ({self.request.max_record} bytes)",
            last=block[-1],
        )
        return parsed

    def _placed(self, block: bytes, piece: Piece, records: Sequence[Found]) -> Placed:
        """Places for scanned records."""
        placed = Placed(empty_frame(), [], {}, {})
        rows: list[tuple[str, int, int, int, int]] = []
        line, number = piece.line, piece.record
        blank = 0
        for record in records:
            data = block[record.start : record.end]
            if not record.error and data in (b"", b"\r"):
                blank += 1
                line += 1
                continue
            if record.error:
                placed.bad.append((piece.order, _bad(record, piece, line, number)))
            else:
                rows.append((data.decode(), piece.order, number, line, piece.start + record.start))
            line += 1 + data.count(b"\n")
            number += 1
        placed.frame = pl.DataFrame(rows, schema=empty_frame().schema, orient="row")
        placed.lines = line - piece.line
        if number > piece.record:
            placed.records = {piece.order: number - piece.record}
        if blank:
            placed.blank = {piece.order: blank}
        return placed


def _values(placed: Placed, layout: Layout, names: Sequence[str]) -> list[pl.Series]:
    """What the named cells say. Of a big block Polars reads them five times as fast from the bytes."""
    block = placed.block
    if not names or block is None or placed.blank or not reads_whole(block):
        return csv_base_values(placed.frame, layout, names)
    wanted = [layout.base.index(name) for name in names]
    quoted = layout.dialect.quote is not None and layout.dialect.quote.encode() in block
    frame = pl.read_csv(
        block,
        columns=sorted(wanted),
        has_header=False,
        separator=layout.dialect.separator,
        quote_char=layout.dialect.quote if quoted else None,
        infer_schema=False,
        empty_string_is_null=False,
    )
    if frame.height != placed.frame.height or frame.width != len(wanted):
        return csv_base_values(placed.frame, layout, names)
    return [frame.get_column(f"column_{i}") for i in wanted]


def _bad(record: Found, piece: Piece, line: int, number: int) -> BadRecord:
    return BadRecord(
        "",
        number,
        line,
        piece.start + record.start,
        piece.start + record.end,
        record.error,
        record.message,
    )


def _refuse_counts(placed: Placed, separators: pl.Series, width: int) -> None:
    """Make the records bad that have another number of cells than the header."""
    wrong = separators != width - 1
    if wrong.any():
        cells = (separators.filter(wrong) + 1).to_list()
        messages = [f"{n} cells, the header has {width}" for n in cells]
        placed.drop(wrong, "FieldCount", messages)


def _lines(body: bytes) -> pl.Series:
    try:
        return split_lines(body)
    except pl.exceptions.PolarsError as error:
        raise NotText from error


def _joined(frame: pl.DataFrame, body: bytes, begins: pl.Series) -> pl.DataFrame:
    """Lines joined to the records they are of, by the bytes between one beginning and the next."""
    sizes = frame.get_column("_raw").str.len_bytes().cast(pl.Int64) + 1
    offsets = (sizes.cum_sum() - sizes).filter(begins).to_list()
    ends = [*offsets[1:], len(body)]
    texts = [body[a : b - 1] for a, b in zip(offsets, ends, strict=True)]
    raw = pl.Series("_raw", texts, dtype=pl.Binary).cast(pl.String)
    return frame.filter(begins).with_columns(raw)


def _counts(frame: pl.DataFrame, pieces: Sequence[Piece]) -> list[int]:
    if len(pieces) == 1:
        return [frame.height]
    runs = frame.get_column("_file").rle().struct
    return list(runs.field("len"))


def _without_unknown(view: pl.Series, name: str, segment: Segment) -> pl.Series:
    """Null where a file has no value at all, as it would be alone."""
    rows = [
        row
        for column, first, length in segment.unknown
        if column == name
        for row in range(first - segment.first, first - segment.first + length)
    ]
    return view.scatter(rows, None) if rows else view
