"""The folder sink's half in a worker: records and whole files become synced files nobody can see yet.

Every output is written below `<root>/.filemill/` as `<publication>.<fence>` (see `folder` for what becomes of it
there). What is particular here:

- *Small files travel together.* A batch of many files is encoded in one go and cut into files by byte offsets; each
  output costs one open, one write, one fstat and one close, and one round of syncs serves the group.
- *A header of one's own.* What a file's output looks like must not depend on the files it travelled with, nor on how
  many batches it came in. `expect` says which columns a csv output has; where only reading tells them (NDJSON), it is
  the union over that file's records, in order of first appearance, and the records wait until `finish` for it.
- *Big files stream.* Beyond `SPILL` bytes an output is begun. If it then turns out to have columns that the header
  lacks, `Restart` asks for the files again with the header known from the start; nothing is published yet.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import polars as pl

from filemill.durable import Durable
from filemill.encryption.age import SUFFIX
from filemill.formats.encoding import encode
from filemill.model.errors import PermanentError, SystemFault, TransientError
from filemill.model.runs import RunOrder, StagedOutput
from filemill.records.batch import Batch
from filemill.records.layout import PLACELESS, Hints, Layout, Restart
from filemill.records.text import standing
from filemill.sinks.compressing import Coder
from filemill.sinks.cutting import cut
from filemill.sinks.faults import staging_faults
from filemill.sinks.formulas import escape
from filemill.sinks.framing import (
    CSV,
    PARQUET,
    RAW,
    RECEIVED,
    around,
    around_nothing,
    received,
    written_as,
)
from filemill.sinks.naming import SUFFIXES
from filemill.sinks.parts import Parts
from filemill.sinks.sealing import scratch
from filemill.sinks.sheets import Sheet, Stretch, closed_up, header_text
from filemill.sinks.staged_file import StagedFile
from filemill.sinks.staging_settings import Staging
from filemill.sinks.tables import Table

SPILL = 4 << 20
"""Bytes of one file's records held back for its header; beyond, they stream to the staged file."""
HELD = 64 << 20
"""Bytes of all files' records held back."""


