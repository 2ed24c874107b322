"""The types of what `shapes` makes: mypy holds the one to the other, and OpenAPI describes answers by them.

Each field has an example, where its type alone would not show what it looks like.
"""

from __future__ import annotations

from typing import Annotated, Any, NotRequired, TypedDict

from msgspec import Meta

from filemill.model.states import RunState

FileId = Annotated[str, Meta(description="id of a file", examples=["3fk2ab7m9x0c1"])]
RunId = Annotated[str, Meta(description="id of a run", examples=["6q1mzp4t8w2e0"])]
Time = Annotated[str, Meta(examples=["2026-05-04T08:15:30.123Z"])]
Name = Annotated[str, Meta(examples=["orders.csv"])]
ExactName = Annotated[str, Meta(description="its exact bytes", examples=["b3JkZXJzLmNzdg=="])]
Path = Annotated[str, Meta(examples=["/srv/mill/inbox/orders.csv"])]
Person = Annotated[str, Meta(examples=["key:acme"])]
Pipeline = Annotated[str, Meta(examples=["orders"])]
Source = Annotated[str, Meta(examples=["upload"])]
Step = Annotated[str, Meta(examples=["2:check"])]
Tag = Annotated[str, Meta(examples=["partner:acme"])]
Digest = Annotated[str, Meta(description="sha256, hex", examples=["9f86d081884c7d65" * 4])]
ErrorName = Annotated[str, Meta(description="class of the error", examples=["ValueError"])]
Said = Annotated[str, Meta(examples=["row 7 has 4 fields, the header has 5"])]
Reason = Annotated[str, Meta(examples=["the partner sends a mended file"])]
GroupName = Annotated[str, Meta(examples=["D-3fa2c1"])]
Fingerprint = Annotated[str, Meta(examples=["v1:3fa2c1d4e5f6"])]
Milliseconds = Annotated[float, Meta(examples=[12.5])]
Size = Annotated[int, Meta(description="bytes", examples=[48213])]
Count = Annotated[int, Meta(examples=[128])]
StateOfRun = Annotated[str, Meta(examples=["dead"], extra_json_schema={"enum": [*RunState]})]


class Named(TypedDict):
    r"""A name as text; bytes that are no UTF-8 are `\xff` in it."""

    name: Name
    name_base64: NotRequired[ExactName]


class RunError(TypedDict):
    """What a run's latest attempt failed of."""

    group: GroupName
    fingerprint: Fingerprint
    step: Step
    type: ErrorName
    message: Said
    help: NotRequired[Annotated[str, Meta(examples=["mend row 7"])]]
    traceback: NotRequired[str]
    output: NotRequired[Annotated[str, Meta(description="what the step printed")]]
    gave_up: NotRequired[
        Annotated[str, Meta(description="why it was not tried again with attempts left")] | None
    ]


class Run(TypedDict):
    """A run in a list; `error` is null unless its latest attempt failed."""

    id: RunId
    pipeline: Pipeline
    revision: Annotated[int, Meta(examples=[3])]
    state: StateOfRun
    fence: Annotated[
        int,
        Meta(
            description="rises with each attempt; acts name it, so that nobody acts on a run that moved on",
            examples=[2],
        ),
    ]
    since: Time
    attempt: Annotated[int, Meta(examples=[1])]
    attempts_allowed: Annotated[int, Meta(examples=[3])] | None
    records: Count
    bad: Annotated[int, Meta(examples=[0])]
    mended: FileId | None
    retry_at: Time | None
    error: RunError | None


class FileFacts(Named):
    """What a list and a history tell alike."""

    id: FileId
    state: Annotated[str, Meta(description="that of its worst run", examples=["dead"])]
    source: Source
    principal: Person | None
    size: Size
    arrived_at: Time
    tags: list[Tag]
    reason: Annotated[str, Meta(description="why it is held or refused without a run")]


class File(FileFacts):
    """A file in a list, with its worst run's state."""

    runs: list[Run]


