"""A batch: consecutive records of one chunk, or of many small files that share header and types.

A record is its own bytes. A batch holds each record's raw text, its place in its file, its tags, and only those
columns that expressions or steps name. The frame is never the record: what no step changed is written as
it came in.

Layout of `frame` (Polars), one row a record, in input order:

| column     | type    | what                                                                |
|------------|---------|---------------------------------------------------------------------|
| `_raw`     | String  | the record's own text, without its `\\n` (a `\\r` before it is kept)  |
| `_file`    | UInt32  | index into the orders of the batch's runs                           |
| `_record`  | Int64   | number in its file, from 1                                          |
| `_line`    | Int64   | physical line on which it starts, from 1                            |
| `_start`   | Int64   | first byte in its file                                              |
| `_tag:X`   | Boolean | the record has tag X                                                |
| `_cell:C`  | String  | text of column C as it stands in the record (null: absent)          |
| `C`        | typed   | the view of column C that expressions and steps see                 |
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import polars as pl

    from filemill.model.tags import TagExpression
    from filemill.records.layout import Layout


class Batch:
    """One batch. Immutable: every method that changes something answers with another batch."""

    def __init__(
        self, frame: pl.DataFrame, layout: Layout, file_tags: Sequence[frozenset[str]]
    ) -> None:
        self.frame = frame
        self.layout = layout
        self.file_tags = file_tags
        """Tags of each order's file; a record inherits those of its file."""

    def __len__(self) -> int:
        return self.frame.height

    def columns(self) -> tuple[str, ...]:
        """All columns the records have, in order, whether extracted or not (csv); those known (jsonl)."""
        raise NotImplementedError

    def typed(self, names: Sequence[str]) -> pl.DataFrame:
        """The typed view of these columns, one row a record; PermanentError names an absent one (did-you-mean)."""
        raise NotImplementedError

    def mask(self, expression: TagExpression) -> pl.Series:
        """Which records satisfy a tag expression over their own and their file's tags."""
        raise NotImplementedError

    def with_tag(self, tag: str, mask: pl.Series) -> Batch:
        """Add `tag` to the masked records (null counts as false); others keep what they had."""
        raise NotImplementedError

    def where(self, mask: pl.Series) -> Batch:
        """Only the masked records, in order."""
        raise NotImplementedError

    def with_column(self, name: str, values: pl.Series, mask: pl.Series | None = None) -> Batch:
        """Add or replace a column; records outside `mask` keep what they had (nothing, if it is new)."""
        raise NotImplementedError

    def select(self, columns: Sequence[tuple[str, pl.Series | None]]) -> Batch:
        """Keep only these columns, in this order; None keeps the record's own cell text, a Series gives new values."""
        raise NotImplementedError

    def rows(self) -> list[dict[str, Any]]:
        """Every record as a dict of typed values, all columns, in the record's own key order."""
        raise NotImplementedError

    def with_rows(
        self,
        rows: Sequence[Mapping[str, Any]],
        origin: Sequence[int],
        tags: Mapping[str, Sequence[bool]] | None = None,
    ) -> Batch:
        """The batch after a Python step: `rows[i]` came of record `origin[i]`.

        A row equal to its origin keeps its raw text; a changed one keeps the text of every cell that is
        equal (same type and value) and encodes the others. Rows may be fewer or more than before.
        """
        raise NotImplementedError

    def split_files(self) -> list[tuple[int, int, int]]:
        """(order index, first row, one past the last row) of each file's stretch of rows, in order."""
        raise NotImplementedError
