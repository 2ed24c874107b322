"""The whole document as pydantic models: what each key takes, its default and its one-line description.

Validation, the JSON Schema and the configuration reference all read these, so none can differ. A value that only
another part of the document can judge (a sink's name, a tag) is text here and judged by `checking`.
"""

from __future__ import annotations

import re
import zoneinfo
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    model_validator,
)

from filemill.config.encryption import Encryption
from filemill.config.web import Web
from filemill.model.ordering import KEYS, OrderKey
from filemill.model.plan import Tolerance
from filemill.ports.units import Duration, LocalPath, Size, format_size, parse_size

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}\Z")
"""Names of sources, sinks, pipelines and steps: they stand in paths, log lines and metrics."""
_TOLERANCE = re.compile(r"(\d+)\Z|(\d+(?:\.\d+)?)\s*%\Z")
_SIZE_TEST = re.compile(r"(>=|<=|>|<)\s*(.+)\Z")


def parse_tolerance(text: str) -> Tolerance:
    """`0`, `100` (records) or `1%` (of a file's records).

    Raises:
        ValueError: it is neither.
    """
    match = _TOLERANCE.match(text.strip())
    if match is None or (match[2] and float(match[2]) > 100):
        raise ValueError(
            f"`{text}` is not a tolerance: write a count such as 100, or a share such as 1%"
        )
    return Tolerance(int(match[1])) if match[1] else Tolerance(0, float(match[2]) / 100)


def parse_size_test(text: str) -> tuple[int | None, int | None]:
    """(least, most) bytes of `>1MB`, `>= 1MB`, `<1MB`, `<= 1MB` or `1MB..10MB`; both ends included.

    Raises:
        ValueError: it is none of these.
    """
    stripped = text.strip()
    if match := _SIZE_TEST.match(stripped):
        size = parse_size(match[2])
        ends: dict[str, tuple[int | None, int | None]] = {
            ">": (size + 1, None),
            ">=": (size, None),
            "<": (None, size - 1),
            "<=": (None, size),
        }
        return ends[match[1]]
    low, dots, high = stripped.partition("..")
    if not dots:
        raise ValueError(f'`{text}` is not a range of sizes: write ">1MB", "<=1MB" or 1MB..10MB')
    least, most = parse_size(low) if low else None, parse_size(high) if high else None
    if least is not None and most is not None and least > most:
        raise ValueError(f"`{text}` is an empty range: write the smaller size first")
    return least, most


def _one_or_many(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _checked_tolerance(text: str) -> str:
    parse_tolerance(text)
    return text


def _checked_key(text: str) -> str:
    OrderKey(text)
    return text


def _checked_size(text: str) -> str:
    parse_size_test(text)
    return text


def _checked_memory(size: int) -> int:
    if 0 < size < LEAST_MEMORY:
        raise ValueError(
            f"{format_size(size)} is too little for a worker: write at least {format_size(LEAST_MEMORY)}, "
            "or 0 for no limit"
        )
    return size


def _checked_zone(text: str) -> str:
    try:
        zoneinfo.ZoneInfo(text)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"no time zone `{text}`: write one such as Europe/Berlin or UTC") from None
    return text


def _checked_name(text: str) -> str:
    if not NAME.match(text):
        raise ValueError(f"`{text}` is not a name: use letters, digits and `_.-`, at most 64")
    return text


_TEXT_OR_LIST: dict[str, Any] = {
    "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]
}
Texts = Annotated[list[str], BeforeValidator(_one_or_many), WithJsonSchema(_TEXT_OR_LIST)]
"""One text, or a list of them."""
Kept = Duration | Literal["forever"]
LEAST_MEMORY = 256 << 20
"""A worker with Polars holds some 110 MB before it has seen a file."""
TagTest = Annotated[
    str, Field(description="Tags joined by `and`, `or`, `not` and parentheses; `*` at a tag's end.")
]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Retry(_Strict):
    """How transient failures are tried again: full-jitter exponential backoff."""

    attempts: int = Field(5, ge=1, le=1000, description="Tries in all, the first one included.")
    min: Duration = Field(2.0, description="The first delay is up to this long.")
    max: Duration = Field(300.0, description="No delay is longer than this.")
    within: Duration | None = Field(
        None,
        gt=0,
        description="Give up when the next try would come later than that after the first failure. "
        "Where `attempts` is not set beside it, only this ends them.",
    )


