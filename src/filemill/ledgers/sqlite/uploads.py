"""Uploads in parts in the SQLite ledger: `ports.uploads`. Many notes of offsets share a commit, as all requests do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from filemill.ledgers.sqlite.reading_connection import ReadingConnection
from filemill.ledgers.sqlite.sql import load
from filemill.ledgers.sqlite.transaction import Transaction
from filemill.model.uploads import PartialUpload

if TYPE_CHECKING:
    from filemill.ledgers.sqlite.writer import Writer


SQL = load("uploads.sql")
_IDS = msgspec.json.Decoder(list[str])
_TAGS = msgspec.json.Decoder(tuple[str, ...])


class SqliteUploads:
    """The part of the SQLite ledger that keeps uploads in parts. See the port for what is promised."""

    _writer: Writer

    async def open_upload(self, upload: PartialUpload) -> bool:
        """Remember an upload that begins."""
        return await self._writer.ask(lambda tx: _open(tx, upload), begins=True)

    async def note_offset(
        self,
        file: str,
        principal: str,
        *,
        before: int,
        offset: int,
        length: int | None,
        expires_ns: int,
    ) -> bool:
        """Note that an upload's bytes up to `offset` are synced."""
        row = (file, principal, before, offset, length, expires_ns)
        return await self._writer.ask(lambda tx: tx.run(SQL["note_offset"], *row) > 0)

    async def end_upload(
        self, file: str, principal: str, *, taken: bool, length: int | None = None
    ) -> bool:
        """Note that it was taken, or forget it."""
        if taken:
            return await self._writer.ask(
                lambda tx: tx.run(SQL["upload_taken"], file, principal, length) > 0
            )
        return await self._writer.ask(lambda tx: tx.run(SQL["forget_upload"], file, principal) > 0)

    async def expire_uploads(self, at_ns: int) -> list[str]:
        """Forget what is over by then."""
        return await self._writer.ask(lambda tx: _expire(tx, at_ns))

    async def open_uploads(self) -> list[str]:
        """The ids of all that may be gone on with."""
        return await self._writer.ask(lambda tx: tx.read(SQL["open_uploads"], _IDS))


class SqliteReadingUploads(ReadingConnection):
    """The part of `SqliteReading` that knows uploads in parts."""

    def upload(self, file: str) -> PartialUpload | None:
        """The upload of this id."""
        rows = self._rows("upload", file)
        return _upload(rows[0]) if rows else None

    def upload_of_key(self, principal: str, key: str) -> PartialUpload | None:
        """The upload that a principal began under this key."""
        rows = self._rows("upload_of_key", principal, key)
        return _upload(rows[0]) if rows else None


def _open(tx: Transaction, upload: PartialUpload) -> bool:
    row = (
        upload.file,
        upload.principal,
        upload.key,
        upload.source,
        upload.relative,
        msgspec.json.encode(upload.tags).decode(),
        upload.offset,
        upload.length,
        upload.digest,
        upload.at_ns,
        upload.expires_ns,
    )
    return tx.many(SQL["open_upload"], [row]) > 0


def _expire(tx: Transaction, at_ns: int) -> list[str]:
    found = tx.read(SQL["uploads_over"], _IDS, at_ns)
    if found:
        tx.run(SQL["forget_uploads"], at_ns)
    return found


def _upload(row: Any) -> PartialUpload:
    file, principal, key, source, relative, tags, state, offset, length, digest, at_ns, expires = (
        row
    )
    return PartialUpload(
        file=file,
        principal=principal,
        key=key,
        source=source,
        relative=bytes(relative),
        tags=_TAGS.decode(tags),
        offset=offset,
        length=length,
        digest=digest,
        at_ns=at_ns,
        expires_ns=expires,
        taken=state == "taken",
    )
