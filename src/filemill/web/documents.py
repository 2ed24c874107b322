"""The JSON documents that routes answer with, as OpenAPI describes them; their contents have types in `shape_types`."""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired, TypedDict

from msgspec import Meta

from filemill.service import shape_types as t

Next = Annotated[
    str, Meta(description="the `cursor` of the page after; null at the end", examples=["1203"])
]
More = Annotated[
    bool, Meta(description="there are others: the same request again goes on with them")
]
Moved = Annotated[bool, Meta(description="false: it had moved on meanwhile", examples=[True])]
Live = Annotated[bool, Meta(description="a server goes on with them now", examples=[True])]


class Refusal(TypedDict):
    """Why a request was not done."""

    code: Annotated[str, Meta(examples=["not-found"])]
    message: Annotated[str, Meta(examples=["no file or run has an id that begins with `3fk2`"])]
    help: Annotated[str, Meta(examples=["`filemill files ls` shows ids"])]
    request_id: Annotated[
        str, Meta(description="the answer's X-Request-Id", examples=["5f0c1d2e3a4b"])
    ]


class Error(TypedDict):
    """The one shape of errors."""

    error: Refusal


class Alive(TypedDict):
    """HTTP is answered."""

    status: Literal["ok"]


class Health(TypedDict):
    """`waits`: something of the machine is in the way."""

    status: Literal["ok", "waits"]


class Readiness(TypedDict):
    """Whether files are taken; `server` says why not, to those who ask with `verbose`."""

    status: Literal["ready", "waits"]
    server: NotRequired[t.ServerNow]


class Stats(t.Status):
    """How all stands."""

    schema: Literal["filemill.status/1"]


class FilePage(TypedDict):
    """Files, the latest arrival first."""

    schema: Literal["filemill.files/1"]
    items: list[t.File]
    next: Next | None


class FileDocument(t.FileHistory):
    """One file."""

    schema: Literal["filemill.file/1"]


class RunOfFile(t.Run):
    """A run and its file."""

    file: t.FileId
    name: t.Name


class RunPage(TypedDict):
    """The runs of a page of files."""

    schema: Literal["filemill.runs/1"]
    items: list[RunOfFile]
    next: Next | None


class RunDocument(t.RunHistory):
    """One run."""

    schema: Literal["filemill.run/1"]
    file: t.FileId
    name: t.Name


class DeadPage(TypedDict):
    """All groups, the latest first, and one page of their runs."""

    schema: Literal["filemill.dead/1"]
    total: t.Count
    hidden: Annotated[int, Meta(description="groups that are called mended")]
    groups: list[t.DeadGroup]
    items: list[t.DeadItem]
    next: Next | None


class DeadGroupDocument(TypedDict):
    """One group, and the latest of its members."""

    schema: Literal["filemill.dead-group/1"]
    group: t.DeadCause
    items: list[t.DeadItem]


class HeldPage(TypedDict):
    """What waits for a person, the latest arrival first."""

    schema: Literal["filemill.held/1"]
    items: list[t.HeldItem]
    next: Next | None


class AuditPage(TypedDict):
    """Rows of the audit, the latest first."""

    schema: Literal["filemill.audit/1"]
    items: list[t.AuditEntry]
    next: Next | None


class PipelineItem(TypedDict):
    """A pipeline; all but its name is there once it has had runs."""

    pipeline: t.Pipeline
    configured: Annotated[bool, Meta(examples=[True])]
    runs: NotRequired[Annotated[dict[str, int], Meta(examples=[{"done": 128, "dead": 1}])]]
    live: NotRequired[int]
    waiting_since: NotRequired[t.Time | None]
    done: NotRequired[t.Count]
    dead: NotRequired[int]
    p50_ms: NotRequired[t.Milliseconds]
    p95_ms: NotRequired[t.Milliseconds]
    paused: NotRequired[t.Pause | None]


class Pipelines(TypedDict):
    """Pipelines, and how they stand."""

    schema: Literal["filemill.pipelines/1"]
    items: list[PipelineItem]


class InForce(TypedDict):
    """When a configuration came into force, and how."""

    at: t.Time
    by: Annotated[str, Meta(examples=["reload"])]


class RevisionItem(TypedDict):
    """A configuration that ran."""

    revision: Annotated[int, Meta(examples=[3])]
    digest: t.Digest
    first_at: t.Time
    in_force: list[InForce]
    current: bool
    runs: t.Count


class RevisionList(TypedDict):
    """Configurations that ran, the latest first."""

    schema: Literal["filemill.revisions/1"]
    items: list[RevisionItem]


