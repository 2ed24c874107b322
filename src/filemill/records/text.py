"""The text of a batch's records in their own format: what stands there now, and with derived columns written in."""

from __future__ import annotations

import re
from collections.abc import Sequence

import polars as pl

from filemill.records import json_text
from filemill.records.cells import (
    fill_lonely,
    quote_cells,
    value_text,
)
from filemill.records.layout import Dialect, Layout

CELL = "_cell:"
TAG = "_tag:"


def standing(frame: pl.DataFrame) -> pl.Series:
    """Each record's text without its added columns."""
    return frame.get_column("_text" if "_text" in frame.columns else "_raw")


def joined(texts: pl.Series) -> bytes:
    """The texts, at least one, with a LF between any two."""
    block: bytes = texts.str.join("\n").cast(pl.Binary).item()
    return block


def bare(texts: pl.Series, layout: Layout) -> pl.Series:
    """The texts without the CR that may end them."""
    return texts.str.strip_suffix("\r") if layout.returns else texts


def complete(frame: pl.DataFrame, layout: Layout) -> pl.Series:
    """Each record's text with its added columns, in the batch's own format (which lines cannot show)."""
    texts = standing(frame)
    if not layout.added or layout.format == "lines" or not len(texts):
        return texts
    cells = [(name, frame.get_column(CELL + name)) for name in layout.added]
    if layout.format == "jsonl":
        braced = layout.braced and "_text" not in frame.columns
        return json_text.splice(texts, cells, braced=braced)
    return append_cells(texts, [cell for _, cell in cells], layout)


def append_cells(texts: pl.Series, cells: Sequence[pl.Series | None], layout: Layout) -> pl.Series:
    """Csv records with more cells at their ends; None and null are empty cells."""
    if not cells:
        return texts
    columns: list[pl.Series] = [texts.alias("text")]
    parts: list[pl.Expr] = []
    separator = layout.dialect.separator
    literal = ""
    for i, cell in enumerate(cells):
        literal += separator
        if cell is None:
            continue
        columns.append(cell.alias(f"c{i}"))
        expression = pl.col(f"c{i}")
        parts += [pl.lit(literal), expression.fill_null("") if cell.null_count() else expression]
        literal = ""
    if literal:
        parts.append(pl.lit(literal))
    returns = layout.returns and bool(texts.str.ends_with("\r").any())
    head = pl.col("text").str.strip_suffix("\r") if returns else pl.col("text")
    if returns:
        ends = pl.col("text").str.ends_with("\r")
        parts.append(pl.when(ends).then(pl.lit("\r")).otherwise(pl.lit("")))
    new = pl.concat_str([head, *parts])
    return pl.DataFrame(columns).select(new.alias(texts.name)).to_series()


def value_cells(values: pl.Series, layout: Layout) -> pl.Series:
    """A typed column as cell texts of the batch's own format; in csv null is an empty cell."""
    if layout.format == "csv":
        return csv_cells(values, layout.dialect)
    return json_text.json_cells(values)


def csv_cells(values: pl.Series, dialect: Dialect) -> pl.Series:
    """A typed column as csv cells."""
    dtype = values.dtype
    if dtype == pl.String:
        return quote_cells(values.fill_null(""), dialect)
    if dtype == pl.Boolean or dtype.is_numeric():
        return values.cast(pl.String).fill_null("")
    texts = [value_text(value) for value in values]
    return quote_cells(pl.Series(values.name, texts, dtype=pl.String), dialect)


def csv_base_cells(frame: pl.DataFrame, layout: Layout, names: Sequence[str]) -> list[pl.Series]:
    """The exact cells of these columns of the standing csv text, quotes included."""
    texts = bare(standing(frame), layout)
    dialect = layout.dialect
    wanted = [layout.base.index(name) for name in names]
    if not wanted:
        return []
    quote = dialect.quote
    if quote is None or not texts.str.contains(quote, literal=True).any():
        return plain_cells(texts, dialect.separator, wanted)
    return quoted_cells(texts, dialect.separator, quote, wanted)


def plain_cells(texts: pl.Series, separator: str, wanted: Sequence[int]) -> list[pl.Series]:
    """Cells by position of records without a quote."""
    split = texts.str.splitn(separator, max(wanted) + 2).struct
    return [split.field(f"field_{i}") for i in wanted]


