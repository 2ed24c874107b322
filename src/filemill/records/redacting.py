"""Values replaced so that nothing of them is left: not in the record's text, not in a view of it.

In JSON the whole record is written anew where it has the member, because a name may stand there twice and only the
last one is the value.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Any

import msgspec
import polars as pl

from filemill.records import json_text, text
from filemill.records.batch import Batch
from filemill.records.values import texts

Redactor = Callable[[pl.Series], pl.Series]
"""From texts without null to what stands in their places."""


def redacted(batch: Batch, name: str, redactor: Redactor) -> Batch:
    """The batch with that column's values replaced; where a record has no value there it has none afterwards.

    Raises:
        PermanentError: a csv file has no such column (did-you-mean).
    """
    batch = batch.settled()
    if batch.layout.format == "jsonl":
        return _in_objects(batch, name, redactor)
    values = texts(batch, [name])[0]
    given = values != ""
    if not given.any():
        return batch
    return batch.with_column(name, redactor(values).alias(name), given)


def _in_objects(batch: Batch, name: str, redactor: Redactor) -> Batch:
    """The JSON records rewritten; what is no text and stays as it was stays what it is."""
    lines = text.standing(batch.frame).to_list()
    members: list[dict[str, Any]] = [json_text.members(line) for line in lines]
    raws = [_plain(bytes(each[name]).decode()) if name in each else None for each in members]
    if all(raw is None for raw in raws):
        return batch
    said = [None if raw is None else json_text.raw_text(msgspec.Raw(raw.encode())) for raw in raws]
    there = [at for at, value in enumerate(said) if value is not None]
    new: list[str | None] = [None] * len(lines)
    made = redactor(pl.Series(name, [said[at] for at in there], dtype=pl.String))
    for at, value in zip(there, made, strict=True):
        new[at] = value
    for at, raw in enumerate(raws):
        if raw is not None:
            kept = new[at] == said[at]
            members[at][name] = msgspec.Raw(raw.encode()) if kept else new[at]
            lines[at] = json_text.with_members(lines[at], members[at])
    frame = batch.frame.with_columns(
        pl.Series("_text", lines, dtype=pl.String), pl.Series(name, new, dtype=pl.String)
    )
    again = Batch(frame, batch.layout, batch.file_tags)
    again.own = batch.own
    return again


def _plain(raw: str) -> str:
    """A member's JSON text; of an object or list only what it says: no escapes, no name twice."""
    return json_text.value_json(json_text.decoded(raw)) if raw[:1] in "{[" else raw


class Masked:
    """One text in place of every value."""

    def __init__(self, mask: str) -> None:
        self.mask = mask

    def __call__(self, values: pl.Series) -> pl.Series:
        return pl.repeat(self.mask, len(values), dtype=pl.String, eager=True)


class Tail:
    """A mask and the last `count` characters; the mask alone where that would show more than half of the value."""

    def __init__(self, count: int, mask: str) -> None:
        self.count = count
        self.mask = mask

    def __call__(self, values: pl.Series) -> pl.Series:
        value = pl.col("v")
        tail = pl.lit(self.mask) + value.str.tail(self.count)
        long = value.str.len_chars() >= 2 * self.count
        shown = pl.when(long).then(tail).otherwise(pl.lit(self.mask))
        return values.alias("v").to_frame().select(shown.alias("v")).to_series()


class Keyed:
    """HMAC-SHA-256 in hex: the same for the same value, and nobody without the key can find the value by trying."""

    def __init__(self, key: str) -> None:
        self.key = key.encode()

    def __call__(self, values: pl.Series) -> pl.Series:
        digest = hmac.digest
        found = {
            value: digest(self.key, value.encode(), "sha256").hex() for value in values.unique()
        }
        return pl.Series([found[value] for value in values], dtype=pl.String)


class Replaced:
    """Every match of a regular expression replaced; `by` is meant as it is written."""

    def __init__(self, pattern: str, by: str) -> None:
        self.pattern = pattern
        self.by = by.replace("$", "$$")

    def __call__(self, values: pl.Series) -> pl.Series:
        return values.str.replace_all(self.pattern, self.by)
