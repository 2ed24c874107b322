"""Joining the parts of an output that is encrypted for its reader: as ciphertext, which the server cannot open.

Workers seal each part in pieces for whom content is encrypted; here the pieces are put one behind the other under their
places in the whole, beside where the output is to be: `<publication>.<fence>.spool`. That is what a checkpoint marks
and a crash leaves. When it is whole a worker opens it and encrypts it anew, in one stream, as one age file for who
reads it: such a file can neither be made of parts nor be gone on with.
"""

from __future__ import annotations

import contextlib
import errno
import os

import msgspec

from filemill.encryption.pieces import FRAME, MAGIC, ending, walked
from filemill.model.runs import Mark, StagedOutput
from filemill.ports.sink import Joined, SealedUp
from filemill.sinks.joining import FolderJoining

_SPOOL = b".spool"


class SealedJoining(FolderJoining):
    """One such output in the joining. See `ports.sink.Joining`."""

    _plain = 0
    """How many plain bytes are joined."""
    _done: SealedUp | None = None

    @property
    def _target(self) -> bytes:
        return self._path.removesuffix(_SPOOL)

    def go_on(self, mark: Mark) -> bool:
        """Take up what was joined before; False, and nothing of it is left, if its bytes are not there."""
        if not super().go_on(mark):
            return False
        self._plain = max((plain for plain, _ in walked(self._descriptor)), default=0)
        return True

    def append(self, part: StagedOutput) -> None:
        """Join the next part; the first one's header goes before it. The part itself stays."""
        plain = self._plain
        try:
            super().append(part)
        except OSError:
            self._plain = plain
            raise

    def joined(self) -> Joined | None:
        """After the last part: what a worker has to encrypt before `finish`; None: no part came."""
        first = self._first
        if first is None:
            return None
        self._write(ending(self._plain))
        self._cut_off()
        return Joined(first.sink, self._path, self._target)

    def sealed(self, done: SealedUp) -> None:
        """A worker has encrypted it."""
        self._done = done

    def finish(self) -> StagedOutput | None:
        """Sync what the worker made, and answer with what the ledger will know of it; None if no part came."""
        first, done = self._first, self._done
        if first is None:
            return None
        assert done is not None, "it is encrypted before it is finished"  # noqa: S101
        descriptor = os.open(self._target, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            status = self._lasting(descriptor, self._target)
        finally:
            os.close(descriptor)
        if status.st_size != done.size:
            raise OSError(errno.ENODATA, "an encrypted output is not as long as its worker said")
        self._close()
        self._first = None
        with contextlib.suppress(OSError):  # what stays is swept at a start
            self._durable.unlink(self._path)
        staged = self._staged(first, self._target, status, done.digest)
        return msgspec.structs.replace(staged, plain=done.plain)

    def abort(self) -> None:
        """Remove what was joined, and what was made of it. Never raises."""
        super().abort()
        if self._path:
            with contextlib.suppress(OSError):
                self._durable.unlink(self._target)

    def _place(self, part: StagedOutput) -> bytes:
        return super()._place(part) + _SPOOL

    def _join(self, part: StagedOutput, source: int, *, begins: bool) -> None:
        if begins:
            self._write(MAGIC)
            at = 0
            while at < len(part.header):
                sealed = self._frame(part.header[at : at + FRAME.size])
                at += FRAME.size
                self._write(part.header[at : at + sealed])
                at += sealed
        left = part.size
        while left > 0:
            sealed = self._frame(os.read(source, FRAME.size))
            self._move(source, sealed)
            left -= FRAME.size + sealed

    def _frame(self, head: bytes) -> int:
        """Put a piece's frame under its place in the whole; answers how many bytes of it follow."""
        if len(head) < FRAME.size:
            raise OSError(errno.ENODATA, "a chunk's part is shorter than its worker said")
        _, length, sealed = FRAME.unpack(head)
        self._write(FRAME.pack(self._plain, length, sealed))
        self._plain += length
        return int(sealed)
