"""The common case of a function's rows, without a look at each: members were added at the end, the rest stayed.

A record that is written as we would write it is, up to its `}`, the beginning of what its row is written as, if that
only has more members at the end. Then that text is the record's new text. All of it is told by whole columns of texts;
where a single record of a batch is in doubt, the batch is compared row by row (`rows`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import polars as pl

from filemill.records import text
from filemill.records.layout import text_layout

if TYPE_CHECKING:
    from filemill.records.batch import Batch

_ENCODE_LINES = msgspec.json.Encoder().encode_lines


def appended(
    batch: Batch, rows: Sequence[Mapping[str, Any]], old: Sequence[Mapping[str, Any]]
) -> Batch | None:
    """The batch that these rows make of its JSON records; None if that takes a look at each row."""
    if batch.layout.format != "jsonl" or batch.layout.added:
        return None
    shapes = dict.fromkeys(map(tuple, rows))
    names = dict.fromkeys(name for shape in shapes for name in shape)
    if not set(map(type, names)) <= {str}:
        return None
    made = _texts(batch, rows, old)
    if made is None:
        return None
    if not made[1]:
        return batch
    known = tuple(name for name in batch.layout.columns if name in names)
    columns = (*known, *(name for name in names if name not in batch.layout.columns))
    places = batch._places()  # noqa: SLF001 -- one half of the same thing
    layout = text_layout(batch.layout, {"columns": columns})
    return type(batch)(places.with_columns(made[0]), layout, batch.file_tags)


def _texts(
    batch: Batch, rows: Sequence[Mapping[str, Any]], old: Sequence[Mapping[str, Any]]
) -> tuple[pl.Series, bool] | None:
    """The new texts, and whether one is another than it was; None if a single one is in doubt."""
    standing = text.standing(batch.frame)
    try:
        if _ENCODE_LINES(old) != text.joined(standing) + b"\n":
            return None
        block = _ENCODE_LINES(rows)
    except (TypeError, ValueError, RecursionError, msgspec.MsgspecError):
        return None
    made = pl.Series("_text", [block[:-1]], dtype=pl.Binary).cast(pl.String)
    made = made.str.split("\n").explode()
    if len(made) != len(rows):
        return None
    new, before = pl.col("new"), pl.col("old")
    longer = new.str.starts_with(pl.concat_str([before.str.strip_suffix("}"), pl.lit(",")]))
    plain, changed, null = (
        pl.DataFrame({"new": made, "old": standing})
        .select(
            ((new == before) | longer).all().alias("plain"),
            (new != before).any().alias("changed"),
            new.str.contains("null", literal=True).any().alias("null"),  # NaN is written so too
        )
        .row(0)
    )
    return None if null or not plain else (made, changed)
