"""The folder sink's half in a worker: records and whole files become synced files nobody can see yet.

Every output is written below `<root>/.filemill/` as `<publication>.<fence>` (see `folder` for what becomes of it
there). What is particular here:

- *Small files travel together.* A batch of many files is encoded in one go and cut into files by byte offsets; each
  output costs one open, one write, one fstat and one close, and one round of syncs serves the group.
- *One header.* A csv header is the union of the columns that any batch brought, in order of first appearance, also of
  batches without a record (a branch of a route that nothing took). So csv batches wait until `finish`. The union is
  taken over the files that came with the same header; of NDJSON, whose columns are only known by reading, over each
  file alone: what a file's output looks like must not depend on the files it travelled with.
- *Big files stream.* Beyond `SPILL` bytes an output is begun. If a later batch then has columns that the written header
  lacks, `Restart` asks for the files again with the header known from the start; nothing is published yet.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator, Sequence

import msgspec
import polars as pl

from filemill.durable import Durable
from filemill.formats.encoding import encode, header_line
from filemill.model.errors import PermanentError, SystemFault, TransientError
from filemill.model.runs import RunOrder, StagedOutput
from filemill.records.batch import Batch
from filemill.records.layout import Hints, Layout, Restart
from filemill.records.text import standing
from filemill.sinks.naming import SUFFIXES, NameTemplate
from filemill.sinks.staged_file import StagedFile

SPILL = 4 << 20
"""Bytes of one file's records held back for its header; beyond, they stream to the staged file."""
HELD = 64 << 20
"""Bytes of all files' records held back."""
RAW = "raw"
RECEIVED = "received"
_HELP = {
    errno.ENOSPC: "free some space; work goes on by itself, and no attempt is spent meanwhile",
    errno.EDQUOT: "the quota is used up: free some space; work goes on by itself",
    errno.EIO: "the disk reports errors: look at the kernel's log before you trust it further",
    errno.EACCES: "give the user that runs filemill write access to the sink's folder",
    errno.EROFS: "remount the file system for writing; work goes on by itself",
}


class Staging(msgspec.Struct, frozen=True):
    """What a stager needs to know of its sink."""

    sink: str
    folder: bytes
    """The staging folder, absolute."""
    template: NameTemplate
    format: str | None
    """`csv`, `jsonl`, `lines`, `raw`; None: as it was read."""
    received: bool
    """`as: received`."""
    write_empty: bool
    collision: str
    mode: int | None


_Stretch = tuple[int, int, int]
"""(order, first row, one past the last row)."""


class _Table:
    """Files that share a csv header: its columns so far, and what waits for it."""

    def __init__(self, layout: Layout, columns: dict[str, None]) -> None:
        self.layout = layout
        self.columns = columns
        self.held: list[tuple[Batch, list[_Stretch]]] = []
        self.size = 0
        """Bytes of what waits."""
        self.largest: dict[int, int] = {}
        """Bytes of the files that fill batches of their own."""
        self.begun = 0
        """How many columns a header already written has; 0 when none is."""


