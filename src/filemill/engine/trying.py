"""One file through one pipeline in a worker, with an observer that keeps what stands after each step."""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import msgspec
import polars as pl

from filemill.durable import Durable, Failpoints
from filemill.engine.execution import Executor
from filemill.formats.encoding import encode, header_line
from filemill.model.plan import Plan, StepPlan
from filemill.model.runs import BadRecord, RunOrder, StagedOutput, StepCount
from filemill.model.trials import (
    ShownBad,
    ShownBranch,
    ShownFile,
    ShownHead,
    ShownRecord,
    StepTrial,
    Trial,
    TrialOrder,
)
from filemill.ports.registry import Registry
from filemill.records.batch import Batch
from filemill.records.layout import LINE
from filemill.records.text import TAG

if TYPE_CHECKING:
    from filemill.engine.attempt import Attempt
    from filemill.engine.chain import Node

SHOWN = 2_000
"""Characters of one record that are shown."""
_HEAD = 4_096
"""Bytes of a file that are shown."""
_OUTPUT_HEAD = 64 << 10
"""Bytes of an output that are shown."""
_CHARACTER = 4
"""Bytes of the longest character in UTF-8."""

Progress = Callable[[int, float], None]
"""Told, as each step begins, its number among all steps and how many seconds it may take."""


def try_file(trial: TrialOrder, plan: Plan, registry: Registry, progress: Progress) -> Trial:
    """What the file would become under this plan, whose sinks lead into a folder of the trial's own.

    Users' functions run, as they would in earnest. Raises nothing of the run's own.
    """
    order = trial.order
    pipeline = plan.pipeline(order.pipeline)
    numbers = {step.id: number for number, (step, _) in enumerate(every_step(pipeline.steps))}
    watch = _Watch(trial, plan.chunk_size)
    executor = Executor(plan, registry, Durable(Failpoints("trial"), sync=False), watch)
    try:
        (result,) = executor.execute(
            [order],
            lambda _orders: None,
            lambda allowed: progress(numbers.get(watch.at, 0), allowed),
        )
        broken = result.failure is not None and not result.steps
        heads = {each.publication: _head_of(each) for each in result.outputs}
        return Trial(result, watch.steps(pipeline.steps, broken=broken), heads, watch.read_to)
    finally:
        watch.close()


def every_step(steps: Sequence[StepPlan], inside: str = "") -> Iterator[tuple[StepPlan, str]]:
    """All steps, those of branches behind their route, each with the branch it stands in."""
    for step in steps:
        yield step, inside
        for route in step.routes:
            name = route.when.text if route.when else "else"
            yield from every_step(route.steps, f"{name} of {step.id}")