def quoted_cells(
    texts: pl.Series, separator: str, quote: str, wanted: Sequence[int]
) -> list[pl.Series]:
    """Cells by position of proven records, quotes included."""
    s, q = re.escape(separator), re.escape(quote)
    cell = f"(?:{q}(?:[^{q}]|{q}{q})*{q}|[^{s}{q}]*)"
    last = max(wanted)
    parts = [f"({cell})" if i in wanted else cell for i in range(last + 1)]
    groups = texts.str.extract_groups(f"^{s.join(parts)}(?:{s}|$)").struct
    names = {position: str(n + 1) for n, position in enumerate(sorted(set(wanted)))}
    return [groups.field(names[position]) for position in wanted]


def csv_base_values(frame: pl.DataFrame, layout: Layout, names: Sequence[str]) -> list[pl.Series]:
    """What these cells say, without quotes."""
    cells = csv_base_cells(frame, layout, names)
    if layout.dialect.quote is None:
        return cells
    return [unquoted(cell, layout.dialect.quote) for cell in cells]


def unquoted(cells: pl.Series, quote: str) -> pl.Series:
    """What a column of cells says."""
    quoted = cells.alias("c").str.starts_with(quote)
    if not quoted.any():
        return cells
    cell = pl.col("c")
    inner = cell.str.slice(1, cell.str.len_chars() - 2).str.replace_all(
        quote * 2, quote, literal=True
    )
    frame = pl.DataFrame({"c": cells, "q": quoted})
    return frame.select(pl.when("q").then(inner).otherwise("c")).to_series().alias(cells.name)


def cell_texts(frame: pl.DataFrame, layout: Layout, names: Sequence[str]) -> dict[str, pl.Series]:
    """The exact cell of each of these columns as it stands, in the batch's own format; null: absent."""
    found: dict[str, pl.Series] = {
        name: frame.get_column(CELL + name) for name in names if name in layout.added
    }
    rest = [name for name in names if name not in found]
    if layout.format == "csv":
        found |= zip(rest, csv_base_cells(frame, layout, rest), strict=True)
    elif layout.format == "lines":
        for name in rest:
            found[name] = json_text.json_cells(bare(standing(frame), layout))
    elif rest:
        rows = [json_text.members(text) for text in standing(frame)]
        for name in rest:
            texts = [bytes(row[name]).decode() if name in row else None for row in rows]
            found[name] = pl.Series(texts, dtype=pl.String)
    return {name: found[name].alias(name) for name in names}


def from_cells(cells: dict[str, pl.Series], layout: Layout, ends: pl.Series | None) -> pl.Series:
    """Records made of these cells alone (of the batch's own format), `ends` telling which end in a CR."""
    columns = [cell.alias(f"c{i}") for i, cell in enumerate(cells.values())]
    if layout.format == "csv":
        texts = pl.DataFrame(columns).select(
            pl.concat_str([pl.all().fill_null("")], separator=layout.dialect.separator).alias(
                "_text"
            )
        )
        made = fill_lonely(texts.to_series(), layout.dialect)
    else:
        made = json_objects(list(cells.items()))
    if ends is None or not ends.any():
        return made
    return (
        made
        + pl.select(pl.when(ends).then(pl.lit("\r")).otherwise(pl.lit("")).alias("r")).to_series()
    )


def json_objects(cells: Sequence[tuple[str, pl.Series]]) -> pl.Series:
    """One object a row of JSON texts; a null text is no member."""
    columns = [series.alias(f"c{i}") for i, (_, series) in enumerate(cells)]
    parts = []
    for i, (name, _) in enumerate(cells):
        part = pl.concat_str([pl.lit(f"{json_text.key_text(name)}:"), pl.col(f"c{i}")])
        parts.append(part.alias(f"p{i}"))
    inner = pl.concat_str(parts, separator=",", ignore_nulls=True)
    made = pl.concat_str([pl.lit("{"), inner.fill_null(""), pl.lit("}")])
    return pl.DataFrame(columns).select(made.alias("_text")).to_series()


def line_ends(texts: pl.Series, layout: Layout) -> pl.Series | None:
    """Which records' texts end in a CR; None when no one does."""
    return texts.str.ends_with("\r") if layout.returns else None


def set_members(
    frame: pl.DataFrame, name: str, cells: pl.Series, mask: pl.Series | None
) -> pl.Series:
    """The JSON records with one member set in the masked ones."""
    texts = standing(frame).to_list()
    chosen = [True] * len(texts) if mask is None else mask.to_list()
    made = [
        json_text.set_member(record, name, cell) if changes else record
        for record, cell, changes in zip(texts, cells, chosen, strict=True)
    ]
    return pl.Series("_text", made, dtype=pl.String)