class TagReason(TypedDict):
    """A tag, and why it was given."""

    tag: Tag
    rule: Annotated[str, Meta(examples=["table"])]
    why: Annotated[str, Meta(examples=["name matches *.csv"])]


class Kept(TypedDict):
    """What is kept of a run for its next attempt to begin with."""

    step: Step
    size: Size
    records: Count


class Balance(TypedDict):
    """read + added = out + filtered + bad."""

    read: Count
    added: int
    out: Count
    filtered: int
    bad: int


class HoldQuestion(TypedDict):
    """What a person is asked."""

    step: Step
    message: Annotated[str, Meta(examples=["the total is over 10,000"])]
    choices: list[Annotated[str, Meta(examples=["accept"])]]


class StepNumbers(TypedDict):
    """What one step did: taken + added = given + filtered + bad."""

    step: Step
    taken: Count
    added: int
    given: Count
    filtered: int
    bad: int
    took_ms: Milliseconds


class AttemptError(TypedDict):
    """Why an attempt did not come to its end."""

    kind: Annotated[str, Meta(examples=["permanent"])]
    step: Step
    type: ErrorName
    message: Said


class Attempt(TypedDict):
    """One try of a run; `outcome` is the state it led to."""

    number: Annotated[int, Meta(examples=[1])]
    revision: Annotated[int, Meta(examples=[3])]
    began_at: Time
    ended_at: Time
    took_ms: Milliseconds
    outcome: Annotated[str, Meta(examples=["dead"])]
    from_step: Step | None
    fell_back: Annotated[str, Meta(description="why it began with the file")] | None
    kept: Kept | None
    unkept: Annotated[str, Meta(description="why nothing is kept")] | None
    records: Count
    blank: int
    bad: int
    balance: Balance | None
    hold: HoldQuestion | None
    steps: list[StepNumbers]
    error: AttemptError | None


class Output(Named):
    """One output: `staged`, `published` or `unverified`."""

    publication: Annotated[str, Meta(examples=["9c1e7a52b04d"])]
    sink: Annotated[str, Meta(examples=["out"])]
    path: Path | None
    state: Annotated[str, Meta(examples=["published"])]
    size: Size
    records: Count
    digest: Digest
    at: Time


class BadRecord(TypedDict):
    """A record that failed for good, and where it stands in its file."""

    step: Step
    record: Annotated[int, Meta(examples=[7])]
    line: Annotated[int, Meta(examples=[8])]
    start: Annotated[int, Meta(description="its first byte", examples=[211])]
    end: Annotated[int, Meta(description="one past its last byte", examples=[240])]
    type: ErrorName
    message: Said


class RunHistory(Run):
    """A run with all that happened to it."""

    queued_at: Time
    interruptions: int
    kept: Kept | None
    attempts: list[Attempt]
    outputs: list[Output]
    bad_records: list[BadRecord]


class FileHistory(FileFacts):
    """One file with all that is known of it. A mere sender is not told where things lie (`path`, `content`)."""

    path: Path | None
    media: Annotated[str, Meta(examples=["text/csv"])]
    digest: Digest
    header: list[Annotated[str, Meta(examples=["id"])]]
    attributes: dict[str, str]
    why: list[TagReason]
    acknowledged_at: Time | None
    disposed_at: Time | None
    after: Annotated[str, Meta(description="what becomes of the original", examples=["keep"])]
    content: Annotated[str, Meta(description="where its bytes are kept")] | None
    parent: FileId | None
    children: list[FileId]
    duplicate_of: FileId | None
    duplicates: list[FileId]
    freed_at: Time | None
    forgotten: list[FileId]
    runs: list[RunHistory]
    deeds: Annotated[
        list[dict[str, Any]],
        Meta(
            description="what people and keys did to it, and what else is known of each deed",
            examples=[
                [
                    {
                        "at": "2026-05-04T08:15:30.123Z",
                        "by": "key:acme",
                        "action": "redrive",
                        "object": "6q1mzp4t8w2e0",
                        "reason": "header mended",
                    }
                ]
            ],
        ),
    ]


