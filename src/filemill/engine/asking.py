"""What an opened step asks of the attempt it is part of, and tells it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec
import polars as pl

from filemill.engine.chain import Node
from filemill.engine.counting import counts_of
from filemill.engine.tolerating import DETAILED
from filemill.model.plan import StepPlan
from filemill.model.runs import BadRecord, Hold, RunOrder
from filemill.ports.step import Opened
from filemill.records.batch import Batch
from filemill.records.expressions import Expression
from filemill.records.layout import PLACELESS, Layout

if TYPE_CHECKING:
    from filemill.engine.attempt import Attempt


class Context:
    """What one opened step may ask; see `ports.step.StepContext`."""

    def __init__(self, attempt: Attempt, node: Node) -> None:
        self.plan: StepPlan = node.plan
        self.options = node.options
        self.orders: Sequence[RunOrder] = attempt.orders
        self.chunk_size = attempt.plan.chunk_size
        self.max_record = attempt.plan.max_record
        self.named = attempt.chain.named
        self.required = attempt.chain.required
        self.needs = attempt.chain.needs
        self.types = attempt.chain.types
        self.hints = attempt.hints
        self._attempt = attempt
        self._node = node
        self._book = attempt.books[node.index]
        self._silent = False

    @contextmanager
    def silent(self) -> Iterator[None]:
        """Take no notice of what the step reports and counts meanwhile: it is only being tried."""
        self._silent = True
        try:
            yield
        finally:
            self._silent = False

    def open(self, path: bytes) -> Opened:
        """For a reader that says so: the plain bytes of an order's file."""
        return self._attempt.reading(path)

    def expression(self, sql: str) -> Expression:
        """Compile a row-wise SQL expression once."""
        return self._attempt.chain.expression(sql)

    def bad(
        self,
        batch: Batch,
        rows: Any,
        error: str,
        messages: Sequence[str] | str,
        traceback: str = "",
    ) -> Batch:
        """Report these rows as bad records of this step; answers with the others."""
        if self._silent:
            return batch.where(~rows)
        places = batch.frame.filter(rows).select(
            "_file",
            "_record",
            "_line",
            "_start",
            (pl.col("_start") + pl.col("_raw").str.strip_suffix("\r").str.len_bytes()).alias("end"),
        )
        placeless = batch.layout.read_as in PLACELESS
        for at, (file, record, line, start, end) in enumerate(places.iter_rows()):
            message = messages if isinstance(messages, str) else messages[at]
            behind = start if placeless else end
            bad = BadRecord(self.plan.id, record, line, start, behind, error, message)
            self.report_bad(file, [bad])
            if traceback:
                self._attempt.runs[file].traceback.setdefault(self.plan.id, traceback)
        return batch.where(~rows)

    def report_bad(self, order: int, records: Sequence[BadRecord]) -> None:
        """For a reader: bad records of one file, by order index."""
        book = self._attempt.runs[order]
        book.bad.extend(records[: max(0, DETAILED - len(book.bad))])
        book.bad_total += len(records)
        step = self.plan.id
        book.bad_by_step[step] = book.bad_by_step.get(step, 0) + len(records)
        self._book.bad[order] += len(records)

    def count(self, *, filtered: int = 0, added: int = 0, file: int | None = None) -> None:
        """Count records this step dropped on purpose or added; without `file`, the books tell by themselves."""
        if file is not None and not self._silent:
            self._book.filtered[file] += filtered
            self._book.added[file] += added

    def count_records(self, order: int, number: int) -> None:
        """For a reader: records found in one file, good or bad."""
        self._book.taken[order] += number
        self._attempt.records[order] += number

    def count_blank(self, order: int, number: int) -> None:
        """For a reader: blank lines skipped in one file."""
        self._attempt.runs[order].blank += number

    def note_layout(self, order: int, layout: Layout) -> None:
        """For a reader: how one file is laid out; before its records, and also if it has none."""
        self._attempt.note_layout(order, layout)

    def note_range(self, order: int, lines: int, types: Mapping[str, str]) -> None:
        """For a reader at the end of a chunk: how many lines it had, and the types its columns have."""
        self._attempt.note_range(order, lines, types)

    def hold(self, order: int, message: str, *, choices: Sequence[str] = (), line: int = 0) -> None:
        """Have a run wait for a person; the first step that asks for it has the word."""
        book = self._attempt.runs[order]
        if book.hold is None:
            book.hold = Hold(self.plan.id, message, tuple(choices), line)

    def answer(self, order: int) -> str | None:
        """What a person answered who let this run pass the step; None: nobody has yet."""
        return self._attempt.orders[order].released.get(self.plan.id)

    def tag_file(self, order: int, tag: str) -> None:
        """Give the run's file a tag from here on."""
        mine = self._attempt.orders[order]
        tags = tuple(dict.fromkeys((*mine.file.tags, tag)))
        file = msgspec.structs.replace(mine.file, tags=tags)
        self._attempt.orders[order] = msgspec.structs.replace(mine, file=file)

    def drop(self, batch: Batch) -> None:
        """Count these records as dropped on purpose."""
        if self._attempt.observer is not None:
            self._attempt.observer.sent(self._node, (), batch)
        for file, number in counts_of(batch):
            self._book.filtered[file] += number

    def branch(self, number: int, batch: Batch) -> None:
        """Hand records to one of a route's branches: through its steps to its sinks."""
        route = self.plan.routes[number]
        group = f"{self.plan.id}:{number}" if route.all_matches else self.plan.id
        nodes = self._node.branches[number]
        self._attempt.branch_groups[nodes] = (route.sinks, group)
        if self._attempt.observer is not None:
            self._attempt.observer.branched(self._node, number, batch)
        for through in self._attempt.push(nodes, 0, batch):
            self._attempt.sends.send(route.sinks, through, group)

    def send(self, sinks: Sequence[str], batch: Batch) -> None:
        """Hand records to sinks, in order."""
        if self._attempt.observer is not None:
            self._attempt.observer.sent(self._node, sinks, batch)
        self._attempt.sends.send(sinks, batch, self.plan.id)

    def send_file(self, sinks: Sequence[str], run: str) -> None:
        """Hand a run's whole file to sinks."""
        order = next(order for order in self.orders if order.run == run)
        self._attempt.sends.send_file(sinks, order)

    def emit(self, order: int, path: bytes, key: bytes, name: bytes, tags: Sequence[str]) -> None:
        """Emit the file at `path`, which goes from there, as a child called `name`."""
        key = self.plan.id.encode() + b"\0" + key
        self._attempt.sends.children.add(order, path, key, name, tags)

    def emit_through(self) -> Sequence[str]:
        """The hidden sink behind this step: what it is sent becomes a child."""
        sinks: tuple[str, ...] = self._node.refers.sinks
        return sinks
