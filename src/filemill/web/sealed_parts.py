"""The bytes of an upload in parts where content is encrypted: each flush is a whole piece, sealed in memory.

What lies in `<data>/uploads` is ciphertext from the first byte on. This process seals for the recipients and can open
nothing: what it has to know of bytes that are written already it remembers, or has opened for it.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import anyio.to_thread

from filemill.durable import Durable
from filemill.encryption.age import Sealer
from filemill.encryption.pieces import Pieces, standing
from filemill.model.uploads import PartialUpload
from filemill.routing.sniffing import HEAD
from filemill.web.begun import Begun, Standing
from filemill.web.parts import Part

if TYPE_CHECKING:
    from hashlib import _Hash


class SealedPart(Part):
    """One request's share of an encrypted upload."""

    def __init__(
        self,
        data: str,
        upload: PartialUpload,
        durable: Durable,
        sealer: Sealer,
        begun: Begun,
        *,
        judged: bool,
    ) -> None:
        """`judged`: nothing is to be told from its first bytes, `begun` remembers what went on lately."""
        super().__init__(data, upload, durable, sealer.key)
        self._upload = upload
        self._begun = begun
        self._pieces = Pieces(sealer.data, upload.offset)
        known = begun.at(upload.file, upload.offset)
        self._known_at = 0 if not upload.offset else known.stored if known is not None else -1
        self._forgot = known is None and upload.offset > 0
        self._head = known.head if known is not None else b""
        self._hash: _Hash | None = None
        if upload.digest:
            given = known.digest if known is not None else None
            self._hash = given.copy() if given is not None else hashlib.sha256()
        self._judged = judged or upload.offset >= HEAD

    @property
    def stored(self) -> int:
        """Bytes of it on the disk."""
        return self._at

    async def end(self) -> None:
        """Write what came, and that it is all."""
        piece, self._buffer = self._buffer, bytearray()
        await anyio.to_thread.run_sync(self._put_last, bytes(piece))

    async def head(self) -> bytes | None:
        """The first bytes; None once they were judged."""
        return None if self._judged else self._head

    async def digest(self) -> str:
        """sha256 of all that came, hex."""
        assert self._hash is not None, "an upload without a digest is not digested"  # noqa: S101
        return self._hash.hexdigest()

    @property
    def missing(self) -> int:
        """How many bytes of what came before are needed, for the digest or the type, and not remembered."""
        if not self._forgot:
            return 0
        if self._hash is not None:
            return self._upload.offset
        return 0 if self._judged else min(self._upload.offset, HEAD)

    def learn(self, piece: bytes | bytearray) -> None:
        """The next plain bytes, as they came or as they are read back."""
        if self._hash is not None:
            self._hash.update(piece)
        if (missing := HEAD - len(self._head)) > 0 and not self._judged:
            self._head += piece[:missing]

    def noted(self) -> None:
        """The offset is noted: remember what can be gone on with."""
        self._judged = self._judged or self.offset >= HEAD
        copied = self._hash.copy() if self._hash is not None else None
        self._begun.note(
            self._upload.file,
            Standing(self.offset, self._at, b"" if self._judged else self._head, copied),
        )

    def ended(self) -> None:
        """Nobody goes on with it."""
        self._begun.forget(self._upload.file)

    def _standing(self) -> int:
        if self._known_at < 0:
            self._known_at = standing(self._descriptor, self.offset)
        return self._known_at

    def _put(self, piece: bytearray) -> None:
        self.learn(piece)
        self._write(self._pieces.add(bytes(piece)))

    def _put_last(self, piece: bytes) -> None:
        self.learn(piece)
        self._write(self._pieces.end(piece))