class Waiting(Named):
    """A file among those that wait for a person."""

    id: FileId
    source: Source
    arrived_at: Time
    tags: list[Tag]


class DeadItem(Waiting):
    """A dead run and its file."""

    run: Run


class HeldItem(Waiting):
    """What waits for a person; `run` is null for a file without runs."""

    reason: Annotated[str, Meta(examples=["unrouted"])]
    step: Annotated[str, Meta(examples=["3:hold"])]
    run: Run | None


class Resolution(TypedDict):
    """A person's word that the cause of a group is mended."""

    at: Time
    by: Person
    revision: int
    reason: Reason


class DeadGroup(TypedDict):
    """Runs that failed alike; `message` is an example."""

    group: GroupName
    fingerprint: Fingerprint
    pipeline: Pipeline
    step: Step
    type: ErrorName
    message: Said
    count: Count
    first_at: Time
    last_at: Time
    status: Annotated[
        str,
        Meta(
            examples=["new"],
            extra_json_schema={"enum": ["new", "ongoing", "resolved", "regressed"]},
        ),
    ]
    resolved: Resolution | None


class DeadCause(DeadGroup):
    """One group in full: why its members are one, and what they have in common."""

    why: Annotated[dict[str, Any], Meta(description="what its fingerprint is made of")] | None
    tags: Annotated[dict[str, int], Meta(examples=[{"partner:acme": 12}])]
    revisions: Annotated[dict[str, int], Meta(examples=[{"3": 12}])]
    looked_at: Count


class Pause(TypedDict):
    """Who paused a pipeline, when and why."""

    by: Person
    at: Time
    reason: Reason


class PipelineNow(TypedDict):
    """One pipeline's runs by state, and the hour behind."""

    pipeline: Pipeline
    runs: Annotated[dict[str, int], Meta(examples=[{"done": 128, "dead": 1}])]
    live: int
    waiting_since: Time | None
    done: Count
    dead: int
    p50_ms: Milliseconds
    p95_ms: Milliseconds
    paused: Pause | None


class Retry(TypedDict):
    """A run that waits for its next attempt."""

    file: FileId
    name: Name
    run: Run


class Status(TypedDict):
    """Everything at a glance; `files` counts each file once, under its one word."""

    at: Time
    files: Annotated[dict[str, int], Meta(examples=[{"done": 128, "dead": 1}])]
    files_at: Time
    total: Count
    waiting_since: Time | None
    last_seconds: Annotated[int, Meta(examples=[3600])]
    arrived: Count
    arrived_bytes: Size
    pipelines: list[PipelineNow]
    retries: list[Retry]


class Trouble(TypedDict):
    """Something wrong with the machine that work waits for."""

    what: Annotated[str, Meta(examples=["sink out"])]
    since: Time
    message: Annotated[str, Meta(examples=["the folder is not there"])]
    help: Annotated[str, Meta(examples=["mount it"])]
    pipelines: tuple[Pipeline, ...]
    next_look: Time | None


class Rotation(TypedDict):
    """How many contents are encrypted anew so far."""

    done: Count
    of: Count


class ServerNow(TypedDict):
    """What a running server says of itself."""

    pid: Annotated[int, Meta(examples=[4711])]
    running: Annotated[int, Meta(description="runs that workers hold", examples=[2])]
    troubles: list[Trouble]
    rotation: NotRequired[Rotation]


class AuditEntry(TypedDict):
    """What a person or a key did; `chain` seals it with all before it."""

    number: Annotated[int, Meta(examples=[1204])]
    at: Time
    at_ns: Annotated[int, Meta(examples=[1777882530123000000])]
    by: Person
    action: Annotated[str, Meta(examples=["redrive"])]
    object: Annotated[str, Meta(examples=["6q1mzp4t8w2e0"])]
    detail: Annotated[dict[str, Any], Meta(examples=[{"reason": "header mended"}])]
    chain: Digest
