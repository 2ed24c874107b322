"""Reading files from bytes: what the record layer's tests share."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from filemill.formats import (
    CsvReader,
    JsonlReader,
    JsonReader,
    LinesReader,
    ParquetReader,
    ReadRequest,
    XmlReader,
)
from filemill.model.files import FileRef
from filemill.model.runs import BadRecord, RunOrder
from filemill.records.batch import Batch
from filemill.records.layout import Hints, Restart

READERS: dict[str, Any] = {
    "csv": CsvReader,
    "jsonl": JsonlReader,
    "lines": LinesReader,
    "json": JsonReader,
    "parquet": ParquetReader,
    "xml": XmlReader,
}


@dataclass
class Reading:
    """What one reading gave, and what it reported, by order."""

    batches: list[Batch] = field(default_factory=list)
    bad: dict[int, list[BadRecord]] = field(default_factory=dict)
    blank: dict[int, int] = field(default_factory=dict)
    records: dict[int, int] = field(default_factory=dict)
    restarts: int = 0

    def rows(self, *columns: str) -> list[tuple[Any, ...]]:
        names = ["_raw", "_file", "_record", "_line", "_start", *columns]
        return [row for batch in self.batches for row in batch.frame.select(names).rows()]

    def raw(self) -> list[str]:
        return [row[0] for row in self.rows()]

    def views(self, name: str) -> list[Any]:
        return [value for batch in self.batches for value in batch.typed([name]).to_series()]

    def dtypes(self, name: str) -> set[Any]:
        return {batch.frame.schema[name] for batch in self.batches}

    @property
    def batch(self) -> Batch:
        (batch,) = self.batches
        return batch


class Files:
    def __init__(self, folder: Path) -> None:
        self.folder = os.fsencode(folder)
        self.number = 0

    def orders(self, contents: Sequence[bytes], tags: Sequence[tuple[str, ...]]) -> list[RunOrder]:
        orders = []
        for i, content in enumerate(contents):
            self.number += 1
            path = self.folder + b"/%d" % self.number
            with open(path, "wb") as file:
                file.write(content)
            ref = FileRef(f"f{i}", path, b"in.txt", len(content), "s", 0, tags[i] if tags else ())
            orders.append(RunOrder(f"r{i}", ref, "p", 1, 1, 1))
        return orders

    def read(
        self,
        kind: str,
        *contents: bytes,
        chunk_size: int = 16 << 20,
        max_record: int = 4 << 20,
        tags: Sequence[tuple[str, ...]] = (),
        options: dict[str, Any] | None = None,
        **request: Any,
    ) -> Reading:
        """Read as an executor does, starting again as often as a reader asks for it."""
        orders = self.orders(contents, tags)
        hints = Hints()
        restarts = 0
        while True:
            reading = Reading(restarts=restarts)
            asked = ReadRequest(
                step="read",
                orders=orders,
                report_bad=lambda i, bad, r=reading: r.bad.setdefault(i, []).extend(bad),
                count_blank=lambda i, n, r=reading: r.blank.update({i: r.blank.get(i, 0) + n}),
                count_records=lambda i, n, r=reading: r.records.update(
                    {i: r.records.get(i, 0) + n}
                ),
                chunk_size=chunk_size,
                max_record=max_record,
                hints=hints,
                **request,
            )
            try:
                reading.batches = list(READERS[kind](asked, **(options or {})).read())
            except Restart as restart:
                hints = hints.merge(restart.hints)
                restarts += 1
                assert restarts < 20
                continue
            for bad in reading.bad.values():
                bad.sort(key=lambda each: each.record)
            return reading


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@pytest.fixture(scope="module")
def shared_files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """The same for Hypothesis, which runs one test many times."""
    return Files(tmp_path_factory.mktemp("files"))


Read = Callable[..., Reading]