class FolderStager:
    """Stages the outputs of one batch of runs for one folder sink. See `ports.sink.Stager`.

    `headers` is what a `Restart` of these runs found out, by order: the columns a csv header must begin with.
    """

    def __init__(
        self,
        staging: Staging,
        durable: Durable,
        orders: Sequence[RunOrder],
        headers: Mapping[int, tuple[str, ...]] = MappingProxyType({}),
        parts: Parts | None = None,
    ) -> None:
        self._staging = staging
        self._durable = durable
        self._orders = orders
        self._hints = headers
        self._parts = parts or Parts()
        self._outputs: dict[int, StagedFile] = {}
        self._sheets: dict[int, Sheet] = {}
        self._tables: dict[int, Table] = {}
        self._dropped: set[int] = set()
        self._waiting = 0
        self._in_parts = any(order.chunk is not None for order in orders)

    def expect(self, order: int, layout: Layout, *, more: bool) -> None:
        """Say which columns a run's csv output has (those of `layout`), with records and without.

        With `more` the columns that its records have come first, in order of first appearance.

        Raises:
            Restart: a header that records were encoded under lacks some.
        """
        sheet = self._sheet(order, layout)
        sheet.layout, sheet.said, sheet.more = layout, layout.columns, more
        self._check(order, sheet)

    def write(self, batch: Batch) -> None:
        """Append the batch's records to each of its runs' outputs.

        Raises:
            Restart: a header that records were encoded under lacks columns of this batch.
            PermanentError: the sink takes whole files only, or a value cannot be written in its format.
            SystemFault: the disk is full or failing.
        """
        staging = self._staging
        if staging.format == RAW:
            raise PermanentError(
                f"sink `{staging.sink}` takes whole files only (format: raw)",
                help="route the file itself, or set another format",
            )
        if not len(batch):
            return
        layout = batch.layout
        wanted = self._format(layout)
        if wanted == CSV:
            self._write_csv(batch, self._alive(batch.split_files()))
            return
        if wanted == PARQUET:
            self._tabulate(batch, self._alive(batch.split_files()))
            return
        if wanted == RECEIVED and layout.read_as in PLACELESS:
            raise PermanentError(
                f"sink `{staging.sink}` wants records as received, those of {layout.read_as} have no text of their own",
                help="replace `as: received` by `format: parquet` or `format: jsonl`",
            )
        if wanted == RECEIVED:
            texts, stretches = received(batch)
        else:
            texts, stretches = encode(batch, wanted), batch.split_files()
        stretches = self._alive(stretches)
        header, footer = around(wanted, layout)
        for index, _, _ in stretches:
            output = self._output(index, layout)
            output.header, output.footer = header, footer
        cut(texts, stretches, self._outputs, in_array=footer != b"")
        self._spill()

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
            with staging_faults(self._staging.sink):
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
        table = self._tables.pop(index, None)
        if table is not None:
            table.discard(self._durable)

    def finish(self) -> dict[str, list[StagedOutput]]:
        """Write, sync as one group, and answer with each run's outputs.

        Raises:
            SystemFault: the disk is full or a sync failed: nothing of the group counts, and nothing is left of it.
            PermanentError: a value cannot be written in the sink's format.
        """
        for index, sheet in self._sheets.items():
            self._release(index, sheet)
        if self._staging.write_empty:
            self._write_empty()
        staged: dict[str, list[StagedOutput]] = {}
        try:
            with staging_faults(self._staging.sink):
                self._fill_tables()
                for index in sorted(self._outputs):
                    output = self._outputs[index].close(
                        self._durable, self._staging.collision, self._staging.permissions
                    )
                    staged[self._orders[index].run] = [output]
                if staged and not self._in_parts:
                    paths = [output.staged for (output,) in staged.values()]
                    self._durable.sync_group(paths, [self._staging.folder])
        except SystemFault:
            self.abort()
            raise
        return staged

    def release(self) -> None:
        """Let go of parts in memory, which the server has taken over."""
        for output in self._outputs.values():
            output.release()

    def abort(self) -> None:
        """Remove everything staged, also after `finish` (when another sink of the run failed). Never raises."""
        outputs, self._outputs = self._outputs, {}
        tables, self._tables = self._tables, {}
        self._sheets = {}
        for output in outputs.values():
            output.discard(self._durable)
        for table in tables.values():
            table.discard(self._durable)

    # -- which records, in which format -----------------------------------------------------------

    def _index(self, run: str) -> int:
        return next(i for i, order in enumerate(self._orders) if order.run == run)

    def _alive(self, stretches: list[Stretch]) -> list[Stretch]:
        return [each for each in stretches if each[0] not in self._dropped]

    def _format(self, layout: Layout) -> str:
        if self._staging.received:
            return RECEIVED
        return written_as(layout, self._staging.format)

    def _output(self, index: int, layout: Layout | None) -> StagedFile:
        """The run's output; the first call decides its name."""
        output = self._outputs.get(index)
        if output is None:
            staging = self._staging
            suffix = None
            if layout is not None and not staging.received:
                wanted = self._format(layout)
                suffix = SUFFIXES[wanted] if wanted != layout.read_as else None
            compress = staging.compress if staging.format != PARQUET else None
            packed = b"." + compress.encode() if compress else b""
            sealed = packed + SUFFIX.encode() if staging.said else packed
            order = self._orders[index]
            name = staging.template.render(order.file, order.pipeline, suffix, sealed)
            coder = Coder(compress) if compress else None
            if layout is None and order.file.name.endswith(packed):
                coder = None  # a whole file that says it is compressed already
            output = self._outputs[index] = StagedFile(
                staging.sink,
                staging.folder,
                order,
                name,
                self._parts,
                coder,
                staging.encrypt,
                staging.keeper,
            )
        elif output.whole:
            raise PermanentError(
                f"sink `{self._staging.sink}` was given the whole file, and now its records too",
                help="use two sinks: a run has one output per sink",
            )
        return output

    # -- csv: records under their file's header ---------------------------------------------------

    def _sheet(self, index: int, layout: Layout) -> Sheet:
        sheet = self._sheets.get(index)
        if sheet is None:
            sheet = self._sheets[index] = Sheet(layout, self._hints.get(index, ()))
        return sheet

    def _check(self, index: int, sheet: Sheet) -> None:
        if sheet.begun is not None and not set(sheet.header()) <= set(sheet.begun):
            names = tuple(sheet.columns) if sheet.more else sheet.header()
            raise Restart(Hints(headers={self._staging.sink: {index: names}}))

    def _write_csv(self, batch: Batch, stretches: list[Stretch]) -> None:
        """Encode the records whose header is settled, all files of one header in one go; hold the others."""
        columns = set(batch.layout.columns) if batch.layout.format != "jsonl" else set()
        settled: dict[tuple[str, ...], list[Stretch]] = {}
        for stretch in stretches:
            index = stretch[0]
            sheet = self._sheet(index, batch.layout)
            header = sheet.header()
            if sheet.held or sheet.more or not columns <= set(header):
                self._hold(index, sheet, batch, stretch)
            else:
                sheet.begun = header
                settled.setdefault(header, []).append(stretch)
        for header, some in settled.items():
            self._encode(batch, some, header)
        self._spill()

    def _encode(self, batch: Batch, stretches: list[Stretch], columns: tuple[str, ...]) -> None:
        if sum(stop - start for _, start, stop in stretches) < len(batch):
            frame = pl.concat([batch.frame[start:stop] for _, start, stop in stretches])
            batch = Batch(frame, batch.layout, batch.file_tags)
            stretches = closed_up(stretches)
        for index, _, _ in stretches:
            output = self._output(index, batch.layout)
            output.header = output.header or self._header(self._sheets[index].layout, columns)
        texts = encode(batch, CSV, columns)
        if not self._staging.formulas:
            texts = escape(texts, batch.layout.dialect)
        cut(texts, stretches, self._outputs)

    def _header(self, layout: Layout, columns: tuple[str, ...]) -> bytes:
        return header_text(layout, columns, escaped=not self._staging.formulas)

    def _hold(self, index: int, sheet: Sheet, batch: Batch, stretch: Stretch) -> None:
        """Keep one file's records until its header is known, or as long as memory allows."""
        _, start, stop = stretch
        if stop - start < len(batch):
            batch = Batch(batch.frame[start:stop], batch.layout, batch.file_tags)
        names = batch.keys()
        if not set(names) <= set(sheet.columns):
            sheet.columns |= dict.fromkeys(names)
            self._check(index, sheet)
        self._output(index, batch.layout)
        size = int(standing(batch.frame).str.len_bytes().sum())
        sheet.held.append(batch)
        sheet.size += size
        self._waiting += size
        if self._waiting > HELD:
            for order, each in self._sheets.items():
                self._release(order, each)
        elif sheet.size > SPILL or sheet.begun is not None:
            self._release(index, sheet)

    def _release(self, index: int, sheet: Sheet) -> None:
        """Encode what waited under the header as it is now known."""
        held, sheet.held = sheet.held, []
        self._waiting -= sheet.size
        sheet.size = 0
        if not held or index in self._dropped:
            return
        if sheet.begun is None:
            sheet.begun = sheet.header()
        for batch in held:
            self._encode(batch, [(index, 0, len(batch))], sheet.begun)

    def _spill(self) -> None:
        """Write to disk what is too much to hold."""
        total = sum(output.waiting for output in self._outputs.values())
        if total <= SPILL:
            return
        with staging_faults(self._staging.sink):
            for output in self._outputs.values():
                if output.waiting > SPILL or (total > HELD and output.waiting):
                    output.flush(self._durable)

    def _write_empty(self) -> None:
        """Outputs of the runs that got no record: a header where it is known, else nothing at all."""
        for index in range(len(self._orders)):
            if index in self._outputs or index in self._dropped:
                continue
            sheet = self._sheets.get(index)
            layout = sheet.layout if sheet is not None else None
            output = self._output(index, layout)
            if sheet is None or layout is None:
                continue
            wanted = self._format(layout)
            if wanted == CSV:
                if columns := sheet.header():
                    output.header = self._header(layout, columns)
            elif wanted == PARQUET:
                self._tables[index] = Table(self._beside(output))
            else:
                output.header = around_nothing(wanted, layout)

    # -- parquet: columns wait for the types that all records of a file agree on ------------------

    def _tabulate(self, batch: Batch, stretches: list[Stretch]) -> None:
        """Give each file its stretch of the batch's columns."""
        for index, start, stop in stretches:
            output = self._output(index, batch.layout)
            part = batch
            if stop - start < len(batch):
                part = Batch(batch.frame[start:stop], batch.layout, batch.file_tags)
            table = self._tables.setdefault(index, Table(self._beside(output)))
            with staging_faults(self._staging.sink):
                table.add(part, self._durable)
            output.records += stop - start

    def _beside(self, output: StagedFile) -> bytes:
        """Where records wait for their types: by the staged file, or where nothing has to be encrypted."""
        return output.path if self._staging.sealer is None else scratch(output.path)

    def _fill_tables(self) -> None:
        for index, table in self._tables.items():
            sheet = self._sheets.get(index)
            said, more = (sheet.said, sheet.more) if sheet is not None else ((), True)
            names = (*table.columns, *said) if more else (*said, *table.columns)
            codec = self._staging.compress or "zst"
            table.fill(self._outputs[index], tuple(dict.fromkeys(names)), codec, self._durable)
