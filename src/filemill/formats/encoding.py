"""Records as text of any format: what is untouched goes out as it came in."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from filemill.model.errors import PermanentError
from filemill.records import json_text, text
from filemill.records.batch import Batch
from filemill.records.cells import fill_lonely, quote_cell, quote_cells
from filemill.records.layout import LINE, Dialect, Layout
from filemill.records.text import CELL

FORMATS = ("csv", "jsonl", "json", "lines")


def suffix(format: str) -> str:  # noqa: A002 -- the word users read
    """The file name ending of a format, with its dot; empty for lines, which keep the name they have."""
    return {"csv": ".csv", "jsonl": ".jsonl", "json": ".json", "lines": ""}[format]


def header_line(
    layout: Layout, columns: Sequence[str] | None = None, dialect: Dialect | None = None
) -> str:
    """The csv header of these columns (all of the layout's, if None), without LF but with the CR of a CRLF file.

    Columns that the file's own header names keep its text.
    """
    names = tuple(layout.columns if columns is None else columns)
    marks = layout.dialect if dialect is None else dialect
    end = "\r" if marks.crlf else ""
    known = layout.received
    if layout.header and names[: len(known)] == known and _alike(marks, layout.dialect):
        more = [quote_cell(name, marks) for name in names[len(known) :]]
        return marks.separator.join([layout.header, *more]) + end
    return marks.separator.join(quote_cell(name, marks) for name in names) + end


def encode(
    batch: Batch,
    format: str,  # noqa: A002
    columns: Sequence[str] | None = None,
    dialect: Dialect | None = None,
) -> pl.Series:
    """One text a record, without LF; with a CR where the record had one or, in a new text, where the dialect says so.

    `columns` is the header of a csv output that may have more columns than the batch: those are empty cells.
    Without `dialect` the batch's own marks are used.

    Raises:
        PermanentError: quoting is off and a value needs it.
    """
    layout = batch.layout
    marks = layout.dialect if dialect is None else dialect
    if format == "csv":
        return _csv(batch, tuple(batch.keys() if columns is None else columns), marks)
    if format == "json":
        # Elements of an array, not lines: no CR belongs to them.
        return encode(batch, "jsonl").str.strip_suffix("\r")
    if format == "jsonl":
        if layout.format == "jsonl":
            return _ending(text.complete(batch.frame, layout), layout, marks, dialect)
        return _returned(_json(batch), marks)
    if layout.format == "lines" or LINE not in batch.columns():
        return _ending(text.complete(batch.frame, layout), layout, marks, dialect)
    values = batch.typed([LINE]).to_series().cast(pl.String).fill_null("")
    return _returned(values, marks)


def _csv(batch: Batch, names: tuple[str, ...], marks: Dialect) -> pl.Series:
    layout = batch.layout
    if layout.format != "csv" or not _alike(marks, layout.dialect):
        return _returned(_csv_from_values(batch, names, marks), marks)
    if names[: len(layout.base)] == layout.base:
        more = [
            batch.frame.get_column(CELL + name) if name in layout.added else None
            for name in names[len(layout.base) :]
        ]
        made = text.append_cells(text.standing(batch.frame), more, layout)
    else:
        have = [name for name in names if name in layout.columns]
        found = text.cell_texts(batch.frame, layout, have)
        nothing = pl.repeat("", len(batch), dtype=pl.String, eager=True)
        cells = {name: found.get(name, nothing) for name in names}
        ends = text.line_ends(text.standing(batch.frame), layout)
        made = text.from_cells(cells, layout, ends)
    if marks.crlf == layout.dialect.crlf:
        return made
    return _returned(text.bare(made, layout), marks)


def _csv_from_values(batch: Batch, names: tuple[str, ...], marks: Dialect) -> pl.Series:
    """Csv of another format, or of csv with other marks: the values keep their exact text, cells are marked anew."""
    layout = batch.layout
    have = [name for name in names if name in layout.columns or layout.format == "jsonl"]
    found = text.cell_texts(batch.frame, layout, have)
    columns = []
    for i, name in enumerate(names):
        cells = found.get(name)
        if cells is None:
            columns.append(pl.repeat("", len(batch), dtype=pl.String, eager=True).alias(f"c{i}"))
            continue
        if layout.format == "csv":
            values = cells.fill_null("")
            if layout.dialect.quote is not None:
                values = text.unquoted(values, layout.dialect.quote)
        else:
            values = pl.Series([_said(cell) for cell in cells], dtype=pl.String)
        columns.append(quote_cells(values.alias(f"c{i}"), marks))
    if not columns:
        return pl.repeat("", len(batch), dtype=pl.String, eager=True)
    made = pl.DataFrame(columns).select(
        pl.concat_str(pl.all(), separator=marks.separator).alias("_text")
    )
    return fill_lonely(made.to_series(), marks)


def _said(cell: str | None) -> str:
    """What a JSON text says in a csv cell: a string's content, a number as it is written, null and absent nothing."""
    if cell is None or cell == "null":
        return ""
    return str(json_text.decoded(cell)) if cell.startswith('"') else cell


def _json(batch: Batch) -> pl.Series:
    """Objects from csv or lines."""
    layout = batch.layout
    if layout.format == "lines":
        cells = text.cell_texts(batch.frame, layout, layout.columns)
        return text.json_objects([(name, cells[name]) for name in layout.columns])
    cells = text.cell_texts(batch.frame, layout, layout.columns)
    made = []
    for name in layout.columns:
        view = batch.frame.get_column(name) if name in batch.frame.columns else None
        made.append((name, _json_member(cells[name], view, layout, name in layout.added)))
    return text.json_objects(made)


def _json_member(
    cells: pl.Series, view: pl.Series | None, layout: Layout, added: bool
) -> pl.Series:
    """One csv column as JSON texts, typed where its view is; a number keeps its text if JSON can read it."""
    if view is not None and added:
        made = json_text.json_cells(view)
        frame = pl.DataFrame({"m": made, "c": cells})
        return frame.select(pl.when(pl.col("c").is_not_null()).then("m")).to_series()
    if view is not None and view.dtype.is_numeric():
        frame = pl.DataFrame({"c": cells, "v": view, "m": json_text.json_cells(view)})
        exact = pl.col("c").str.contains(r"^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?$")
        return frame.select(pl.when(exact).then("c").otherwise("m")).to_series()
    if view is not None and view.dtype not in (pl.String, pl.Null):
        return json_text.json_cells(view)
    quote = layout.dialect.quote
    return json_text.json_cells(cells if quote is None else text.unquoted(cells, quote))


def _alike(one: Dialect, other: Dialect) -> bool:
    return one.separator == other.separator and one.quote == other.quote


def _ending(texts: pl.Series, layout: Layout, marks: Dialect, asked: Dialect | None) -> pl.Series:
    """Line endings stay as they are unless others were asked for."""
    if asked is None or marks.crlf == layout.dialect.crlf:
        return texts
    return _returned(text.bare(texts, layout), marks)


def _returned(texts: pl.Series, marks: Dialect) -> pl.Series:
    return texts + "\r" if marks.crlf else texts


def check_format(format: str) -> str:  # noqa: A002
    """Return `format` if records can be written in it; PermanentError if not."""
    if format not in FORMATS:
        raise PermanentError(
            f"`{format}` is no format of records", help="use " + ", ".join(FORMATS)
        )
    return format


__all__ = ["FORMATS", "check_format", "encode", "header_line", "suffix"]
