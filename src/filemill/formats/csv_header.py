"""What the start of a CSV file says: columns, separator, line ending; and what makes the file as a whole unreadable."""

from __future__ import annotations

import re

from filemill.formats.csv_scan import scan
from filemill.formats.terms import Head
from filemill.model.errors import PermanentError
from filemill.records.cells import cell_value, split_cells
from filemill.records.columns import absent
from filemill.records.layout import Dialect, Layout

_SEPARATORS = (",", ";", "\t", "|")


class CsvHeaders:
    """Reads headers, each text of one only once. `required` columns must be there."""

    def __init__(  # noqa: PLR0917 -- a reader's options, once
        self,
        separator: str | None,
        quote: str | None,
        header: bool,
        given: tuple[str, ...],
        required: frozenset[str],
        max_record: int,
    ) -> None:
        for mark in (separator, quote):
            if mark is not None and (len(mark) != 1 or not mark.isascii() or mark in "\r\n"):
                raise PermanentError(
                    f"{mark!r} cannot separate or quote", help="use one ASCII character"
                )
        if not header and not given:
            raise PermanentError("without a header the columns need names", help="set `columns:`")
        self.separator = separator
        self.quote = quote
        self.header = header
        self.given = given
        self.required = required
        self.max_record = max_record
        self._heads: dict[bytes, Layout] = {}

    def head(self, block: bytes, *, final: bool) -> Head | None:
        """Blank lines, then the header: its columns, the separator, the line ending."""
        used = lines = 0
        while (blank := block[used : used + 2]) == b"\r\n" or blank[:1] == b"\n":
            used += 1 if blank[:1] == b"\n" else 2
            lines += 1
        end = block.find(b"\n", used)
        if end < 0:
            if not final and len(block) - used <= self.max_record + 2:
                return None
            return self._endless(block, used, lines, final=final)
        if not self.header:
            return Head(self._headless(block[used : end + 1]), used, lines, lines)
        text = block[used : end + 1]
        if self.quote is not None and text.count(self.quote.encode()) % 2:
            separator = self.separator or ","
            found = scan(
                block[used:] if not final or block.endswith(b"\n") else block[used:] + b"\n",
                separator.encode(),
                self.quote.encode(),
                self.max_record,
                final=final,
            )
            if not found.records and not final and found.unfinished is None:
                return None
            if not found.records or found.records[0].error:
                raise PermanentError("the header's quoting does not parse", help="mend the header")
            text = block[used : used + found.records[0].end + 1]
        layout = self._heads.get(text)
        if layout is None:
            layout = self._heads[text] = self._layout(text)
        return Head(layout, used + len(text), lines + text.count(b"\n"), lines)

    def _endless(self, block: bytes, used: int, lines: int, *, final: bool) -> Head | None:
        """A file without a single LF behind its blank lines."""
        body = block[used:]
        if body.rstrip(b"\r").count(b"\r"):
            raise PermanentError(
                "lines end in CR alone, as on old Macs",
                help="convert the line endings, for instance with `tr '\\r' '\\n'`",
            )
        if not final:
            raise PermanentError("the first line is longer than max_record", help="is this CSV?")
        if not self.header:
            return Head(self._headless(body), used, lines, lines)
        if not body:
            return Head(Layout("csv", "csv"), used, lines, lines)
        return Head(self._layout(body), len(block), lines + 1, lines)

    def _headless(self, line: bytes) -> Layout:
        text = _decoded(line).rstrip("\n")
        dialect = Dialect(self._sniff(text), self.quote, crlf=text.endswith("\r"))
        return Layout("csv", "csv", self.given, self.given, dialect=dialect)

    def _layout(self, line: bytes) -> Layout:
        """The layout that a header gives.

        Raises:
            PermanentError: a name is there twice or empty, or a required column is missing.
        """
        text = _decoded(line).removesuffix("\n")
        crlf = text.endswith("\r") and line.endswith(b"\n")
        text = text.removesuffix("\r")
        if "\r" in text and (self.quote is None or self.quote not in text):
            raise PermanentError(
                "lines end in CR alone, as on old Macs",
                help="convert the line endings, for instance with `tr '\\r' '\\n'`",
            )
        dialect = Dialect(self._sniff(text), self.quote, crlf=crlf)
        columns = tuple(cell_value(cell, dialect) for cell in split_cells(text, dialect))
        for i, name in enumerate(columns):
            if not name.strip():
                raise PermanentError(f"column {i + 1} of the header has no name", help="name it")
            if name in columns[:i]:
                raise PermanentError(
                    f"column `{name}` is in the header twice", help="rename one of the two"
                )
        for name in sorted(self.required):
            if name not in columns:
                raise absent(name, columns)
        return Layout(
            "csv", "csv", columns, columns, dialect=dialect, header=text, received=columns
        )

    def _sniff(self, text: str) -> str:
        if self.separator is not None:
            return self.separator
        if self.quote is not None:
            text = re.sub(
                f"{re.escape(self.quote)}[^{re.escape(self.quote)}]*{re.escape(self.quote)}",
                "",
                text,
            )
        return max(_SEPARATORS, key=text.count)


def _decoded(line: bytes) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        raise PermanentError(
            "the header is not UTF-8", help="add `transcode` before `read_csv`"
        ) from error