class _Watch:
    """The observer: per step the first records, the tags it gave, and where it sent them."""

    def __init__(self, trial: TrialOrder, chunk_size: int) -> None:
        self._trial = trial
        self._chunk_size = chunk_size
        self._attempt: Attempt | None = None
        self._descriptor = os.open(trial.order.file.path, os.O_RDONLY | os.O_CLOEXEC)
        self._seen: dict[str, _Seen] = {}
        self.read_to: int | None = None

    @property
    def at(self) -> str:
        """The step that has the word."""
        return self._attempt.at if self._attempt is not None else ""

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    # -- what the attempt tells -------------------------------------------------------------------

    def begin(self, attempt: Attempt) -> None:
        self._attempt = attempt
        self._seen = {}
        self.read_to = None

    def read(self, node: Node, batch: Batch) -> bool:
        self._of(node).add(None, batch, self._trial.records)
        assert self._attempt is not None  # noqa: S101 -- `begin` came first
        size = self._attempt.orders[0].file.size
        if self._trial.whole or size <= self._chunk_size or not len(batch):
            return True
        last = batch.frame.tail(1).select(pl.col("_start") + pl.col("_raw").str.len_bytes() + 1)
        end = int(last.item())
        if end >= size:
            return True
        self.read_to = end
        return False

    def changed(self, node: Node, before: Batch | None, after: Sequence[Batch]) -> None:
        seen = self._of(node)
        for batch in after:
            seen.add(before, batch, self._trial.records)
        for tag, number in tags_given(before, after).items():
            seen.tags[tag] = seen.tags.get(tag, 0) + number

    def branched(self, node: Node, number: int, batch: Batch) -> None:
        route = node.plan.routes[number]
        when = route.when.text if route.when else "else"
        steps = tuple(step.id for step in route.steps)
        self._of(node).send(when, route.sinks, steps, len(batch))

    def sent(self, node: Node, sinks: Sequence[str], batch: Batch) -> None:
        emitted = node.hidden is not None
        self._of(node).send("", () if emitted else tuple(sinks), (), len(batch), emitted=emitted)

    def file(self, node: Node, before: RunOrder, after: RunOrder) -> None:
        seen = self._of(node)
        seen.begun = True
        if after.file.path != before.file.path:
            # Opened now: the attempt removes it in the end, and bad records are shown from it.
            os.close(self._descriptor)
            self._descriptor = os.open(after.file.path, os.O_RDONLY | os.O_CLOEXEC)
            head = os.pread(self._descriptor, _HEAD, 0)
            seen.file = ShownFile(after.file.relative, after.file.size, _text_of(head))

    # -- what it makes of it ----------------------------------------------------------------------

    def steps(self, plans: Sequence[StepPlan], *, broken: bool) -> tuple[StepTrial, ...]:
        """Every step of the pipeline, in reading order, with what was seen of it.

        `broken`: a step raised, so books are open, and what did not come out of it was not filtered.
        """
        attempt = self._attempt
        if attempt is None:  # the pipeline did not even compile
            return tuple(
                StepTrial(plan.id, plan.uses, inside, plan.guard.text if plan.guard else "")
                for plan, inside in every_step(plans)
            )
        bad = attempt.runs[0].bad
        nodes = {node.plan.id: node for node in attempt.chain.all_nodes}
        return tuple(
            self._step(
                nodes[plan.id],
                inside,
                [each for each in bad if each.step == plan.id],
                broken=broken,
            )
            for plan, inside in every_step(plans)
        )

    def _step(
        self, node: Node, inside: str, bad: Sequence[BadRecord], *, broken: bool
    ) -> StepTrial:
        assert self._attempt is not None  # noqa: S101 -- asked before
        plan = node.plan
        seen = self._of(node)
        book = self._attempt.books[node.index]
        count: StepCount = book.counts(plan.id)[0]
        if broken:
            count = msgspec.structs.replace(count, added=book.added[0], filtered=book.filtered[0])
        first = sorted(bad, key=lambda each: each.record)[: self._trial.records]
        return StepTrial(
            step=plan.id,
            uses=plan.uses,
            inside=inside,
            guard=plan.guard.text if plan.guard else "",
            begun=seen.begun or bool(count.taken or count.given or count.bad),
            count=count,
            tags=seen.tags,
            format=seen.format,
            header=seen.header,
            shown=tuple(seen.shown),
            bad=tuple(ShownBad(each, self._bytes(each)) for each in first),
            branches=tuple(
                ShownBranch(when, sinks, steps, number, emitted)
                for (when, sinks, steps, emitted), number in seen.ways.items()
            ),
            file=seen.file,
        )

    def _bytes(self, bad: BadRecord) -> str:
        length = max(min(bad.end - bad.start, SHOWN), 0)
        data = os.pread(self._descriptor, length, bad.start)
        return data.decode("utf-8", "backslashreplace")

    def _of(self, node: Node) -> _Seen:
        return self._seen.setdefault(node.plan.id, _Seen())


