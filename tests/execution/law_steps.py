"""Functions of a user's own for tests of laws: each kind drops, doubles, tags, changes and refuses some records."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import polars as pl

from filemill import Reject, Tagged


def record(row: dict[str, Any], *, odd: int = 3) -> Any:
    """Of each five records one is dropped, one doubled, one refused, one tagged, one left as it is."""
    number = len(str(row["text"])) + odd
    match number % 5:
        case 0:
            return None
        case 1:
            return [row, row | {"text": "twin"}]
        case 2:
            raise Reject("refused")
        case 3:
            return Tagged(row | {"more": number}, "tagged")
    return row


def frame(frame: pl.DataFrame) -> pl.DataFrame:
    """Raises if any record has a text of one character; drops those without a text, by `_record`."""
    if "text" not in frame.columns:
        return frame.clear()  # of a JSON batch in which no record has one
    texts = frame["text"].cast(pl.String).fill_null("")
    if (texts.str.len_chars() == 1).any():
        raise ValueError("a single character")
    return frame.filter(texts != "").with_columns(size=texts.filter(texts != "").str.len_chars())


def stream(rows: Iterable[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    """Every other record, and a last one more of the file."""
    last = None
    for at, row in enumerate(rows):
        last = row
        if at % 2 == 0:
            yield row
    if last is not None:
        yield last | {"text": "end"}