class SourceItem(TypedDict):
    """Where files come from; `path`, `max_size` and `types` are of those that take what is sent."""

    source: t.Source
    kind: Annotated[str, Meta(examples=["http"])]
    path: Annotated[str, Meta(examples=["/upload"])] | None
    max_size: Annotated[int, Meta(description="bytes", examples=[200_000_000])] | None
    types: list[Annotated[str, Meta(examples=["text/csv"])]]


class Sources(TypedDict):
    """Where files come from."""

    schema: Literal["filemill.sources/1"]
    items: list[SourceItem]


class SinkItem(TypedDict):
    """Where results go, and what is wrong with it."""

    sink: Annotated[str, Meta(examples=["out"])]
    kind: Annotated[str, Meta(examples=["folder"])]
    trouble: t.Trouble | None


class Sinks(TypedDict):
    """Where results go."""

    schema: Literal["filemill.sinks/1"]
    items: list[SinkItem]


class WorkerItem(TypedDict):
    """A worker process, and the runs it is at."""

    worker: Annotated[int, Meta(examples=[1])]
    pid: Annotated[int, Meta(examples=[4712])]
    revision: Annotated[int, Meta(examples=[3])]
    busy: bool
    jobs: t.Count
    runs: list[t.RunId]


class Workers(TypedDict):
    """Worker processes."""

    schema: Literal["filemill.workers/1"]
    running: Annotated[int, Meta(description="runs that they hold", examples=[2])]
    items: list[WorkerItem]


class DeedItem(TypedDict):
    """What became of one run or file; a file without runs has neither `run` nor `pipeline`."""

    file: t.FileId
    name: t.Name
    run: t.RunId | None
    pipeline: t.Pipeline | None
    moved: Moved


class DeedDone(TypedDict):
    """What was done."""

    schema: Literal[
        "filemill.redrive/1",
        "filemill.discard/1",
        "filemill.release/1",
        "filemill.replay/1",
        "filemill.cancel/1",
    ]
    live: Live
    items: list[DeedItem]
    more: More


class DeedPlan(TypedDict):
    """What would be done: the answer to `dry_run`."""

    schema: Literal["filemill.plan/1"]
    what: Annotated[str, Meta(examples=["would redrive"])]
    items: list[DeedItem]
    more: More


class Resolved(TypedDict):
    """The groups that were called mended."""

    schema: Literal["filemill.resolve/1"]
    groups: list[t.GroupName]


class SwitchItem(TypedDict):
    """Whether a pipeline was paused, or went on."""

    pipeline: t.Pipeline
    moved: Moved


class Switched(TypedDict):
    """What became of pipelines."""

    schema: Literal["filemill.pause/1", "filemill.resume/1"]
    live: Live
    items: list[SwitchItem]


class Reloaded(TypedDict):
    """Which configuration runs now; `former` is the same where nothing changed."""

    schema: Literal["filemill.reload/1"]
    revision: Annotated[int, Meta(examples=[4])]
    former: Annotated[int, Meta(examples=[3])]
    changes: list[Annotated[str, Meta(examples=["pipelines.orders: changed"])]]


class Session(TypedDict):
    """Whoever asks: who that is, and what they may do. `csrf` is null outside of a browser's session."""

    schema: Literal["filemill.session/1"]
    principal: Annotated[str, Meta(examples=["key:acme"])]
    roles: Annotated[list[str], Meta(examples=[["operator"]])]
    rights: Annotated[list[str], Meta(examples=[["view-meta"]])]
    sources: list[t.Source]
    pipelines: list[t.Pipeline]
    csrf: Annotated[str, Meta(description="to be sent as X-CSRF-Token")] | None


class Draining(TypedDict):
    """The server ends when what runs is finished."""

    schema: Literal["filemill.drain/1"]
    ended: bool


class Receipt(TypedDict):
    """A file that was taken; with `wait` also what became of it."""

    id: t.FileId
    url: Annotated[str, Meta(examples=["/files/3fk2ab7m9x0c1"])]
    name: t.Name
    size: t.Size
    sha256: t.Digest
    state: NotRequired[Annotated[str, Meta(examples=["done"])]]
    reason: NotRequired[str]
    runs: NotRequired[list[t.RunHistory]]


class Mended(TypedDict):
    """A mended file that was taken in the place of runs."""

    schema: Literal["filemill.edit/1"]
    file: t.FileId
    child: t.FileId
    discarded: Annotated[list[str], Meta(description="dead runs that were given up for it")]
    live: Live


class Taken(TypedDict):
    """The files of a request, in its order."""

    schema: Literal["filemill.upload/1"]
    files: list[Receipt]