class _Seen:
    """What was seen of one step."""

    def __init__(self) -> None:
        self.begun = False
        self.tags: dict[str, int] = {}
        self.format = ""
        self.header = ""
        self.shown: list[ShownRecord] = []
        self.ways: dict[tuple[str, tuple[str, ...], tuple[str, ...], bool], int] = {}
        self.file: ShownFile | None = None

    def send(
        self,
        when: str,
        sinks: tuple[str, ...],
        steps: tuple[str, ...],
        records: int,
        *,
        emitted: bool = False,
    ) -> None:
        """Count records that went one way."""
        self.begun = True
        way = (when, sinks, steps, emitted)
        self.ways[way] = self.ways.get(way, 0) + records

    def add(self, before: Batch | None, batch: Batch, wanted: int) -> None:
        """Keep the first records of a batch, as long as some are wanted."""
        self.begun = True
        if not self.header and batch.layout.format == "csv":
            self.header = header_line(batch.layout).rstrip("\r")
        room = wanted - len(self.shown)
        if room <= 0 or not len(batch):
            return
        head = _first(batch, room)
        layout = batch.layout
        plain_lines = layout.format == "lines" and set(layout.columns) <= {LINE}
        self.format = "lines" if plain_lines else "csv" if layout.format == "csv" else "jsonl"
        numbers = head.frame.get_column("_record").to_list()
        lines = head.frame.get_column("_line").to_list()
        then = _texts_before(before, numbers, self.format) if before is not None else {}
        own = [name for name in head.frame.columns if name.startswith(TAG)]
        flags = head.frame.select(own).rows() if own else [()] * len(head)
        for number, line, text, tags in zip(
            numbers, lines, encode(head, self.format), flags, strict=True
        ):
            shown, cut = _short(text)
            self.shown.append(
                ShownRecord(
                    record=number,
                    line=line,
                    text=shown,
                    before=then.get(number),
                    tags=tuple(
                        name.removeprefix(TAG) for name, on in zip(own, tags, strict=True) if on
                    ),
                    cut=cut,
                )
            )


def _head_of(output: StagedOutput) -> ShownHead:
    """How an output begins; one that does not hold what its name says is shown as it is."""
    opened = {b".gz": _gzip, b".zst": _zstd}.get(os.path.splitext(output.name)[1], _as_it_is)
    try:
        head = opened(output.staged)
    except (OSError, EOFError, ValueError, zlib.error):
        head = _as_it_is(output.staged)
    return ShownHead(_text_of(head[:_OUTPUT_HEAD]), len(head) > _OUTPUT_HEAD)


def _as_it_is(path: bytes) -> bytes:
    with open(path, "rb") as staged:
        return staged.read(_OUTPUT_HEAD + 1)


def _gzip(path: bytes) -> bytes:
    with gzip.open(path) as staged:
        return staged.read(_OUTPUT_HEAD + 1)


def _zstd(path: bytes) -> bytes:
    from backports import zstd  # noqa: PLC0415 -- a library for one kind of output

    try:
        with zstd.open(path) as staged:
            return staged.read(_OUTPUT_HEAD + 1)
    except zstd.ZstdError as error:
        raise ValueError(str(error)) from error


def _text_of(head: bytes) -> str:
    """The bytes as text; empty when they are none, a character cut at the end aside."""
    if b"\0" in head:
        return ""
    try:
        return head.decode("utf-8")
    except UnicodeDecodeError as error:
        if len(head) - error.start < _CHARACTER:
            return head[: error.start].decode("utf-8")
        return ""


def _texts_before(before: Batch, numbers: Sequence[int], form: str) -> dict[int, str]:
    """These records as they were; none of them where they were of another format."""
    if form == "lines" and before.layout.format != "lines":
        return {}
    rows = before.where(before.frame.get_column("_record").is_in(list(numbers)))
    found = rows.frame.get_column("_record").to_list()
    texts = encode(rows, form)
    return {number: _short(text)[0] for number, text in zip(found, texts, strict=True)}


def _first(batch: Batch, number: int) -> Batch:
    return Batch(batch.frame.head(number), batch.layout, batch.file_tags)


def _short(text: str) -> tuple[str, bool]:
    text = text.rstrip("\r")
    return text[:SHOWN], len(text) > SHOWN


def tags_given(before: Batch | None, after: Sequence[Batch]) -> dict[str, int]:
    """Tags that more records have after a step than before, and how many more."""
    had = _tag_counts([before] if before is not None else [])
    return {
        tag: number - had.get(tag, 0)
        for tag, number in _tag_counts(after).items()
        if number > had.get(tag, 0)
    }


def _tag_counts(batches: Sequence[Batch]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for batch in batches:
        for name in batch.frame.columns:
            if name.startswith(TAG):
                tag = name.removeprefix(TAG)
                counts[tag] = counts.get(tag, 0) + int(batch.frame.get_column(name).sum() or 0)
    return counts
