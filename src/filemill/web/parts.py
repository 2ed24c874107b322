"""The bytes of an upload that comes in parts, in `<data>/uploads`, from where the ledger says it stands.

What lies behind that offset was never promised and is cut off before anything is written. What is missing before it was
promised and is lost: nobody can go on with that upload.
"""

from __future__ import annotations

import hashlib
import os

import anyio.to_thread

from filemill.durable import Durable
from filemill.intake.uploaded import FOLDER, staged_name
from filemill.model.uploads import PartialUpload
from filemill.routing.sniffing import HEAD
from filemill.web.receiving import PIECE, of_disk

_READ = 1 << 20


class Lost(Exception):
    """Fewer bytes are there than were acknowledged."""


class Part:
    """One request's share of an upload. `open`, then `write`, then `sync`; `close` in any case.

    `offset` is what was written so far, `synced` what of it no power cut loses.
    """

    def __init__(self, data: str, upload: PartialUpload, durable: Durable, key: str = "") -> None:
        folder = os.path.join(os.fsencode(data), FOLDER)
        self.offset = self.synced = upload.offset
        self._folder = folder
        self._path = os.path.join(folder, staged_name(upload.file, key))
        self._durable = durable
        self._buffer = bytearray()
        self._descriptor = -1
        self._at = 0
        """Where the next bytes go to in the file."""

    @property
    def stored(self) -> int:
        """Bytes of it on the disk, where they are others than those that came; else -1."""
        return -1

    async def open(self) -> None:
        """Stand at the offset.

        Raises:
            Lost: the file is shorter than it.
            ApiError: the disk does not do it.
        """
        await anyio.to_thread.run_sync(self._open)

    async def write(self, data: bytes) -> None:
        """Take the next bytes.

        Raises:
            ApiError: 507, the disk is full; 503, it does not do it.
        """
        self.offset += len(data)
        self._buffer += data
        if len(self._buffer) >= PIECE:
            await self.flush()

    async def flush(self) -> None:
        """Write what came.

        Raises:
            ApiError: as `write`.
        """
        piece, self._buffer = self._buffer, bytearray()
        await anyio.to_thread.run_sync(self._put, piece)

    async def sync(self) -> None:
        """Make all that came durable.

        Raises:
            ApiError: as `write`.
        """
        await self.flush()
        await anyio.to_thread.run_sync(self._sync)

    async def end(self) -> None:
        """Write what came: it is all.

        Raises:
            ApiError: as `write`.
        """
        await self.flush()

    async def head(self) -> bytes | None:
        """The first bytes of the file, as far as they are written; None where they were judged, and are not known."""
        return await anyio.to_thread.run_sync(os.pread, self._descriptor, HEAD, 0)

    async def digest(self) -> str:
        """sha256 of the file, hex."""
        return await anyio.to_thread.run_sync(self._digest)

    def noted(self) -> None:
        """The ledger has the offset."""

    def ended(self) -> None:
        """It is a file now, or nobody goes on with it."""

    def close(self) -> None:
        """Let go of the file. Idempotent."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def _open(self) -> None:
        flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            # A part that is not the first finds its file, or its bytes are lost.
            self._descriptor = os.open(
                self._path, flags | (0 if self.offset else os.O_CREAT), 0o600
            )
            self._at = self._standing()
            if not 0 <= self._at <= os.fstat(self._descriptor).st_size:
                raise Lost
            os.ftruncate(self._descriptor, self._at)
        except FileNotFoundError as error:
            raise Lost from error
        except OSError as error:
            raise of_disk(error) from error

    def _standing(self) -> int:
        """Where in the file the offset is; -1: it is not there."""
        return self.offset

    def _put(self, piece: bytearray) -> None:
        self._write(piece)

    def _write(self, data: bytes | bytearray) -> None:
        view = memoryview(data)
        try:
            while view:
                count = os.pwrite(self._descriptor, view, self._at)
                view, self._at = view[count:], self._at + count
        except OSError as error:
            raise of_disk(error) from error

    def _sync(self) -> None:
        try:
            self._durable.sync_file(self._descriptor)
            if self.synced == 0:
                # Nothing of it was promised yet: nor is its name.
                self._durable.sync_directory(self._folder)
        except OSError as error:
            raise of_disk(error) from error
        self.synced = self.offset

    def _digest(self) -> str:
        digest, at = hashlib.sha256(), 0
        while piece := os.pread(self._descriptor, _READ, at):
            digest.update(piece)
            at += len(piece)
        return digest.hexdigest()
