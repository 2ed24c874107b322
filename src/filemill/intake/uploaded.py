"""Files that were sent: their bytes lie whole in `<data>/uploads`, nobody else writes them, and somebody waits.

The durable order is that of any claim, without a source to settle in:

    [CLAIMING commit] -> rename into content -> sync as one group -> [INGESTED commit] -> answered

What came meanwhile is the next group, so a lone upload never waits and many share their syncs. Until the answer nothing
is promised: after a crash `recovery` puts what is not acknowledged back into the folder of uploads, where the next
start removes it unless it can be gone on with. An id is taken once; whoever names it again learns that it is known.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Collection, Mapping, Sequence

import msgspec

from filemill.durable import Durable
from filemill.encryption.age import sealed_name
from filemill.intake.claim import Claimer, Stopping
from filemill.intake.limits import refusal, source_tags
from filemill.model.errors import FilemillError, LedgerSyncError, SystemFault, UsageError
from filemill.model.events import Emit, FileIngested
from filemill.model.files import Claim, FileRef, Identity
from filemill.ports.clock import Clock, is_id
from filemill.ports.content import Content
from filemill.ports.ledger import Ledger
from filemill.ports.source import SourceSettings

HOW = "upload"
"""How such a file was taken, in the ledger."""
FOLDER = b"uploads"
GROUP = 256


class Upload(msgspec.Struct, frozen=True):
    """One whole file that was sent."""

    file: str
    source: str
    relative: bytes
    size: int
    stored: int = -1
    """Bytes that lie in the folder, where they are encrypted."""
    tags: tuple[str, ...] = ()
    principal: str = ""


class Uploads:
    """Takes uploads in, in groups. In one event loop."""

    def __init__(
        self,
        data: bytes,
        *,
        claimer: Claimer,
        ledger: Ledger,
        content: Content,
        durable: Durable,
        clock: Clock,
        emit: Emit,
        sources: Callable[[], Mapping[str, SourceSettings]],
        ingested: Callable[[list[FileRef]], None],
        unfinished: Callable[[Sequence[Claim]], None],
    ) -> None:
        """`unfinished` settles claims that the disk lets neither be finished nor undone."""
        self.folder = data + b"/" + FOLDER
        self._key = content.key
        self._claimer = claimer
        self._ledger = ledger
        self._content = content
        self._durable = durable
        self._clock = clock
        self._emit = emit
        self._sources = sources
        self._ingested = ingested
        self._unfinished = unfinished
        self._waiting: list[tuple[Claim, asyncio.Future[bool]]] = []
        self._task: asyncio.Task[None] | None = None

    def open(self, going_on: Collection[str] = ()) -> None:
        """Make the folder, and remove what a former server left there and nobody goes on with.

        What is encrypted with other keys than now, or not at all, can be gone on with by nobody.

        Raises:
            OSError: it cannot be made, or not be listed.
        """
        self._durable.make_directory(self.folder, 0o700)
        kept = {staged_name(file, self._key) for file in going_on}
        with os.scandir(self.folder) as entries:
            for entry in list(entries):
                if entry.name not in kept:
                    self._durable.unlink(entry.path)

    async def take(self, upload: Upload) -> bool:
        """Return when it is acknowledged; False when its id is known already.

        Raises:
            UsageError: its source does not take it, or its bytes are not there.
            SystemFault: the machine failed; it is not taken.
        """
        claim = self._claim(upload)
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((claim, future))
        if self._task is None:
            self._task = asyncio.create_task(self._work(), name="uploads")
        return await future

    async def stop(self) -> None:
        """Return when all that was asked for is taken."""
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    def _claim(self, upload: Upload) -> Claim:
        judge_name(upload.file, upload.relative)
        settings = self._sources().get(upload.source)
        if settings is None or settings.root:
            raise UsageError(f"no source `{upload.source}` takes what is sent")
        if why := refusal(settings, upload.relative, upload.size):
            raise UsageError(why)
        path = self.folder + b"/" + staged_name(upload.file, self._key)
        wanted = upload.stored if self._key else upload.size
        try:
            found = os.lstat(path)
        except FileNotFoundError as error:
            raise UsageError("the upload is gone", help="send it again") from error
        if found.st_size != wanted:
            raise SystemFault(
                f"the upload has {found.st_size} bytes, not {wanted}", help="send it again"
            )
        tags = (*source_tags(settings, upload.relative), *upload.tags)
        return Claim(
            file=upload.file,
            source=settings.name,
            path=path,
            relative=upload.relative,
            identity=Identity(found.st_dev, found.st_ino, upload.size, found.st_mtime_ns),
            content="",
            claimed_ns=self._clock.wall_ns(),
            tags=tuple(dict.fromkeys(tags)),
            how=HOW,
            priority=settings.priority,
            after=settings.after,
            principal=upload.principal,
        )

    async def _work(self) -> None:
        try:
            while self._waiting:
                group, self._waiting = self._waiting[:GROUP], self._waiting[GROUP:]
                try:
                    taken = await self._group([claim for claim, _ in group])
                except (FilemillError, OSError, Stopping) as error:
                    _fail(group, error)
                    if isinstance(error, LedgerSyncError | Stopping):
                        _fail(self._waiting, error)
                        self._waiting = []
                else:
                    for (_, future), done in zip(group, taken, strict=True):
                        if not future.done():
                            future.set_result(done)
        finally:
            self._task = None

    async def _group(self, wanted: Sequence[Claim]) -> list[bool]:
        references = await asyncio.to_thread(self._content.reserve, [c.file for c in wanted])
        claims = [
            msgspec.structs.replace(claim, content=reference)
            for claim, reference in zip(wanted, references, strict=True)
        ]
        fresh = await self._ledger.begin_claims(claims)
        begun = [claim for claim, new in zip(claims, fresh, strict=True) if new]
        if begun:
            await self._finish(begun)
        return fresh

    async def _finish(self, begun: Sequence[Claim]) -> None:
        try:
            await asyncio.to_thread(self._move, begun)
        except OSError as error:
            try:
                await asyncio.to_thread(self._put_back, begun)
            except OSError:
                self._unfinished(begun)
                raise
            files = [claim.file for claim in begun]
            await self._claimer.insist(lambda: self._ledger.abandon(files))
            raise SystemFault(
                f"uploads cannot be kept: {error.strerror or error}",
                help="free or repair the data directory's disk, then send them again",
            ) from error
        now = self._clock.wall_ns()
        files = [claim.file for claim in begun]
        await self._claimer.insist(lambda: self._ledger.ingest(files, now))
        for claim in begun:
            self._emit(FileIngested.of(claim, now))
        self._ingested([self._claimer.file_ref(claim) for claim in begun])

    def _move(self, claims: Sequence[Claim]) -> None:
        for claim in claims:
            self._content.adopt(claim.path, claim.content)
        self._content.sync([claim.content for claim in claims], {self.folder})

    def _put_back(self, claims: Sequence[Claim]) -> None:
        for claim in claims:
            put_back(claim, self._content, self._durable)


def staged_name(file: str, key: str) -> bytes:
    """What the bytes of an upload are called in the folder of uploads; `key` is that of content."""
    return (sealed_name(file, key) if key else file).encode("ascii")


def judge_name(file: str, relative: bytes) -> None:
    """Refuse an id or a name that is none: whoever asks parses bytes of strangers, and both become parts of paths.

    Raises:
        UsageError: it is none.
    """
    if not is_id(file):
        raise UsageError("an upload has the id of a file")
    if not relative or relative in (b".", b"..") or b"/" in relative or b"\0" in relative:
        raise UsageError("an upload has a plain name")


def put_back(claim: Claim, content: Content, durable: Durable) -> None:
    """Move an upload that was not acknowledged back where it was sent to.

    Raises:
        OSError: it could not be moved.
    """
    if content.exists(claim.content):
        durable.rename(content.path(claim.content), claim.path)


def _fail(group: Sequence[tuple[Claim, asyncio.Future[bool]]], error: Exception) -> None:
    if isinstance(error, Stopping):
        error = SystemFault("the server is ending", help="send it again when it runs")
    fault = error if isinstance(error, FilemillError) else SystemFault(str(error))
    for _, future in group:
        if not future.done():
            future.set_exception(fault)
