"""The ledger: what is known, durably, of every file and run. Its moves are the transition table's.

Promises common to all methods:

- Every method is one atomic, durable step: when it returns, a power cut does not undo it (`durability:
  power`), and a crash before that leaves nothing of it. Methods called together may share one commit.
- Every method takes a list and answers in its order. Every move is a compare-and-set on state (and
  fence, for runs): an item that no longer is where the caller thought it was is answered `False` and nothing
  about it changes. That is not an error: a stale owner simply lost.
- No payload is in the ledger. Paths and names are bytes. Times are wall nanoseconds given by the caller.
- Errors: `SystemFault` when the ledger cannot be reached or is full (nothing was done);
  `LedgerSyncError` when a commit's fate is unknown (the server must end).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

import msgspec

from filemill.model.files import Claim, Facts, FileRef
from filemill.model.runs import ChunkRange, Failure, Publication, RunOrder, RunResult
from filemill.ports.access import Admitting
from filemill.ports.deciding import Deciding
from filemill.ports.sessions import KeepingSessions


class Routing(msgspec.Struct, frozen=True):
    """What became of one inspected file: its facts and one new run per matching pipeline."""

    facts: Facts
    at_ns: int
    runs: tuple[NewRun, ...] = ()
    held: str = ""
    """Reason, when no run is made because a person must look (`unrouted`, `duplicate`)."""
    discarded: str = ""
    """Reason, when the file is skipped (`duplicates: skip`)."""
    duplicate_of: str | None = None


class NewRun(msgspec.Struct, frozen=True):
    """A run to be queued."""

    run: str
    pipeline: str
    revision: int
    priority: int = 0
    """The pipeline's; the run's is the sum of this and its file's."""
    order_key: str = ""
    """Runs of one pipeline with the same key are leased one after the other, as their files arrived; empty: in no
    order.
    """


class Finish(msgspec.Struct, frozen=True):
    """A publishing run whose outputs are all visible and synced."""

    run: str
    fence: int
    at_ns: int
    unverified: tuple[str, ...] = ()
    """Publications whose staged file and target are both gone."""


class Fail(msgspec.Struct, frozen=True):
    """The end of a failed attempt. `state` is decided by the engine's policy."""

    run: str
    fence: int
    at_ns: int
    state: str
    """`retrying`, `dead`, `queued` (interrupted or a crash's neighbour: no attempt spent) or `held`."""
    result: RunResult
    failure: Failure | None
    """None only with `held`."""
    retry_at_ns: int = 0
    tries: int = 0
    """How many attempts the policy allows a failure of this kind; 0: it does not count."""
    solo: bool = False
    input: str | None = None
    """Content reference of the failed step's kept input, which is durable. None: what the attempt began with stays;
    of one that began with the file, nothing is kept then.
    """
    published: tuple[str, ...] = ()
    """With a publishing run: publications that are visible and synced already."""
    unverified: tuple[str, ...] = ()
    """With a publishing run: publications whose staged file and target are both gone."""


class Stage(msgspec.Struct, frozen=True):
    """A running run all of whose outputs are staged: RUNNING -> PUBLISHING.

    A run without outputs goes through the same move, so that there is one way to be done.
    """

    result: RunResult
    at_ns: int
    contents: tuple[str, ...] = ()
    """The content reference that the bytes of each of the result's children will have."""


class Checkpoint(msgspec.Struct, frozen=True):
    """One chunk of a running run is done: all chunks up to it are joined to `staged`."""

    run: str
    fence: int
    chunk: ChunkRange
    staged: tuple[bytes, ...]
    """Absolute paths of the outputs as far as they are joined: a sink's `sweep` must spare them."""
    state: bytes
    """The engine's own: whatever it needs to go on from here."""