class Defaults(_Strict):
    """What pipelines start from."""

    retry: Retry = Field(
        default_factory=lambda: Retry.model_validate({}), description="Retry of every pipeline."
    )


class Queue(_Strict):
    """How much may wait before no more files are taken; they stay in their sources. No limit unless set."""

    files: int | None = Field(None, ge=1, description="Files taken and not at an end.")
    bytes: Size | None = Field(None, ge=1, description="Their sizes together.")


class Retention(_Strict):
    """How long what is at an end is kept; `filemill gc` applies it at once."""

    content: Kept = Field(
        30 * 86400.0, description="Bytes of files that are done, cancelled or discarded."
    )
    ledger: Kept = Field(
        90 * 86400.0, description="What is known about them, and what was counted."
    )
    dead: Kept = Field(
        "forever",
        description="What waits for a person (dead, held, rejected, quarantined), with its bytes.",
    )
    audit: Kept = Field(365 * 86400.0, description="What people did.")


class Quarantine(_Strict):
    """What it takes to let a quarantined file go on."""

    release: Literal["one-person", "two-people"] = Field(
        "one-person",
        description="`two-people`: a second person must release it, too, before it goes on.",
    )


class Failed(_Strict):
    """A folder with a plain copy of everything that failed, for people who live in the file system."""

    folder: LocalPath = Field(
        min_length=1,
        description="Copies of the originals of dead runs and rejected files, each with a `.reason.json` beside it. "
        "They go when the run is redriven or discarded.",
    )


class TagRule(_Strict):
    """When a file earns a tag: every key that is there must hold; a list means any of its values."""

    name: Texts = Field([], description="Globs over the file's name, letter case ignored.")
    path: Texts = Field(
        [], description="Globs over its path below the source; `**` is any folders."
    )
    mime: Texts = Field([], description="Media types by content, such as `image/*`.")
    size: Annotated[
        list[Annotated[str, AfterValidator(_checked_size)]],
        BeforeValidator(_one_or_many),
        WithJsonSchema(_TEXT_OR_LIST),
    ] = Field([], description='Ranges of sizes: ">1MB", "<=1MB", 1MB..10MB.')
    source: Texts = Field([], description="Names of sources.")
    header: Texts = Field([], description="Columns its header must have, all of them.")
    content: Texts = Field([], description="Regular expressions found in its first MiB.")
    tagger: str | None = Field(None, description="Dotted path of a function that decides.")

    @model_validator(mode="after")
    def _asks_something(self) -> TagRule:
        if not self.model_fields_set:
            raise ValueError(
                'a rule without a key holds for nothing: write one, such as name: "*.csv"'
            )
        return self


class Pipeline(_Strict):
    """An ordered list of steps that subscribes to files by a tag expression."""

    when: TagTest = Field(description="Which files: a tag expression.")
    steps: list[Any] = Field(
        min_length=1, description="The steps in order; ends in `route` or `write`."
    )
    tolerance: Annotated[str, AfterValidator(_checked_tolerance)] = Field(
        "0",
        description="Bad records a file may have: `100`, `1%`; above, nothing of it is published.",
    )
    exclusive: bool = Field(False, description="A file that matches another pipeline too is held.")
    priority: int = Field(0, description="Added to the file's; higher ones run first.")
    order_by: Annotated[str, AfterValidator(_checked_key)] = Field(
        "",
        description="Files that give the same text are processed one after the other, as they arrived: "
        f"`{{tag:partner}}`, `{{dir}}`; of {KEYS}. Unset: at once.",
    )
    timeout: Duration | None = Field(None, description="Of a whole run; none unless set.")
    retry: Retry = Field(
        default_factory=lambda: Retry.model_validate({}),
        description="Retry of its runs, over `defaults:`.",
    )


class StepSiblings(_Strict):
    """Keys that stand beside a step's own key, never inside its options."""

    id: Annotated[str, AfterValidator(_checked_name)] | None = Field(
        None, description="Its name in counts and errors; the step's own name unless set."
    )
    if_: TagTest | None = Field(
        None, alias="if", description="Only for records, or files, with these tags."
    )
    retry: Retry | None = Field(None, description="Retry of this step, over the pipeline's.")
    timeout: Annotated[Duration, Field(gt=0)] = Field(
        600.0, description="Of one chunk in this step."
    )
    concurrency: int | None = Field(None, ge=1, le=1024, description="Calls at once of an io step.")
    io: bool | None = Field(
        None,
        description="A function of one record that waits rather than computes: its calls overlap, the records keep "
        "their order. `async def` does so by itself. A function of a table is called once a batch.",
    )
    mode: Literal["first", "all"] | None = Field(
        None, description="Of `route` only: `all` sends to every match, not to the first."
    )


