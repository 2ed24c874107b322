"""One attempt at a batch of runs: read, step, route, stage. Raises, or leaves books and staged outputs."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from polars.exceptions import PanicException

from filemill.engine.asking import Context
from filemill.engine.beginning import go_on, put_back, take_over
from filemill.engine.bisecting import ROUNDS, Bisector, as_seen, mask_of, without
from filemill.engine.chain import Chain, Node
from filemill.engine.columns import Columns
from filemill.engine.counting import Counts, StepBook, counts_of
from filemill.engine.guarding import Guards, rejoined
from filemill.engine.inputs import InputReader, InputWriter
from filemill.engine.observing import Observer
from filemill.engine.sending import Sends, Sinks
from filemill.engine.tolerating import RunBook
from filemill.engine.work import attempts_folder
from filemill.model.errors import PermanentError
from filemill.model.plan import Plan
from filemill.model.runs import RunOrder
from filemill.ports.step import Grain, Opened, Scope
from filemill.records.batch import Batch
from filemill.records.layout import Hints, Layout
from filemill.records.merging import align, merge
from filemill.records.plain import PlainBytes


class Parted(Exception):
    """Some of these files are held before they are read, and others are not: each has to go by itself."""


class Attempt:
    """One try at these orders. `at` is the step that has the word, for whoever catches an error."""

    def __init__(
        self,
        plan: Plan,
        chain: Chain,
        orders: Sequence[RunOrder],
        *,
        sinks: Sinks,
        hints: Hints,
        progress: Callable[[float], None],
        observer: Observer | None = None,
        begun: InputReader | None = None,
        outlet: InputWriter | None = None,
        reading: Callable[[bytes], Opened] = PlainBytes,
    ) -> None:
        """`begun` is what is kept of the only order, where it begins there; `outlet` takes what the last step gives.

        `reading` opens the files of readers that do not need them at their paths.
        """
        self.plan = plan
        self.chain = chain
        self.orders = list(orders)
        self.hints = hints
        self.progress = progress
        self.reading = reading
        self.at = chain.nodes[0].plan.id if chain.nodes else ""
        self.books = [StepBook(len(orders)) for _ in chain.all_nodes]
        self.runs = [RunBook() for _ in orders]
        self.records = [0] * len(orders)
        self.lines = 0
        """Of a chunk: how many lines it had."""
        self.types: dict[str, str] = {}
        """Of a chunk: the types its columns have."""
        self.branch_groups: dict[tuple[Node, ...], tuple[tuple[str, ...], str]] = {}
        self.sends = Sends(sinks, self.orders, hints, self._stand)
        self._steps: dict[int, Any] = {}
        self._contexts: dict[int, Context] = {}
        self._bisector = Bisector()
        self._folder: str | None = None
        self._guards = Guards()
        self.columns = Columns(chain, self.orders, hints, self.sends.expect)
        self._begun = begun
        self._outlet = outlet
        if begun is not None:
            take_over(self, begun.told)
        self.observer = observer
        if observer is not None:
            observer.begin(self)

    def _stand(self, where: str) -> None:
        self.at = where

    def run(self) -> None:
        """Everything up to, but not including, the stagers' `finish`."""
        place = 0
        if self._begun is not None:
            place = self.chain.place(self._begun.told.step)
            if self._begun.told.pieces is not None:
                go_on(self, self._begun, place)
                return
            put_back(self, self._begun)
        for number, node in enumerate(self.chain.nodes[place:], place):
            if node.reads:
                self._read(node, number + 1)
                return
            self._whole_files(node)
            held = [book.hold is not None for book in self.runs]
            if all(held):
                return
            if any(held):
                raise Parted

    def let_out(self, batches: Sequence[Batch], *, last: bool = False) -> None:
        """What came of a batch of the reader, or of what steps held back, is through: to sinks, and to the outlet."""
        if self._outlet is not None:
            self._outlet.take(batches, last=last)
        self.sends.flush()

    def cut(self) -> list[int]:
        """Where the chunks of the only order's file end, as its reader says."""
        ends: list[int] = self.open(self.chain.nodes[0]).cut()
        return ends

    def restore(self, states: Mapping[str, bytes]) -> None:
        """Have steps that see the whole file go on where they stood at the end of its last chunk."""
        for node in self.chain.all_nodes:
            if node.plan.id in states:
                self.open(node).restore(states[node.plan.id])

    def states(self) -> dict[str, bytes]:
        """By step: what `restore` needs, of those that see the whole file."""
        return {
            node.plan.id: self.open(node).state()
            for node in self.chain.all_nodes
            if node.scope() is Scope.FILE and node.carries()
        }

    def close(self) -> None:
        """End what is still running for these steps; called once, whatever happened."""
        for step in self._steps.values():
            abandon = getattr(step, "abandon", None)
            if abandon is not None:
                abandon()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def open(self, node: Node) -> Any:
        """The step itself, made when it is first asked for."""
        step = self._steps.get(node.index)
        if step is None:
            self.enter(node)
            context = self._contexts[node.index] = Context(self, node)
            step = self._steps[node.index] = node.component(context)
        return step

    # -- records ----------------------------------------------------------------------------------

    def enter(self, node: Node) -> None:
        """Note which step works now, and how long it may."""
        self.at = node.plan.id
        self.progress(node.plan.timeout)

    def _read(self, node: Node, after: int) -> None:
        nodes = self.chain.nodes
        reader = self.open(node)
        for later in self.chain.all_nodes[node.index + 1 :]:
            self.open(later)
        book = self.books[node.index]
        batches = reader.read()
        while True:
            self.enter(node)
            began = time.perf_counter_ns()
            batch = next(batches, None)
            book.took_ns += time.perf_counter_ns() - began
            if batch is None:
                break
            counts = counts_of(batch)
            for file, number in counts:
                book.given[file] += number
            more = self.observer is None or self.observer.read(node, batch)
            self.let_out(self.push(nodes, after, batch, counts))
            if not more:
                break
        self.let_out(self.drain(nodes, after), last=True)

    def note_range(self, order: int, lines: int, types: Mapping[str, str]) -> None:
        """Take in what the reader of a chunk knows at its end; a chunk is read alone."""
        del order
        self.lines, self.types = lines, dict(types)

    def note_layout(self, file: int, layout: Layout) -> None:
        """Take in how a file is laid out: from that follow the headers of its outputs."""
        self.columns.note_layout(file, layout)

    def learned(self) -> Hints:
        """What the next chunk of the file has to know: types of its columns, and columns that functions made."""
        return Hints(
            types={0: self.types} if self.types else {}, columns=self.columns.made_of_first()
        )

    def push(
        self, nodes: Sequence[Node], start: int, batch: Batch, counts: Counts | None = None
    ) -> list[Batch]:
        """Take a batch through the steps from `start` on; what comes out at the end, if anything."""
        for number in range(start, len(nodes)):
            if not len(batch):
                return []
            node = nodes[number]
            counts = counts if counts is not None else counts_of(batch)
            if node.transforms:
                made, counts = self._apply(node, batch, counts)
                if self.observer is not None:
                    self.observer.changed(node, batch, made)
                if len(made) > 1:
                    rest = [self.push(nodes, number + 1, part) for part in made]
                    return [part for parts in rest for part in parts]
                batch = made[0]
            else:
                passed = self._deliver(node, batch, counts)
                if passed is None:
                    return []
                batch = passed
        return [batch] if len(batch) else []

    def drain(self, nodes: Sequence[Node], start: int) -> list[Batch]:
        """After the last batch: what steps held back goes through the steps behind them; what comes out at the end."""
        out: list[Batch] = []
        for number in range(start, len(nodes)):
            node = nodes[number]
            if node.transforms:
                for rest in self._close_step(node):
                    out += self.push(nodes, number + 1, rest)
            for branch in node.branches:
                self._drain_branch(branch)
        return out

    def _drain_branch(self, nodes: tuple[Node, ...]) -> None:
        for number, node in enumerate(nodes):
            for rest in self._close_step(node) if node.transforms else ():
                for through in self.push(nodes, number + 1, rest):
                    sinks, group = self.branch_groups[nodes]
                    self.sends.send(sinks, through, group)

    def _close_step(self, node: Node) -> list[Batch]:
        step = self.open(node)
        self.enter(node)
        rest: Batch | None = step.close()
        if rest is None or not len(rest):
            return []
        for file, number in counts_of(rest):
            self.books[node.index].given[file] += number
        parts = self.columns.parts(node, rest) if node.dynamic else [rest]
        if self.observer is not None:
            self.observer.changed(node, None, parts)
        return parts

    def _apply(self, node: Node, batch: Batch, counts: Counts) -> tuple[list[Batch], Counts | None]:
        """What a step makes of a batch, in parts if its files have other columns then; the counts of a single part."""
        guard = node.plan.guard
        outside: Batch | None = None
        wide: tuple[str, ...] = ()
        if guard is not None:
            # With or without a record inside: later steps see the same columns in every batch.
            wide = tuple(dict.fromkeys((*batch.layout.columns, *node.after(batch.layout.columns))))
            inside = self._guards.inside(guard, batch)
            if inside is False:
                return [align(batch, wide)], counts
            if inside is not True:
                outside = batch.where(~inside)
                batch = batch.where(inside)
                counts = counts_of(batch)
        made, given = self._through(node, batch, counts)
        if node.dynamic:
            parts = self.columns.parts(node, made)
            if outside is not None:
                parts = rejoined(parts, outside)
        else:
            parts = [align(made, wide) if wide else made]
            if outside is not None:
                parts = [merge([align(outside, wide), *parts])]
        return parts, given if outside is None and len(parts) == 1 else None

    def _through(self, node: Node, batch: Batch, counts: Counts) -> tuple[Batch, Counts]:
        """What the step itself makes of the records that are its own, entered in its book."""
        step = self.open(node)
        book = self.books[node.index]
        self.enter(node)
        bad_before = sum(book.bad)
        for file, number in counts:
            book.taken[file] += number
        if node.dynamic:
            self.columns.note_given(node, [file for file, _ in counts], batch)
        began = time.perf_counter_ns()
        made = self._tried(node, step, batch)
        book.took_ns += time.perf_counter_ns() - began
        plain = getattr(step, "grain", Grain.BATCH) is Grain.BATCH
        same = plain and len(made) == len(batch) and sum(book.bad) == bad_before
        given = counts if same else counts_of(made)
        for file, number in given:
            book.given[file] += number
        return made, given

    def _tried(self, node: Node, step: Any, batch: Batch) -> Batch:
        """What the step makes of the batch; where it raises over single records, those become bad ones."""
        for _ in range(ROUNDS):
            try:
                made: Batch = step.apply(batch)
            except (Exception, PanicException) as error:
                if not self._bisector.divides(node, step, error):
                    raise
                batch = self._without_bad(node, step, batch, error)
            else:
                self._bisector.worked(node)
                return made
            if not len(batch):
                return batch
        return step.apply(batch)  # type: ignore[no-any-return]  # components are loaded by name

    def _without_bad(self, node: Node, step: Any, batch: Batch, error: BaseException) -> Batch:
        """The batch without the records that the step raised over, each reported."""
        context = self._contexts[node.index]
        batch = as_seen(batch)
        with context.silent():
            found = self._bisector.search(node, step, batch, error, step.apply)
        names = dict.fromkeys(each.name for each in found)
        for name in names:
            alike = [each for each in found if each.name == name]
            rows = mask_of([each.row for each in alike], len(batch))
            messages = [each.message() for each in alike]
            context.bad(batch, rows, name, messages, alike[0].traceback())
        return without(batch, [each.row for each in found])

    def _deliver(self, node: Node, batch: Batch, counts: Counts) -> Batch | None:
        guard = node.plan.guard
        mine, outside = batch, None
        if guard is not None:
            inside = self._guards.inside(guard, batch)
            if inside is False:
                return batch
            if inside is not True:
                mine, outside = batch.where(inside), batch.where(~inside)
                counts = counts_of(mine)
        step = self.open(node)
        book = self.books[node.index]
        before = [(file, book.filtered[file], book.added[file]) for file, _ in counts]
        for file, number in counts:
            book.taken[file] += number
            book.given[file] += number
        self.enter(node)
        began = time.perf_counter_ns()
        passed: Batch | None = step.deliver(mine)
        book.took_ns += time.perf_counter_ns() - began
        for file, filtered, added in before:
            book.given[file] += book.added[file] - added - (book.filtered[file] - filtered)
        if passed is mine:
            return batch
        if passed is None or outside is None:
            return outside if passed is None else passed
        return merge([outside, passed])

    # -- whole files ------------------------------------------------------------------------------

    def _whole_files(self, node: Node) -> None:
        step = self.open(node)
        book = self.books[node.index]
        guard = node.plan.guard
        for number, order in enumerate(self.orders):
            if guard is not None and not guard.matches(order.file.tags):
                continue
            self.enter(node)
            book.taken[number] += 1
            began = time.perf_counter_ns()
            if getattr(step, "grain", None) is Grain.FILE:
                self.orders[number] = step.change(number, self.work_folder(number))
            elif node.transforms:
                raise PermanentError(
                    f"step `{node.plan.id}` needs records, and no step has read the file",
                    help="put a reader such as `read_csv` before it",
                )
            else:
                step.deliver_file(order.run)
            book.took_ns += time.perf_counter_ns() - began
            book.given[number] += 1 - book.filtered[number]
            if self.observer is not None:
                self.observer.file(node, order, self.orders[number])

    def work_folder(self, number: int) -> str:
        """A new folder for what a step makes of one order's file; it goes with the attempt."""
        if self._folder is None:
            self._folder = attempts_folder(self.plan.scratch)
        folder = os.path.join(self._folder, f"{number}-{len(os.listdir(self._folder))}")
        os.mkdir(folder, 0o700)
        return folder