class Recovered(msgspec.Struct, frozen=True):
    """What a former server left behind; everything here is this server's now."""

    claiming: tuple[Claim, ...]
    """Rows in CLAIMING: finish or abandon each."""
    uninspected: tuple[FileRef, ...]
    """Files acknowledged but not yet routed."""
    publishing: tuple[Publication, ...]
    """Every publication of every publishing run that is not published yet."""
    publishing_empty: tuple[tuple[str, int], ...]
    """(run, fence) of publishing runs that have nothing left to publish."""
    publishing_runs: tuple[RunOrder, ...]
    """The order of every publishing run, those with nothing left to publish included."""
    interrupted: int
    """Runs that were running and are queued again, with their interruption counted."""
    revisions: tuple[int, ...] = ()
    """At which revisions the interrupted runs were running: what they had staged lies with those revisions' sinks."""
    kept_staged: tuple[bytes, ...] = ()
    """Staged files of dead runs, which wait to be redriven, and those that checkpoints name: a sink's `sweep` must
    spare them.
    """


class Disposal(msgspec.Struct, frozen=True):
    """A file all of whose runs are done: what `after:` asks for."""

    file: str
    content: str
    path: bytes
    after: str
    how: str


class Ledger(Deciding, Admitting, KeepingSessions, Protocol):
    """The methods; see the module for what all of them promise."""

    async def add_revision(self, digest: str, text: str, at_ns: int) -> int:
        """Store a configuration under the next number, or find the one with this digest."""
        ...

    async def revision_text(self, number: int) -> tuple[str, str] | None:
        """(digest, text) of a stored configuration; None when there is none of this number."""
        ...

    async def activate(self, revision: int, how: str, at_ns: int) -> None:
        """Note that a stored configuration came into force, by a `start` or a `reload`; forget what was refused."""
        ...

    async def refuse_revision(self, why: str, at_ns: int) -> None:
        """Remember why the last configuration was not taken, until one is; with no reason, forget it."""
        ...

    async def recover(
        self, at_ns: int, max_interruptions: int, begun: Collection[str] | None = None
    ) -> Recovered:
        """Take over from a former server; called once, before anything else, under the instance lock.

        RUNNING runs go back to QUEUED with a new fence, their attempt given back. Those in `begun` (what workers had
        announced; None: all) count an interruption: from half of `max_interruptions` on they run alone, so that a
        file which brings servers down is found, and over it they become dead with `Interrupted`.
        """
        ...

    async def begin_claims(self, claims: Sequence[Claim]) -> list[bool]:
        """Note the intent to take these files (CLAIMING).

        False: this version of this path is known already (same source, path and identity, and that claim's `how`
        was `copy`, whatever its `after`), so a file that stays where it is is taken once, unless the claim says
        `again`. A path whose earlier claim was by rename is never refused.
        """
        ...

    async def ingest(self, files: Sequence[str], at_ns: int, *, more: bool = False) -> list[bool]:
        """CLAIMING -> INGESTED: acknowledged. Called only when content is synced.

        `more`: what comes next for them is about to be asked for, and may be committed with it.
        """
        ...

    async def claims(self, files: Sequence[str]) -> list[Claim]:
        """The claims of those of `files` that are in CLAIMING, in the order asked."""
        ...

    async def abandon(self, files: Sequence[str]) -> list[bool]:
        """Delete rows in CLAIMING whose file vanished or changed; nothing was acknowledged."""
        ...

    async def known_content(self, references: Sequence[str]) -> list[bool | None]:
        """Say of each content reference whether a row (a file's content, a run's kept input) names it.

        True: its bytes are needed. False: only files disposed with `delete` or `keep` name it, or runs that a person
        gave up, so its bytes may go.
        None: no row has ever named it.
        """
        ...

    async def route(self, routings: Sequence[Routing]) -> list[bool]:
        """INGESTED -> INSPECTED with its runs QUEUED, or HELD, REJECTED, QUARANTINED, DISCARDED."""
        ...

    async def route_by(
        self,
        digests: Sequence[str],
        decide: Callable[[Mapping[str, str]], Sequence[Routing]],
        *,
        more: bool = False,
    ) -> list[bool]:
        """`route` what `decide` says when it is told what `find_digests` answers; one request.

        `decide` is called once a request, in whatever thread, and must be quick. `more` as for `ingest`.
        """
        ...

    async def find_digests(self, digests: Sequence[str]) -> dict[str, str]:
        """For each sha256 known already, the id of the first file that had it."""
        ...

    async def lease(
        self,
        limit: int,
        at_ns: int,
        revision: int,
        due_ns: int | None = None,
        excluding: Collection[str] = (),
    ) -> list[RunOrder]:
        """QUEUED, or RETRYING and due (at `due_ns`, else now) -> RUNNING: the highest priority first.

        Within a priority sources are served in turn, each with the same share of `limit` as long as it has runs, the
        oldest first; what is answered is grouped by pipeline. Pipelines that are paused, or in `excluding`, get none.
        Of runs with one order key only the first is leased, once no file that arrived before it waits for its routing.
        Its cost does not grow with the number of runs that wait. Counts the attempt *before* it runs and raises the
        fence. Content paths in the orders, that of kept input included, are filled in by the caller's content store.
        `revision` is that of the current plan, at which each of these attempts runs, but for runs that are pinned to
        their own and those in the middle of a big file, which have checkpoints of it; the orders say which.
        """
        ...

    async def next_due(self, excluding: Collection[str] = ()) -> int | None:
        """When the earliest RETRYING run is due (as given in `fail`); None when none waits.

        Runs of pipelines that are paused, or in `excluding`, do not count: they are not leased then either.
        """
        ...

    async def stage(self, stages: Sequence[Stage]) -> list[bool]:
        """RUNNING -> PUBLISHING under the same fence: publications, attempt and bad records recorded.

        In the same transaction each child of the result becomes a row in CLAIMING (`how` is `rename`, its path where
        it is staged), unless its id is known already. It has its parent's source and priority, the tags that the source
        gave to the first of its forebears, then its own; `after` is `archive` if its parent's is, else `delete`.
        """
        ...

    async def checkpoint(self, checkpoints: Sequence[Checkpoint]) -> list[bool]:
        """Note that chunks of RUNNING runs are done, under the same fence.

        A run that comes further is not suspected for the interruptions it had. Its checkpoints go when it is staged, or
        ends dead or held; they stay while it waits to be tried again.
        """
        ...

    async def checkpoints(self, run: str) -> list[Checkpoint]:
        """A run's checkpoints, by chunk number."""
        ...

    async def forget_checkpoints(self, runs: Sequence[str]) -> None:
        """Forget what these runs' chunks did: they begin anew."""
        ...

    async def rename_output(self, publication: str, name: bytes) -> None:
        """Fix another target name before the rename (collision `suffix`)."""
        ...

    async def finish(self, finishes: Sequence[Finish]) -> list[bool]:
        """PUBLISHING -> DONE, publications published or unverified; tally changed in the same transaction."""
        ...

    async def fail(self, fails: Sequence[Fail]) -> list[bool]:
        """RUNNING or PUBLISHING -> retrying, dead, queued or held; attempt and tally in the same transaction.

        A fail that spends no attempt (`queued`) gives back the one counted at lease.
        """
        ...

    async def disposable(self, files: Sequence[str]) -> list[Disposal]:
        """Those of `files` all of whose runs are done and whose `after:` is not yet applied."""
        ...

    async def undisposed(self, place: int, most: int) -> tuple[int, list[str]]:
        """Such files among the next `most` of the ledger behind `place`, and the place to go on at.

        Places begin and end with 0. A pass from one to the other gives every file that was so when it began.
        """
        ...

    async def disposed(self, files: Sequence[str], at_ns: int) -> list[bool]:
        """Note that `after:` was applied."""
        ...

    async def note_copies(self, copies: Sequence[tuple[str, int, str, str]]) -> None:
        """Remember copies in the folder of what failed: (id of run or file, when it died, name, sha256)."""
        ...

    async def forget_copies(self, subjects: Sequence[str]) -> None:
        """Forget copies that are gone from the folder of what failed."""
        ...

    async def live(self) -> int:
        """Files and runs on their way to an end (what is paused is not): 0 means a one-shot run may stop."""
        ...

    async def close(self) -> None:
        """Finish what was asked, then close. Idempotent."""
        ...