SIBLINGS = tuple(field.alias or name for name, field in StepSiblings.model_fields.items())


class Branch(_Strict):
    """A route's branch with steps of its own."""

    steps: list[Any] = Field(default_factory=list, description="Steps, records to records.")
    to: Texts = Field(min_length=1, description="A sink, a list of sinks, or `drop`.")


class Settings(_Strict):
    """Top-level keys besides the four sections."""

    version: Literal["1"] = Field("1", description="Version of the configuration language.")
    timezone: Annotated[str, AfterValidator(_checked_zone)] = Field(
        "UTC", description="Of `{date}` in names and of times without an offset."
    )
    data: LocalPath = Field(".filemill", description="The data directory.", min_length=1)
    durability: Literal["power", "process"] = Field(
        "power", description="What finished work survives: a power cut, or kill -9 only."
    )
    workers: int | None = Field(
        None, ge=1, le=1024, description="Worker processes; as many as CPUs unless set."
    )
    worker_memory: Annotated[Size, AfterValidator(_checked_memory)] | None = Field(
        None,
        description="Memory that a worker, and what its steps start, may hold; 0 for no limit. "
        "Unless set, its share of three quarters of the machine's.",
    )
    grace: Duration = Field(
        60.0,
        ge=0,
        description="How long running runs get to finish when the server is told to stop; the rest is queued again.",
    )
    max_work: Size = Field(
        10 << 30,
        ge=1 << 20,
        description="Disk that a step may take in its work folder; never more than is left free beside it.",
    )
    max_kept: Size = Field(
        1 << 30,
        description="Disk for what the step was given at which a run failed or is held, so that it can go on there; "
        "a run that needs more begins with its file again. 0 keeps nothing.",
    )
    worker_environment: Texts | None = Field(
        None,
        description="Globs of environment variables that steps see; unless set, all that the configuration does not "
        "read as secrets.",
    )
    chunk_size: Size = Field(
        16 << 20,
        ge=1 << 16,
        le=1 << 30,
        description="Piece of a big file that is worked on at once.",
    )
    max_record: Size = Field(
        4 << 20, ge=1 << 10, le=1 << 30, description="Larger records are bad records."
    )
    unrouted: Literal["hold"] = Field(
        "hold", description="What happens to files that match no pipeline."
    )
    queue: Queue = Field(
        default_factory=lambda: Queue.model_validate({}), description=Queue.__doc__ or ""
    )
    reserve: Size | None = Field(
        None,
        ge=0,
        description="Free space on the data directory's disk below which no more files are taken, so that what was "
        "taken can come to its end. Unless set: 1 GiB, or a twentieth of a disk under 20 GiB. "
        "Up to 16 MiB more are a file, `reserve` in the data directory, which the ledger gives up when the disk is "
        "full. 0: neither.",
    )
    retention: Retention = Field(
        default_factory=lambda: Retention.model_validate({}), description=Retention.__doc__ or ""
    )
    encryption: Encryption | None = Field(None, description=Encryption.__doc__ or "")
    scan: Any = Field(
        None,
        description="A scanner, or a list of them: every file must pass all of them before anything parses it. "
        "A source's own `scan: off` is the only exception.",
    )
    quarantine: Quarantine = Field(
        default_factory=lambda: Quarantine.model_validate({}), description=Quarantine.__doc__ or ""
    )
    failed: Failed | None = Field(None, description=Failed.__doc__ or "")
    web: Web = Field(default_factory=lambda: Web.model_validate({}), description=Web.__doc__ or "")
    defaults: Defaults = Field(
        default_factory=lambda: Defaults.model_validate({}), description=Defaults.__doc__ or ""
    )


class Document(Settings):
    """A whole configuration. Components' own options are judged by the components' models."""

    sources: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="Where files enter."
    )
    tags: dict[str, TagRule | list[TagRule]] = Field(
        default_factory=dict, description="Rules; every rule that matches adds its tag."
    )
    pipelines: dict[str, Pipeline] = Field(
        default_factory=dict, description="What happens to files."
    )
    sinks: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="Where results leave."
    )


SECTIONS = ("sources", "tags", "pipelines", "sinks")
"""Keys whose entries `conf.d` files may add to, by name."""
SETTINGS = tuple(Settings.model_fields)
