"""What happened: one typed event per transition and per thing worth a person's notice.

Log lines, metrics, the console and later spans, live pages and alerts derive from these in
`telemetry/`; no log string is written by hand in the path of a file. `at_ns` is wall time, nanoseconds since the
epoch, UTC, taken from the Clock by whoever emits.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from filemill.model.files import Claim


class Event(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """Base of all events; the class name is the event's name."""

    at_ns: int = 0


class ServerStarted(Event, frozen=True):
    """Everything answered: sources watched, ledger open, first worker up."""

    took_ns: int
    recovered: int
    """Runs and claims that a former server left and this one took over."""
    revision: int = 0
    """Number of the configuration it runs."""
    watching: tuple[tuple[str, str], ...] = ()
    """(place, how it is watched) of each source; none for a one-shot run."""


class ServerDraining(Event, frozen=True):
    """Told to stop: nothing new is begun, `running` runs are finished, `queued` runs are kept."""

    running: int
    queued: int


class ServerStopped(Event, frozen=True):
    """Drained and closed; `kept` runs stay queued for the next start."""

    kept: int


class FileIngested(Event, frozen=True):
    """Acknowledged: its content and row are durable."""

    file: str
    source: str
    relative: bytes
    size: int
    parent: str = ""
    """The file that it was emitted from, if it was."""

    @staticmethod
    def of(claim: Claim, at_ns: int) -> FileIngested:
        """The event of this claim's file."""
        return FileIngested(
            at_ns=at_ns,
            file=claim.file,
            source=claim.source,
            relative=claim.relative,
            size=claim.identity.size,
            parent=claim.parent or "",
        )


class FileVanished(Event, frozen=True):
    """Gone before its claim was complete; it was never acknowledged."""

    source: str
    relative: bytes


class FileIgnored(Event, frozen=True):
    """Not taken from its source, with the reason (said once a file): a link, a device, no access."""

    source: str
    relative: bytes
    reason: str


class FileRouted(Event, frozen=True):
    """Inspected and matched: one run queued per pipeline."""

    file: str
    relative: bytes
    tags: tuple[str, ...]
    pipelines: tuple[str, ...]


class FileHeld(Event, frozen=True):
    """Waits for a person: `reason` is `unrouted` or a rule's."""

    file: str
    relative: bytes
    reason: str
    tags: tuple[str, ...] = ()


class FileRejected(Event, frozen=True):
    """Refused by a source's limits, or quarantined as unsafe."""

    file: str
    relative: bytes
    reason: str
    unsafe: bool = False


class RetentionApplied(Event, frozen=True):
    """What was at an end for long enough is gone: the bytes of `files`, and all that was known of `forgotten`."""

    files: int
    bytes: int
    forgotten: int
    rows: int


class RetentionWaits(Event, frozen=True):
    """Nothing was done here for long, or the clock is wrong: what would be old enough to go stays for now."""

    away_ns: int
    """Since work was done here last, by the clock."""
    waits_ns: int


class FileDisposed(Event, frozen=True):
    """Every run done and `after:` applied."""

    file: str
    how: str


class RunProgressed(Event, frozen=True):
    """A big file is so far: `done` of `chunks` are joined. `resumed`: that is where this attempt begins."""

    run: str
    file: str
    relative: bytes
    pipeline: str
    done: int
    chunks: int
    resumed: bool = False


class RunFinished(Event, frozen=True):
    """All outputs published. `outputs` is (sink, records, target name) of each."""

    run: str
    file: str
    relative: bytes
    pipeline: str
    took_ns: int
    """From arrival to done."""
    outputs: tuple[tuple[str, int, bytes], ...]
    bad: int = 0
    children: int = 0
    """Files it emitted."""


class RunFailed(Event, frozen=True):
    """An attempt ended badly. `state` is where the run went: retrying, queued or dead."""

    run: str
    file: str
    relative: bytes
    pipeline: str
    state: str
    kind: str
    step: str
    error: str
    message: str
    help: str = ""
    attempt: int = 1
    tries: int = 0
    """How many attempts its policy allows; 0: it does not count."""
    retry_at_ns: int = 0
    fingerprint: str = ""
    gave_up: str = ""
    """Why it was not tried again although attempts were left."""


