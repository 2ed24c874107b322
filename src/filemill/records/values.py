"""What a record's columns say, as text: exact, whatever type a view of them has."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from filemill.records import json_text, text
from filemill.records.batch import Batch
from filemill.records.columns import absent


def texts(batch: Batch, names: Sequence[str]) -> list[pl.Series]:
    """One column of texts a name. In JSON a string is what it says, anything else what is written, null is null.

    A csv cell without a value is '', a JSON member that is not there is null.

    Raises:
        PermanentError: a csv file has no such column (did-you-mean).
    """
    batch = batch.settled()
    standing = text.standing(batch.frame)
    if batch.layout.format == "jsonl":
        members = [json_text.members(line) for line in standing]
        return [
            pl.Series(
                name,
                [json_text.raw_text(each[name]) if name in each else None for each in members],
                dtype=pl.String,
            )
            for name in names
        ]
    for name in names:
        if name not in batch.layout.columns:
            raise absent(name, batch.layout.columns)
    if batch.layout.format == "lines":
        return batch.typed(names).cast(pl.String).get_columns()
    found = text.csv_base_values(batch.frame, batch.layout, names)
    return [column.alias(name) for name, column in zip(names, found, strict=True)]
