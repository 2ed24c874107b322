"""What an output is made of besides its records' texts: its format, and what stands around and between them."""

from __future__ import annotations

import polars as pl

from filemill.records.batch import Batch
from filemill.records.layout import Layout
from filemill.sinks.sheets import Stretch

RAW = "raw"
RECEIVED = "received"
CSV = "csv"
JSON = "json"
PARQUET = "parquet"
_WRITTEN_AS = {JSON: "jsonl", PARQUET: "jsonl", "xml": "jsonl"}
"""The format of records that were read so, in a sink that names none: one that can be written record by record."""


def written_as(layout: Layout, wanted: str | None) -> str:
    """The format in which records of that layout are written, if the sink wants this one, or none in particular."""
    return wanted or _WRITTEN_AS.get(layout.read_as, layout.read_as)


def around(wanted: str, layout: Layout) -> tuple[bytes, bytes]:
    """What stands before and behind all records; where something is behind them, they are elements of an array."""
    if wanted == JSON:
        return b"[\n", b"\n]\n"
    if wanted != RECEIVED:
        return b"", b""
    opens, closes = layout.around
    if closes:
        return f"{opens}\n".encode(), f"\n{closes}\n".encode()
    if layout.header:
        return (layout.header + ("\r\n" if layout.dialect.crlf else "\n")).encode(), b""
    return b"", b""


def around_nothing(wanted: str, layout: Layout) -> bytes:
    """What an output without records is: `[]` where they would be in an array."""
    opens, closes = around(wanted, layout)
    return opens.rstrip(b"\n") + closes.lstrip(b"\n") if closes else opens


def received(batch: Batch) -> tuple[pl.Series, list[Stretch]]:
    """Each record's original text, once, however many records steps made of it; and the files' stretches."""
    frame = batch.frame
    same = pl.all_horizontal(pl.col("_file", "_record").eq(pl.col("_file", "_record").shift()))
    once = frame.select("_raw", "_file", "_record").filter(~same.fill_null(value=False))
    return once.get_column("_raw"), Batch(once, batch.layout, batch.file_tags).split_files()
