"""Joining the parts of a big file's chunks to one staged output, in the server: it only moves bytes.

The joined file lies where a whole one would be staged, `<root>/.filemill/<publication>.<fence>`, and grows part by
part. Nothing is synced on the way: a mark holds the digest of what was joined, so that what a power cut took is noticed
when the file is taken up again; the one sync at the end makes it durable. If that fails, the file begins anew.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os

from filemill.durable import Durable
from filemill.model.runs import Mark, StagedOutput
from filemill.ports.sink import Joined, SealedUp
from filemill.sinks.permitting import Permissions

_PIECE = 256 << 10
"""Bytes moved at once: what is read is still near the processor when it is hashed and written."""
_WRITEBACK = 8 << 20
"""Bytes after which the kernel is asked to begin writing them out, so that the sync at the end is short."""
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW


class FolderJoining:
    """One output in the joining. See `ports.sink.Joining`."""

    def __init__(
        self, durable: Durable, folder: bytes, fence: int, permissions: Permissions
    ) -> None:
        self._durable = durable
        self._folder = folder
        self._fence = fence
        self._permissions = permissions
        self._descriptor = -1
        self._first: Mark | StagedOutput | None = None
        self._path = b""
        self._size = 0
        self._records = 0
        self._handed = 0
        self._digest = hashlib.sha256()

    def go_on(self, mark: Mark) -> bool:
        """Take up what was joined before; False, and nothing of it is left, if its bytes are not there."""
        self._first, self._path, self._records = mark, mark.staged, mark.records
        try:
            self._descriptor = os.open(mark.staged, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return False
        while self._size < mark.size:
            data = os.pread(self._descriptor, min(_PIECE, mark.size - self._size), self._size)
            if not data:
                break
            self._digest.update(data)
            self._size += len(data)
        if self._size != mark.size or self._digest.hexdigest() != mark.digest:
            self.abort()
            return False
        self._durable.truncate(mark.staged, mark.size)
        self._handed = self._size
        return True

    def append(self, part: StagedOutput) -> None:
        """Join the next part; the first one's header goes before it. The part itself stays."""
        source = os.open(part.staged, os.O_RDONLY | os.O_CLOEXEC)
        try:
            first, size, digest = self._first, self._size, self._digest.copy()
            try:
                begins = first is None
                if begins:
                    self._begin(part)
                self._join(part, source, begins=begins)
            except OSError:
                # Half a part must not stand before the next try of it.
                self._first, self._size, self._digest = first, size, digest
                raise
        finally:
            os.close(source)
        self._records += part.records
        if self._size - self._handed >= _WRITEBACK:
            self._durable.begin_writeback(self._descriptor, self._handed, self._size - self._handed)
            self._handed = self._size

    def mark(self) -> Mark | None:
        """How far it is, to go on from there after a crash; None before the first part."""
        first = self._first
        if first is None:
            return None
        digest = self._digest.hexdigest()
        return Mark(
            first.publication,
            first.sink,
            first.name,
            self._path,
            self._size,
            digest,
            self._records,
            first.mode,
        )

    def finish(self) -> StagedOutput | None:
        """Sync it and answer with what the ledger will know of it; None if no part came."""
        first = self._first
        if first is None:
            return None
        self._cut_off()
        status = self._lasting(self._descriptor, self._path)
        self._close()
        self._first = None
        return self._staged(first, self._path, status, self._digest.hexdigest())

    def _cut_off(self) -> None:
        """Let go of half a part that failed and stands behind."""
        if os.fstat(self._descriptor).st_size != self._size:
            os.ftruncate(self._descriptor, self._size)

    def _lasting(self, descriptor: int, path: bytes) -> os.stat_result:
        """Make a staged file durable as it is to be published; it goes where that fails."""
        try:
            self._permissions.grant(descriptor)
            self._durable.sync_file(descriptor)
            self._durable.sync_directory(self._folder)
        except OSError:
            # The kernel may have dropped what it could not write. It still shows it, and says of the next sync that
            # all went well: whoever went on with this file would publish what is on no disk.
            with contextlib.suppress(OSError):
                self._durable.unlink(path)
            raise
        return os.fstat(descriptor)

    def _staged(
        self, first: Mark | StagedOutput, path: bytes, status: os.stat_result, digest: str
    ) -> StagedOutput:
        return StagedOutput(
            publication=first.publication,
            sink=first.sink,
            name=first.name,
            staged=path,
            device=status.st_dev,
            inode=status.st_ino,
            size=status.st_size,
            digest=digest,
            records=self._records,
            mode=first.mode,
        )

    def leave(self) -> None:
        """Let go of it as it is; what is marked can be taken up again. Idempotent."""
        self._close()

    def abort(self) -> None:
        """Remove what was joined, also after `leave`. Idempotent; never raises: what stays is swept at a start."""
        self._close()
        if self._path:
            with contextlib.suppress(OSError):
                self._durable.unlink(self._path)

    def joined(self) -> Joined | None:
        """Nothing is left to be done by a worker."""
        return None

    def sealed(self, done: SealedUp) -> None:
        """Nobody was asked."""

    def _join(self, part: StagedOutput, source: int, *, begins: bool) -> None:
        if begins:
            self._write(part.header)
        self._move(source, part.size)

    def _place(self, part: StagedOutput) -> bytes:
        """Where the output of these parts is staged."""
        return b"%s/%s.%d" % (self._folder, part.publication.encode(), self._fence)

    def _close(self) -> None:
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)

    def _begin(self, part: StagedOutput) -> None:
        self._path = self._place(part)
        self._close()
        try:
            self._descriptor = os.open(self._path, _FLAGS, 0o666)
        except FileExistsError:
            # Of an earlier try. A new file, not this one cut to nothing: ext4 would write such a file out when it is
            # closed, whether anybody syncs it or not.
            self._durable.unlink(self._path)
            self._descriptor = os.open(self._path, _FLAGS, 0o666)
        except FileNotFoundError:  # somebody removed the staging folder
            self._durable.make_directory(self._folder, 0o700)
            self._descriptor = os.open(self._path, _FLAGS, 0o666)
        self._first = part

    def _move(self, source: int, size: int) -> None:
        """Append the first bytes of an open file; behind them may stand what it held before."""
        piece = memoryview(bytearray(_PIECE))
        end = self._size + size
        while self._size < end:
            count = os.readv(source, [piece[: end - self._size]])
            if count == 0:
                raise OSError(errno.ENODATA, "a chunk's part is shorter than its worker said")
            self._write(piece[:count])

    def _write(self, data: bytes | memoryview) -> None:
        self._digest.update(data)
        view = memoryview(data)
        while view:
            written = os.pwrite(self._descriptor, view, self._size)
            self._size += written
            view = view[written:]
