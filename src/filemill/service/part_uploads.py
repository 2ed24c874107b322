"""Uploads that come in parts, as the server knows them: the web child writes their bytes, the ledger is written here.

The durable order of each part is

    bytes written -> synced -> [offset commit] -> answered

and of the last one that of any upload (`intake.uploaded`), after which the row only says that it was taken: whoever
finds the file in the ledger need not ask it. What was written and not noted is cut off before more is written.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

from filemill.durable import Durable
from filemill.intake.uploaded import judge_name, staged_name
from filemill.model.deeds import Deed
from filemill.model.uploads import PartialUpload
from filemill.ports.clock import Clock
from filemill.ports.ledger import Ledger
from filemill.ports.uploads import KeepingUploads
from filemill.service import acts

LIFE_NS = 24 * 3600 * 10**9
"""How long an upload waits for more of it."""


class PartUploads:
    """The acts of uploads in parts, and their end when nothing more comes.

    `folder` is that of uploads, `key` that of content.
    """

    def __init__(
        self,
        uploads: KeepingUploads,
        ledger: Ledger,
        folder: bytes,
        durable: Durable,
        clock: Clock,
        *,
        key: str = "",
    ) -> None:
        self._key = key
        self._uploads = uploads
        self._ledger = ledger
        self._folder = folder
        self._durable = durable
        self._clock = clock

    async def open(self, act: acts.OpenUpload, deed: Deed) -> Sequence[bool]:
        """Remember one that begins; False if its id or its key is known.

        Raises:
            UsageError: its id, or its name, is none.
        """
        judge_name(act.file, act.relative)
        now = self._clock.wall_ns()
        upload = PartialUpload(
            file=act.file,
            principal=deed.principal,
            key=act.key,
            source=act.source,
            relative=act.relative,
            tags=act.tags,
            length=act.length,
            digest=act.digest,
            at_ns=now,
            expires_ns=now + LIFE_NS,
        )
        return [await self._uploads.open_upload(upload)]

    async def note(self, act: acts.NoteOffset, deed: Deed) -> Sequence[bool]:
        """Note how much of one is synced; False if it is not where the sender thinks."""
        expires = self._clock.wall_ns() + LIFE_NS
        return [
            await self._uploads.note_offset(
                act.file,
                deed.principal,
                before=act.before,
                offset=act.offset,
                length=act.length,
                expires_ns=expires,
            )
        ]

    async def end(self, act: acts.EndUpload, deed: Deed) -> Sequence[bool]:
        """Note that one was taken, or forget it and write down why its bytes are lost."""
        if act.lost:
            await self._ledger.note("upload-lost", [act.file], act.lost, deed)
        done = await self._uploads.end_upload(
            act.file, deed.principal, taken=act.taken, length=act.length
        )
        if done and not act.taken:
            await asyncio.to_thread(self._remove, [act.file])
        return [done]

    async def expire(self, at_ns: int) -> None:
        """Remove what nobody went on with.

        Raises:
            SystemFault: the ledger cannot be written.
            OSError: bytes cannot be removed; the next start does it.
        """
        over = await self._uploads.expire_uploads(at_ns)
        await asyncio.to_thread(self._remove, over)

    def _remove(self, files: Sequence[str]) -> None:
        for file in files:
            with contextlib.suppress(FileNotFoundError):  # taken, or not a byte of it ever came
                self._durable.unlink(self._folder + b"/" + staged_name(file, self._key))