class FolderStager:
    """Stages the outputs of one batch of runs for one folder sink. See `ports.sink.Stager`.

    `header` is what a `Restart` of these runs found out: the columns a csv header must begin with.
    """

    def __init__(
        self,
        staging: Staging,
        durable: Durable,
        orders: Sequence[RunOrder],
        header: tuple[str, ...] = (),
    ) -> None:
        self._staging = staging
        self._durable = durable
        self._orders = orders
        self._hints = header
        self._outputs: dict[int, StagedFile] = {}
        self._tables: dict[object, _Table] = {}
        self._dropped: set[int] = set()
        self._layout: Layout | None = None
        self._waiting = 0

    def write(self, batch: Batch) -> None:
        """Append the batch's records to each of its runs' outputs.

        A batch without records still brings its columns to the header of csv outputs.

        Raises:
            Restart: a header already written lacks columns of this batch.
            PermanentError: the sink takes whole files only, or a value cannot be written in its format.
            SystemFault: the disk is full or failing.
        """
        staging = self._staging
        if staging.format == RAW:
            raise PermanentError(
                f"sink `{staging.sink}` takes whole files only (format: raw)",
                help="route the file itself, or set another format",
            )
        layout = batch.layout
        self._layout = self._layout or layout
        wanted = self._format(layout)
        if wanted == "csv":
            self._hold(batch, self._alive(batch.split_files()))
            return
        if not len(batch):
            return
        if wanted == RECEIVED:
            texts, stretches = _received(batch)
        else:
            texts, stretches = encode(batch, wanted), batch.split_files()
        stretches = self._alive(stretches)
        header = _received_header(layout) if wanted == RECEIVED and layout.header else b""
        for index, _, _ in stretches:
            self._output(index, layout).header = header
        self._cut(texts, stretches)
        total = sum(output.waiting for output in self._outputs.values())
        with self._faults():
            for output in self._outputs.values():
                if output.waiting > SPILL or (total > HELD and output.waiting):
                    output.flush(self._durable)

    def write_file(self, order: RunOrder) -> None:
        """Stage the run's whole file as it is: a copy, never a link to the only one.

        Raises:
            OSError: the content cannot be opened.
            SystemFault: copying failed: the disk is full or failing.
            TransientError: what was read is not as long as the file.
        """
        index = self._index(order.run)
        if index in self._dropped:
            return
        source = os.open(order.file.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            output = self._output(index, None)
            with self._faults():
                size = output.copy(source, order, self._durable)
        finally:
            os.close(source)
        if size != order.file.size:
            raise TransientError(
                f"the file's content has {size} bytes where {order.file.size} were claimed",
                help="its bytes changed after it was claimed: compare it with what the sender has",
            )

    def drop(self, run: str) -> None:
        """Forget what was staged for one run."""
        index = self._index(run)
        self._dropped.add(index)
        output = self._outputs.pop(index, None)
        if output is not None:
            output.discard(self._durable)

    def finish(self) -> dict[str, list[StagedOutput]]:
        """Write, sync as one group, and answer with each run's outputs.

        Raises:
            SystemFault: the disk is full or a sync failed: nothing of the group counts, and nothing is left of it.
            PermanentError: a value cannot be written in the sink's format.
        """
        for table in self._tables.values():
            self._release(table)
        if self._staging.write_empty:
            self._write_empty()
        staged: dict[str, list[StagedOutput]] = {}
        try:
            with self._faults():
                for index in sorted(self._outputs):
                    output = self._outputs[index].close(
                        self._durable, self._staging.collision, self._staging.mode
                    )
                    staged[self._orders[index].run] = [output]
                if staged:
                    paths = [output.staged for (output,) in staged.values()]
                    self._durable.sync_group(paths, [self._staging.folder])
        except SystemFault:
            self.abort()
            raise
        return staged

    def abort(self) -> None:
        """Remove everything staged, also after `finish` (when another sink of the run failed). Never raises."""
        outputs, self._outputs = self._outputs, {}
        self._tables = {}
        for output in outputs.values():
            output.discard(self._durable)

    # -- which records, in which format -----------------------------------------------------------

    def _index(self, run: str) -> int:
        return next(i for i, order in enumerate(self._orders) if order.run == run)

    def _alive(self, stretches: list[_Stretch]) -> list[_Stretch]:
        if not self._dropped:
            return stretches
        return [each for each in stretches if each[0] not in self._dropped]

    def _format(self, layout: Layout) -> str:
        return RECEIVED if self._staging.received else self._staging.format or layout.read_as

    def _output(self, index: int, layout: Layout | None) -> StagedFile:
        """The run's output; the first call decides its name."""
        output = self._outputs.get(index)
        if output is None:
            suffix = None
            if layout is not None and not self._staging.received:
                wanted = self._format(layout)
                suffix = SUFFIXES[wanted] if wanted != layout.read_as else None
            order = self._orders[index]
            name = self._staging.template.render(order.file, order.pipeline, suffix)
            output = self._outputs[index] = StagedFile(
                self._staging.sink, self._staging.folder, order, name
            )
        elif output.whole:
            raise PermanentError(
                f"sink `{self._staging.sink}` was given the whole file, and now its records too",
                help="use two sinks: a run has one output per sink",
            )
        return output

    # -- records that wait for their header -------------------------------------------------------

    def _hold(self, batch: Batch, stretches: list[_Stretch]) -> None:
        if batch.layout.format == "jsonl":
            for index, start, end in stretches:
                one = Batch(batch.frame[start:end], batch.layout, batch.file_tags)
                self._hold_as(index, one, [(index, 0, end - start)])
        else:
            self._hold_as(batch.layout.received, batch, stretches)

    def _hold_as(self, key: object, batch: Batch, stretches: list[_Stretch]) -> None:
        table = self._tables.get(key)
        if table is None:
            table = self._tables[key] = _Table(batch.layout, dict.fromkeys(self._hints))
        table.columns |= dict.fromkeys(batch.keys())
        if table.begun and len(table.columns) > table.begun:
            raise Restart(Hints(headers={self._staging.sink: tuple(table.columns)}))
        if not stretches:
            return
        for index, _, _ in stretches:
            self._output(index, batch.layout)
        size = int(standing(batch.frame).str.len_bytes().sum())
        table.held.append((batch, stretches))
        table.size += size
        self._waiting += size
        if len(stretches) == 1:
            index = stretches[0][0]
            table.largest[index] = table.largest.get(index, 0) + size
        if self._waiting > HELD or max(table.largest.values(), default=0) > SPILL:
            self._begin(table)

    def _begin(self, table: _Table) -> None:
        """Write what waits: from here on the header stands."""
        self._release(table)
        table.begun = len(table.columns)
        with self._faults():
            for output in self._outputs.values():
                if output.waiting:
                    output.flush(self._durable)

    def _release(self, table: _Table) -> None:
        """Encode what waited under the header as it is now known."""
        columns = tuple(table.columns)
        header = (header_line(table.layout, columns) + "\n").encode()
        held, table.held = table.held, []
        self._waiting -= table.size
        table.size = 0
        table.largest.clear()
        for batch, stretches in held:
            alive = [each for each in stretches if each[0] not in self._dropped]
            if not alive:
                continue
            for index, _, _ in alive:
                output = self._output(index, batch.layout)
                output.header = output.header or header
            self._cut(encode(batch, "csv", columns), alive)

    def _write_empty(self) -> None:
        """Outputs of the runs that got no record: a header where it is known, else nothing at all."""
        tables = list(self._tables.values())
        layout = self._layout
        header = b""
        if len(tables) == 1:
            header = (header_line(tables[0].layout, tuple(tables[0].columns)) + "\n").encode()
        elif layout is not None and self._staging.received and layout.header:
            header = _received_header(layout)
        for index in range(len(self._orders)):
            if index not in self._outputs and index not in self._dropped:
                self._output(index, layout).header = header

    # -- bytes ------------------------------------------------------------------------------------

    def _cut(self, texts: pl.Series, stretches: Sequence[_Stretch]) -> None:
        """Give each file its stretch of the encoded records: one buffer for all, cut by byte offsets."""
        joined = memoryview(texts.str.join("\n").cast(pl.Binary).item() + b"\n")
        if len(stretches) == 1 and stretches[0][1:] == (0, len(texts)):
            ends = {0: 0, len(texts): len(joined)}
        else:
            edges = sorted({edge for _, start, end in stretches for edge in (start, end) if edge})
            sizes = texts.str.len_bytes().cast(pl.Int64) + 1
            at = sizes.cum_sum().gather([edge - 1 for edge in edges])
            ends = dict(zip(edges, at.to_list(), strict=True)) | {0: 0}
        for index, start, end in stretches:
            self._outputs[index].add(joined[ends[start] : ends[end]], end - start)

    @contextlib.contextmanager
    def _faults(self) -> Iterator[None]:
        """Whatever goes wrong with the staging folder is the machine's trouble, not the file's."""
        try:
            yield
        except OSError as error:
            raise SystemFault(
                f"staging for sink `{self._staging.sink}` failed: {error}",
                help=_HELP.get(
                    error.errno or 0, "look at the sink's folder; work goes on by itself"
                ),
            ) from error


def _received(batch: Batch) -> tuple[pl.Series, list[_Stretch]]:
    """Each record's original text, once, however many records steps made of it; and the files' stretches."""
    frame = batch.frame
    same = pl.all_horizontal(pl.col("_file", "_record").eq(pl.col("_file", "_record").shift()))
    once = frame.select("_raw", "_file", "_record").filter(~same.fill_null(value=False))
    return once.get_column("_raw"), Batch(once, batch.layout, batch.file_tags).split_files()


def _received_header(layout: Layout) -> bytes:
    return (layout.header + ("\r\n" if layout.dialect.crlf else "\n")).encode()