class RunHeld(Event, frozen=True):
    """A step asked for a person."""

    run: str
    file: str
    relative: bytes
    pipeline: str
    step: str
    message: str


class OutputUnverified(Event, frozen=True):
    """A staged file is gone and no target has its inode: taken by a consumer, or lost."""

    publication: str
    run: str
    sink: str
    name: bytes


class WebListening(Event, frozen=True):
    """HTTP is answered from now on."""

    host: str
    port: int
    tls: bool = False


class WebNoted(Event, frozen=True):
    """What answers HTTP has something to say, such as that a certificate was renewed."""

    message: str
    help: str = ""
    """What to do; empty: nothing."""


class WebLost(Event, frozen=True):
    """What answers HTTP died; it is begun again. Uploads that were not acknowledged have to be sent again."""

    reason: str
    again_in: float
    """Seconds."""


class WorkerStarted(Event, frozen=True):
    """A worker answered."""

    worker: int
    pid: int


class WorkerLost(Event, frozen=True):
    """A worker died or was killed; `held` runs were affected."""

    worker: int
    pid: int
    reason: str
    held: int


class SourceMissing(Event, frozen=True):
    """A watched folder is gone; nothing is concluded about the files in it."""

    source: str
    path: bytes


class SourceReturned(Event, frozen=True):
    """A watched folder is back and was scanned."""

    source: str
    path: bytes


class SourceNotice(Event, frozen=True):
    """Something about a source a person should know: polling mode, permissions, a limit."""

    source: str
    message: str
    help: str = ""


class EventsMissed(Event, frozen=True):
    """A scan found files that no event had announced, or the event queue overflowed."""

    source: str
    found: int
    overflow: bool = False


class CopiesTrouble(Event, frozen=True):
    """The folder of what failed cannot be kept: nothing waits for it, and it is tried again."""

    folder: str
    message: str
    help: str = ""


class CopiesRecovered(Event, frozen=True):
    """The folder of what failed is kept again; what was missed is in it."""

    folder: str


class ConfigReloaded(Event, frozen=True):
    """Another configuration is in force: what begins from now on goes by it, what runs finishes as it began."""

    revision: int
    former: int
    changes: tuple[str, ...]
    """What is different, in words: `pipeline orders changed`."""
    took_ns: int


class ConfigUnchanged(Event, frozen=True):
    """A reload was asked for and nothing is different."""

    revision: int


class ConfigRefused(Event, frozen=True):
    """A configuration that is not taken; the one that runs is kept."""

    revision: int
    """The one that is kept."""
    problems: str
    """Every problem at its place, as `filemill check` shows them."""


class HeldRoutable(Event, frozen=True):
    """So many held files that no pipeline wanted would be routed by the configuration that is in force now."""

    count: int
    capped: bool = False
    """There are more held files than were looked at."""


class SystemTrouble(Event, frozen=True):
    """The machine, not a file: leasing stops until it is over. No attempt is spent."""

    what: str
    message: str
    help: str = ""


class SystemRecovered(Event, frozen=True):
    """The trouble is over and work goes on."""

    what: str


class IntakeWaits(Event, frozen=True):
    """No more files are taken: the queue is full (`what` is `queue`), or the disk nearly is (`disk`)."""

    what: str
    message: str
    help: str = ""


class IntakeResumed(Event, frozen=True):
    """Files are taken again."""

    what: str


class SinkBroken(Event, frozen=True):
    """A sink's place failed (full, unmounted, no access): what writes there waits, uncharged; the rest goes on."""

    sink: str
    message: str
    help: str = ""
    pipelines: tuple[str, ...] = ()
    """Those whose runs wait."""


class SinkMended(Event, frozen=True):
    """The sink takes outputs again."""

    sink: str


Emit = Callable[[Event], None]
"""How parts of the path say what happened. Never blocks, never raises."""
