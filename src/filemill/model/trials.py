"""Values about a trial: what one file would become in one pipeline, step by step, with nothing published."""

from __future__ import annotations

import msgspec

from filemill.model.runs import BadRecord, RunOrder, RunResult, StepCount


class TrialOrder(msgspec.Struct, frozen=True):
    """One file to be tried in one pipeline of the worker's plan."""

    order: RunOrder
    records: int = 5
    """Records to be shown after each step."""
    whole: bool = False
    """Also of a file larger than a chunk everything is read, not only its first chunk."""


class ShownRecord(msgspec.Struct, frozen=True):
    """One record as it stands after a step."""

    record: int
    """Number in its file, from 1; the same twice where a step made several of one."""
    line: int
    text: str
    """In the format it has there, without its line ending."""
    before: str | None = None
    """The same record before the step, where it is at hand."""
    tags: tuple[str, ...] = ()
    """Its own tags, those of its file not among them."""
    cut: bool = False
    """The text is longer than this."""


class ShownBad(msgspec.Struct, frozen=True):
    """One bad record with its bytes as received, as far as they are shown."""

    bad: BadRecord
    text: str = ""


class ShownBranch(msgspec.Struct, frozen=True):
    """Records that a route or `write` sent the same way."""

    when: str
    """The branch's tag expression, `else`, or empty where no branch says so (`write`, `mode: all`)."""
    sinks: tuple[str, ...]
    """Empty: dropped, unless the branch has steps."""
    steps: tuple[str, ...]
    records: int
    emitted: bool = False
    """They become a file of their own."""


class ShownFile(msgspec.Struct, frozen=True):
    """The file that a step gave on in place of the one it got."""

    name: bytes
    size: int
    head: str = ""
    """Its first characters; empty when it is no text."""


class ShownHead(msgspec.Struct, frozen=True):
    """How an output begins, decompressed where its name says that it is compressed."""

    text: str = ""
    """Empty when it is no text."""
    more: bool = False
    """There is more than this."""


class StepTrial(msgspec.Struct, frozen=True):
    """What one step did."""

    step: str
    uses: str
    inside: str = ""
    """The branch of a route it stands in, `vip of route`."""
    guard: str = ""
    begun: bool = False
    """A record or file came to it."""
    count: StepCount = StepCount("", 0, 0)
    tags: dict[str, int] = {}
    """Record tags it gave, with the number of records."""
    format: str = ""
    """`csv`, `jsonl` or `lines`: what the records are now."""
    header: str = ""
    """csv: the columns as an output would have them."""
    shown: tuple[ShownRecord, ...] = ()
    bad: tuple[ShownBad, ...] = ()
    branches: tuple[ShownBranch, ...] = ()
    file: ShownFile | None = None


class Trial(msgspec.Struct, frozen=True):
    """One file tried in one pipeline."""

    result: RunResult
    """As a worker reports it; what it staged is in the trial's own folder."""
    steps: tuple[StepTrial, ...] = ()
    heads: dict[str, ShownHead] = {}
    """By publication: how each output begins."""
    read_to: int | None = None
    """Bytes of the file that were looked at; None when that is all of it."""
