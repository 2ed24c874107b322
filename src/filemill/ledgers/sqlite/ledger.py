"""The SQLite ledger: `ports.ledger.Ledger`, every method one request to the one writer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence

import apsw

from filemill.durable import Durable, Failpoints
from filemill.ledgers.sqlite import (
    chunks,
    claims,
    copies,
    deeds,
    leasing,
    mending,
    recovering,
    resealing,
    revisions,
    runs,
)
from filemill.ledgers.sqlite.admitting import SqliteAdmitting
from filemill.ledgers.sqlite.opening import LedgerDiskFull, open_writer
from filemill.ledgers.sqlite.reserve import Reserve
from filemill.ledgers.sqlite.retaining import SqliteRetaining
from filemill.ledgers.sqlite.sessions import SqliteSessions
from filemill.ledgers.sqlite.uploads import SqliteUploads
from filemill.ledgers.sqlite.writer import Writer
from filemill.model.deeds import Chosen, Deed, Mend, Redrive, Release, Replay
from filemill.model.files import Claim, FileRef
from filemill.model.runs import Publication, RunOrder
from filemill.ports.clock import Clock, SystemClock
from filemill.ports.ledger import Checkpoint, Disposal, Fail, Finish, Recovered, Routing, Stage


class SqliteLedger(SqliteRetaining, SqliteAdmitting, SqliteUploads, SqliteSessions):
    """A ledger in one SQLite file (WAL), or in memory for tests. See the port for what is promised.

    Orders, claims and files carry their content reference as bytes in `path`; the caller's content store maps it.
    """

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._turn = leasing.Turn()

    @classmethod
    async def open(
        cls,
        path: str,
        *,
        durable: Durable | None = None,
        clock: Clock | None = None,
        reserve: Reserve | None = None,
        writer: Callable[[apsw.Connection, Durable, Reserve | None], Writer] = Writer,
    ) -> SqliteLedger:
        """Open the ledger file at `path` (`:memory:` for none), making or migrating it.

        Its folder must exist and the caller must hold its instance lock. `reserve` is what it may give up on a full
        disk; the file is made if there is room. `writer` makes what all requests go through.

        Raises:
            UsageError: a network file system, or a ledger of a newer version, with help.
            SystemFault: it cannot be opened.
        """
        door = durable or Durable(Failpoints("server"))
        at_ns = (clock or SystemClock()).wall_ns()
        try:
            db = await asyncio.to_thread(open_writer, path, door, at_ns)
        except LedgerDiskFull:
            if reserve is None or not reserve.give_up():
                raise
            db = await asyncio.to_thread(open_writer, path, door, at_ns)
        if reserve is not None:
            reserve.prepare()
        return cls(writer(db, door, reserve))

    async def add_revision(self, digest: str, text: str, at_ns: int) -> int:
        """Store a configuration under the next number, or find the one with this digest."""
        return await self._writer.ask(lambda tx: revisions.add(tx, digest, text, at_ns))

    async def revision_text(self, number: int) -> tuple[str, str] | None:
        """(digest, text) of a stored configuration; None when there is none of this number."""
        return await self._writer.ask(lambda tx: revisions.text(tx, number))

    async def activate(self, revision: int, how: str, at_ns: int) -> None:
        """Note that a configuration came into force."""
        await self._writer.ask(lambda tx: revisions.activate(tx, revision, how, at_ns))

    async def refuse_revision(self, why: str, at_ns: int) -> None:
        """Remember why a configuration was not taken."""
        await self._writer.ask(lambda tx: revisions.refuse(tx, why, at_ns))

    async def recover(
        self, at_ns: int, max_interruptions: int, begun: Collection[str] | None = None
    ) -> Recovered:
        """Take over from a former server."""
        return await self._writer.ask(
            lambda tx: recovering.recover(tx, at_ns, max_interruptions, begun)
        )

    async def begin_claims(self, claims_: Sequence[Claim]) -> list[bool]:
        """Note the intent to take these files."""
        return await self._writer.ask(lambda tx: claims.begin_claims(tx, claims_), begins=True)

    async def ingest(self, files: Sequence[str], at_ns: int, *, more: bool = False) -> list[bool]:
        """CLAIMING -> INGESTED."""
        return await self._writer.ask(lambda tx: claims.ingest(tx, files, at_ns), more=more)

    async def claims(self, files: Sequence[str]) -> list[Claim]:
        """The claims of those of these files that are in CLAIMING."""
        return await self._writer.ask(lambda tx: claims.find_claims(tx, files))

    async def abandon(self, files: Sequence[str]) -> list[bool]:
        """Delete rows in CLAIMING."""
        return await self._writer.ask(lambda tx: claims.abandon(tx, files))

    async def known_content(self, references: Sequence[str]) -> list[bool | None]:
        """Whether the bytes of each content reference are needed; None when no row names it."""
        return await self._writer.ask(lambda tx: claims.known_content(tx, references))

    async def route(self, routings: Sequence[Routing]) -> list[bool]:
        """INGESTED -> INSPECTED with its runs QUEUED, or where the routing says."""
        return await self._writer.ask(lambda tx: claims.route(tx, routings), begins=True)

    async def route_by(
        self,
        digests: Sequence[str],
        decide: Callable[[Mapping[str, str]], Sequence[Routing]],
        *,
        more: bool = False,
    ) -> list[bool]:
        """`route` what `decide` says when it is told the first file of each digest."""
        return await self._writer.ask(
            lambda tx: claims.route(tx, decide(claims.find_digests(tx, digests))),
            begins=True,
            more=more,
        )

    async def find_digests(self, digests: Sequence[str]) -> dict[str, str]:
        """The first file that had each digest."""
        return await self._writer.ask(lambda tx: claims.find_digests(tx, digests))

    async def lease(
        self,
        limit: int,
        at_ns: int,
        revision: int,
        due_ns: int | None = None,
        excluding: Collection[str] = (),
    ) -> list[RunOrder]:
        """QUEUED, or RETRYING and due -> RUNNING; consecutive orders share their pipeline where priorities allow."""
        due = at_ns if due_ns is None else due_ns
        return await self._writer.ask(
            lambda tx: runs.lease(
                tx, leasing.choose(tx, limit, due, excluding, self._turn), at_ns, revision
            ),
            begins=True,
        )

    async def next_due(self, excluding: Collection[str] = ()) -> int | None:
        """When the earliest RETRYING run is due, of pipelines that are neither paused nor in `excluding`."""
        return await self._writer.ask(lambda tx: leasing.next_due(tx, excluding))

    async def stage(self, stages: Sequence[Stage]) -> list[bool]:
        """RUNNING -> PUBLISHING."""
        return await self._writer.ask(lambda tx: runs.stage(tx, stages))

    async def checkpoint(self, checkpoints: Sequence[Checkpoint]) -> list[bool]:
        """Note that chunks of RUNNING runs are done."""
        return await self._writer.ask(lambda tx: chunks.checkpoint(tx, checkpoints))

    async def checkpoints(self, run: str) -> list[Checkpoint]:
        """A run's checkpoints, by chunk number."""
        return await self._writer.ask(lambda tx: chunks.checkpoints(tx, run))

    async def forget_checkpoints(self, runs_: Sequence[str]) -> None:
        """Forget what these runs' chunks did."""
        await self._writer.ask(lambda tx: chunks.forget_checkpoints(tx, runs_))

    async def rename_output(self, publication: str, name: bytes) -> None:
        """Fix another target name before the rename."""
        await self._writer.ask(lambda tx: runs.rename_output(tx, publication, name))

    async def finish(self, finishes: Sequence[Finish]) -> list[bool]:
        """PUBLISHING -> DONE."""
        return await self._writer.ask(lambda tx: runs.finish(tx, finishes))

    async def fail(self, fails: Sequence[Fail]) -> list[bool]:
        """RUNNING or PUBLISHING -> retrying, dead, queued or held."""
        return await self._writer.ask(lambda tx: runs.fail(tx, fails))

    async def disposable(self, files: Sequence[str]) -> list[Disposal]:
        """Files all of whose runs are done and whose `after:` is not yet applied."""
        return await self._writer.ask(lambda tx: claims.disposable(tx, files))

    async def undisposed(self, place: int, most: int) -> tuple[int, list[str]]:
        """Of the next so many that wait for `after:`, those whose runs are done, and the place to go on at."""
        return await self._writer.ask(lambda tx: claims.undisposed(tx, place, most))

    async def disposed(self, files: Sequence[str], at_ns: int) -> list[bool]:
        """Note that `after:` was applied."""
        return await self._writer.ask(lambda tx: claims.disposed(tx, files, at_ns))

    async def note_copies(self, copies_: Sequence[tuple[str, int, str, str]]) -> None:
        """Remember which deaths the folder of what failed tells of."""
        await self._writer.ask(lambda tx: copies.note_copies(tx, copies_))

    async def forget_copies(self, subjects: Sequence[str]) -> None:
        """These copies are gone."""
        await self._writer.ask(lambda tx: copies.forget_copies(tx, subjects))

    async def move_content(self, moves: Sequence[tuple[str, str]]) -> None:
        """Bytes have another reference: (old, new) each; the old ones are garbage."""
        await self._writer.ask(lambda tx: resealing.move(tx, moves))

    async def move_at_rest(self, moves: Sequence[tuple[str, str]]) -> list[bool]:
        """The same of bytes that nobody has in hand; False for the others."""
        return await self._writer.ask(lambda tx: resealing.move_at_rest(tx, moves))

    async def newest_number(self) -> int:
        """The highest number of a file or run."""
        return await self._writer.ask(resealing.newest)

    async def reword(self, words: Callable[[str], str], after: int, last: int) -> int:
        """Put texts that may quote content, of files and runs numbered so, in other words; answers how many."""
        return await self._writer.ask(lambda tx: resealing.reword(tx, words, after, last))

    async def redrive(self, redrives: Sequence[Redrive], deed: Deed) -> list[bool]:
        """DEAD -> QUEUED, or PUBLISHING where it died when it published."""
        return await self._writer.ask(lambda tx: deeds.redrive(tx, redrives, deed))

    async def release(self, releases: Sequence[Release], deed: Deed) -> list[bool]:
        """HELD -> QUEUED."""
        return await self._writer.ask(lambda tx: deeds.release(tx, releases, deed))

    async def discard(self, runs_: Sequence[Chosen], deed: Deed) -> list[bool]:
        """DEAD or HELD -> DISCARDED."""
        return await self._writer.ask(lambda tx: deeds.discard(tx, runs_, deed))

    async def cancel(self, runs_: Sequence[Chosen], deed: Deed) -> list[bool]:
        """QUEUED, RETRYING or RUNNING -> CANCELLED."""
        return await self._writer.ask(lambda tx: deeds.cancel(tx, runs_, deed))

    async def replay(self, replays: Sequence[Replay], deed: Deed) -> list[bool]:
        """A new QUEUED run for each ended run."""
        return await self._writer.ask(lambda tx: deeds.replay(tx, replays, deed))

    async def readmit(
        self, files: Sequence[str], deed: Deed, *, unsafe: bool = False, people: int = 1
    ) -> list[bool]:
        """HELD, with `unsafe` also QUARANTINED -> INGESTED."""
        return await self._writer.ask(
            lambda tx: deeds.readmit(tx, files, deed, unsafe=unsafe, people=people)
        )

    async def discard_files(self, files: Sequence[str], deed: Deed) -> list[bool]:
        """HELD, REJECTED or QUARANTINED -> DISCARDED."""
        return await self._writer.ask(lambda tx: deeds.discard_files(tx, files, deed))

    async def mend(self, mends: Sequence[Mend], deed: Deed) -> list[bool]:
        """A child in the place of dead runs, or of the bad records of a done one."""
        return await self._writer.ask(lambda tx: mending.mend(tx, mends, deed))

    async def publishing(self, runs_: Sequence[str]) -> tuple[list[RunOrder], list[Publication]]:
        """Those of these runs that are PUBLISHING, and what of them is not published."""
        return await self._writer.ask(lambda tx: deeds.publishing(tx, runs_))

    async def uninspected(self, files: Sequence[str]) -> list[FileRef]:
        """Those of these files that are INGESTED."""
        return await self._writer.ask(lambda tx: claims.find_uninspected(tx, files))

    async def pause(self, pipelines: Sequence[str], deed: Deed) -> list[bool]:
        """Lease no runs of these pipelines."""
        return await self._writer.ask(lambda tx: deeds.pause(tx, pipelines, deed))

    async def resume(self, pipelines: Sequence[str], deed: Deed) -> list[bool]:
        """Lease runs of these pipelines again."""
        return await self._writer.ask(lambda tx: deeds.resume(tx, pipelines, deed))

    async def resolve(self, fingerprints: Sequence[str], revision: int, deed: Deed) -> None:
        """Remember that the causes of these groups are mended."""
        await self._writer.ask(lambda tx: deeds.resolve(tx, fingerprints, revision, deed))

    async def note(self, action: str, objects: Sequence[str], detail: str, deed: Deed) -> None:
        """Write into the audit."""
        await self._writer.ask(lambda tx: deeds.note(tx, action, objects, detail, deed))

    async def live(self) -> int:
        """How many files and runs are not at an end."""
        return await self._writer.ask(lambda tx: int(tx.one(claims.SQL["live"])))

    async def close(self) -> None:
        """Finish what was asked, then close. Idempotent."""
        await self._writer.close()
