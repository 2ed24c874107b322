"""Parquet outputs in the making: columns of texts until the last record has told their types.

A parquet file has one type a column, and a column's type is that of all its records (`formats.columns`). So records
wait as columns of text, beyond `SPILL` bytes in a spool beside the staged file, `<publication>.<fence>.spool`, and are
cast and written when the run's last record is there. Nothing has to be read twice, memory is bounded, and what the file
looks like depends neither on chunks nor on batches: its row groups are cut by the records' number and size alone.

The spool is only this process's: nothing of it is synced, it goes with `fill` or `discard`, and after a crash the
sink's `sweep` removes it.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator, Sequence
from typing import IO, Literal

import polars as pl

from filemill.durable import Durable
from filemill.formats.columns import columns_of, dtype_of, together, typed
from filemill.model.errors import PermanentError
from filemill.records.batch import Batch
from filemill.records.layout import UNKNOWN
from filemill.records.text import standing
from filemill.sinks.compressing import Compression
from filemill.sinks.staged_file import StagedFile

SPILL = 8 << 20
"""Bytes of records held in memory."""
MOST_COLUMNS = 10_000
_GROUP_BYTES = 32 << 20
"""Bytes of records in a row group."""
_GROUP_ROWS = 1 << 18
_CODECS: dict[Compression, Literal["gzip", "zstd"]] = {"gz": "gzip", "zst": "zstd"}
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW


class Table:
    """One file's records on their way into a parquet output. Methods raise OSError as the disk does."""

    def __init__(self, staged: bytes) -> None:
        self._path = staged + b".spool"
        self._descriptor = -1
        self._parts: list[tuple[int, int]] = []
        """Where each part stands in the spool: offset, size."""
        self._end = 0
        self._held: list[pl.DataFrame] = []
        self._waiting = 0
        self._bytes = 0
        self._rows = 0
        self._words: dict[str, str] = {}

    @property
    def columns(self) -> tuple[str, ...]:
        """Those that records brought, in order of first appearance."""
        return tuple(self._words)

    def add(self, batch: Batch, durable: Durable) -> None:
        """Append a batch of this file's records.

        Raises:
            PermanentError: there are too many columns for a table.
        """
        columns = columns_of(batch)
        for name, word in columns.words.items():
            self._words[name] = together(self._words.get(name, UNKNOWN), word)
        if len(self._words) > MOST_COLUMNS:
            raise PermanentError(
                f"the records have more than {MOST_COLUMNS:,} different keys, too many for columns of a table",
                help="`select` those that are wanted, or set `format: jsonl`",
            )
        size = int(standing(batch.frame).str.len_bytes().sum())
        self._held.append(columns.frame)
        self._rows += len(batch)
        self._bytes += size
        self._waiting += size
        if self._waiting > SPILL:
            self._spill(durable)

    def fill(
        self, output: StagedFile, names: Sequence[str], codec: Compression, durable: Durable
    ) -> None:
        """Write the output: these columns, in this order.

        Raises:
            PermanentError: there are records and no column.
        """
        words = {name: self._words.get(name, UNKNOWN) for name in names}
        if self._rows and not words:
            raise PermanentError(
                "none of the records has a single key, and a table needs a column",
                help="set `format: jsonl` for such records",
            )
        rows = max(1, min(_GROUP_ROWS, _GROUP_BYTES * self._rows // max(1, self._bytes)))

        def write(target: IO[bytes]) -> None:
            if not words:
                pl.DataFrame().write_parquet(target)
                return
            self._lazy(words).sink_parquet(
                target,
                compression=_CODECS[codec],
                row_group_size=rows,
                maintain_order=True,
            )

        output.fill(durable, write)
        self.discard(durable)

    def discard(self, durable: Durable) -> None:
        """Let go of everything, the spool too. Idempotent; never raises: what stays is swept at the next start."""
        self._held = []
        if self._descriptor < 0:
            return
        descriptor, self._descriptor = self._descriptor, -1
        with contextlib.suppress(OSError):
            os.close(descriptor)
        with contextlib.suppress(OSError):
            durable.unlink(self._path)

    def _lazy(self, words: dict[str, str]) -> pl.LazyFrame:
        """The whole table, part by part as it is asked for."""
        from polars.io.plugins import register_io_source  # noqa: PLC0415 -- only big tables need it

        def parts(
            with_columns: list[str] | None,
            predicate: pl.Expr | None,  # noqa: ARG001 -- nothing is filtered here
            n_rows: int | None,  # noqa: ARG001
            batch_size: int | None,  # noqa: ARG001
        ) -> Iterator[pl.DataFrame]:
            for part in self._all():
                frame = typed(part, words)
                yield frame if with_columns is None else frame.select(with_columns)

        schema = {name: dtype_of(word) for name, word in words.items()}
        return register_io_source(parts, schema=schema)

    def _all(self) -> Iterator[pl.DataFrame]:
        for offset, size in self._parts:
            yield pl.read_ipc(io.BytesIO(os.pread(self._descriptor, size, offset)))
        yield from self._held

    def _spill(self, durable: Durable) -> None:
        if self._descriptor < 0:
            try:
                self._descriptor = os.open(self._path, _FLAGS, 0o600)
            except FileNotFoundError:  # somebody removed the staging folder
                durable.make_directory(os.path.dirname(self._path), 0o700)
                self._descriptor = os.open(self._path, _FLAGS, 0o600)
        for frame in self._held:
            buffer = io.BytesIO()
            frame.write_ipc(buffer, compression="lz4")
            data = buffer.getbuffer()
            at = 0
            while at < len(data):
                at += os.pwrite(self._descriptor, data[at:], self._end + at)
            self._parts.append((self._end, len(data)))
            self._end += len(data)
        self._held = []
        self._waiting = 0
