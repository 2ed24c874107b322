"""Plain lines: each is one record with one column, `line`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import polars as pl

from filemill.formats.opening import first_line_ends_crlf
from filemill.formats.placing import Piece, Placed, place_lines
from filemill.formats.reading import RecordReader
from filemill.formats.terms import Head, NotText, Parsed, ReadRequest, Skip, empty_frame
from filemill.records.batch import Batch
from filemill.records.layout import LINE, Dialect, Layout, text_layout

TOO_LONG = "TooLong"
BLANK = r"^\r?$"
"""A line of nothing."""


class LinesReader(RecordReader):
    """Reads lines. Empty ones are skipped and counted, as in the other formats, unless `keep_blank`."""

    def __init__(self, request: ReadRequest, *, keep_blank: bool = False) -> None:
        super().__init__(request)
        self.blank = None if keep_blank else BLANK

    def head(self, block: bytes, *, final: bool) -> Head | None:
        """The first line's ending."""
        crlf = first_line_ends_crlf(block, final=final, limit=self.request.max_record)
        if crlf is None:
            return None
        return Head(
            Layout("lines", "lines", (LINE,), (LINE,), dialect=Dialect(crlf=crlf)),
        )

    def parse(
        self,
        block: bytes,
        pieces: Sequence[Piece],
        layout: Layout,  # noqa: ARG002 -- the shape all readers share
        *,
        final: bool,  # noqa: ARG002
    ) -> Parsed:
        """One record a line."""
        return parse_lines(block, pieces, self.request.max_record, blank=self.blank)

    def batches(
        self,
        placed: Placed,
        layout: Layout,
        *,
        alone: bool,  # noqa: ARG002 -- lines have no types to settle
    ) -> Iterator[Batch]:
        """The lines as they are; the view of `line` is made when it is asked for."""
        layout = text_layout(layout, {"returns": placed.returns})
        yield Batch(placed.frame, layout, self.file_tags)


def parse_lines(
    block: bytes, pieces: Sequence[Piece], max_record: int, *, blank: str | None, plain: str = ""
) -> Parsed:
    """Whole lines of the block; a last one that is too long already is let go.

    Raises:
        NotText: the block is not UTF-8.
    """
    consumed = block.rfind(b"\n") + 1
    if consumed:
        try:
            placed = place_lines(
                block if consumed == len(block) else block[:consumed],
                pieces,
                max_record,
                blank=blank,
                plain=plain,
            )
        except pl.exceptions.PolarsError as error:
            raise NotText from error
    else:
        placed = Placed(empty_frame(), [], {}, {})
    rest = len(block) - consumed
    if rest <= max_record + 1:
        return Parsed(placed, consumed)
    piece = pieces[-1]
    skip = Skip(
        piece.start + consumed,
        piece.line + placed.lines,
        piece.record + placed.records.get(piece.order, 0),
        TOO_LONG,
        f"longer than max_record ({max_record} bytes)",
        last=block[-1],
    )
    return Parsed(placed, consumed, skip)
