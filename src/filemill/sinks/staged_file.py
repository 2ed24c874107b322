"""One staged file: made, filled and closed in a worker; renamed, much later, by the server."""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import IO, cast

from filemill.durable import Durable
from filemill.encryption.age import Sealer
from filemill.encryption.pieces import PIECE, framed
from filemill.model.errors import TransientError
from filemill.model.runs import RunOrder, StagedOutput, publication_id
from filemill.sinks.compressing import Coder
from filemill.sinks.filling import Filling
from filemill.sinks.parts import Parts
from filemill.sinks.permitting import Permissions
from filemill.sinks.sealing import Encrypt, seal, spool
from filemill.sinks.unnamed import give_name, make_unnamed

_PIECES = 512
"""Pieces of one writev (the system's limit is 1,024)."""
_COPY = 64 << 20
_WRITEBACK = 8 << 20
"""Bytes after which the kernel is asked to begin writing them out, so that the sync at the end is short."""
_BESIDE = 1 << 20
"""Bytes from which hashing and writing are worth a thread: both leave the interpreter to others meanwhile."""
_COPY_ELSEWHERE = {
    *(errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.ETXTBSY),
    errno.EIO,  # only reading and writing one after the other tell whose it is
}
_PART_IN_MEMORY = 64 << 20
"""Bytes of one part; a chunk's outputs have about as many as the chunk, unless steps multiply records."""
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW


class StagedFile:
    """One output on its way: `name` is the wanted one, its bytes go to `<folder>/<publication>.<fence>`.

    Of an order with a chunk it is a part of the output, without the header, which goes before the first part only, and
    without a digest, which is taken when the parts are joined. A part is in this process's memory, where the server
    can open it until it is released: writing it to a disk would cost as much as making it. One that is too large for
    that is at `<folder>/<publication>.<fence>.<chunk>`.

    What is added waits in memory until `flush` or `close`. What is begun before it is whole has no name until then, so
    that nothing of it stays if this process is killed meanwhile. Methods that touch the disk raise OSError.
    """

    __slots__ = (
        "_beside",
        "_coder",
        "_descriptor",
        "_digest",
        "_encrypt",
        "_folder",
        "_handed",
        "_in_memory",
        "_is_unnamed",
        "_keeper",
        "_known_digest",
        "_part",
        "_parts",
        "_path",
        "_pieces",
        "_plain",
        "_publication",
        "_sink",
        "_size",
        "footer",
        "header",
        "name",
        "records",
        "waiting",
        "whole",
    )

    def __init__(  # noqa: PLR0917 -- what an output is made of
        self,
        sink: str,
        folder: bytes,
        order: RunOrder,
        name: bytes,
        parts: Parts,
        coder: Coder | None = None,
        encrypt: Encrypt | None = None,
        keeper: Sealer | None = None,
    ) -> None:
        self.name = name
        self.header = b""
        """Written before anything else."""
        self.footer = b""
        """Written behind everything else."""
        self.records = 0
        self.waiting = 0
        """Bytes added and not yet written."""
        self.whole = False
        """True for a copy of a whole file, to which no record may be added."""
        self._sink = sink
        self._folder = folder
        self._coder = coder
        """Compresses what is written, header and footer included."""
        self._encrypt = encrypt
        """Encrypts all of it when it is whole; until then it has no name."""
        self._keeper = keeper
        """Seals it, where it is a part of such an output."""
        self._plain = -1
        self._publication = publication_id(order.run, sink, name)
        self._part = order.chunk is not None
        self._parts = parts
        self._in_memory = self._part and parts.possible
        self._path = b"%s/%s.%d" % (folder, self._publication.encode(), order.fence)
        if order.chunk is not None:
            self._path += b".%d" % order.chunk.number
        self._descriptor = -1
        self._is_unnamed = False
        self._pieces: list[memoryview] = []
        self._size = 0
        self._handed = 0
        self._beside: Future[None] | None = None
        self._digest = hashlib.sha256()
        self._known_digest = ""

    @property
    def path(self) -> bytes:
        """Where it is staged."""
        if self._in_memory:
            return b"/proc/%d/fd/%d" % (os.getpid(), self._descriptor)
        return self._path

    def add(self, piece: memoryview, records: int) -> None:
        """Append encoded records, in memory; the caller never changes the buffer again."""
        self._pieces.append(piece)
        self.waiting += len(piece)
        self.records += records

    def flush(self, durable: Durable, *, last: bool = False) -> None:
        """Write what waits, the `last` of it or not; much of it in a thread, beside the work on the next chunk.

        An error of that thread is raised by the next flush or by `close`.
        """
        self._settle()
        pieces, self._pieces = self._pieces, []
        waiting, self.waiting = self.waiting, 0
        large = self._size + waiting > _PART_IN_MEMORY
        if large and self._in_memory and self._encrypt is None:
            self._to_disk(durable)
        if self._descriptor < 0:
            self._open(durable, whole=last)
            if self.header and not self._part:
                pieces.insert(0, memoryview(self.header))
        if waiting < _BESIDE:
            self._write(pieces, durable)
        else:
            self._beside = _writer().submit(self._write, pieces, durable)

    def _settle(self) -> None:
        """Wait for what is being written beside; raises its error."""
        if self._beside is not None:
            beside, self._beside = self._beside, None
            beside.result()

    def _write(self, pieces: list[memoryview], durable: Durable) -> None:
        if self._coder is not None:
            pieces = self._coder.encode(pieces)
        self._put(pieces, durable)

    def _put(self, pieces: list[memoryview], durable: Durable) -> None:
        """Append to the file what stands in it in the end."""
        for piece in pieces:
            if not self._part:
                self._digest.update(piece)
            self._size += len(piece)
        at, place = 0, self._size - sum(map(len, pieces))
        while at < len(pieces):
            # By place: what a part in memory held before may still stand behind it.
            written = os.pwritev(self._descriptor, pieces[at : at + _PIECES], place)
            place += written
            while at < len(pieces) and written >= len(pieces[at]):
                written -= len(pieces[at])
                at += 1
            if written:
                pieces[at] = pieces[at][written:]
        if self._encrypt is None and not self._part and self._size - self._handed >= _WRITEBACK:
            durable.begin_writeback(self._descriptor, self._handed, self._size - self._handed)
            self._handed = self._size

    def copy(self, source: int, order: RunOrder, durable: Durable) -> int:
        """Fill it from an open file, inside the kernel where the file systems allow it; answers with its size.

        It reads one byte more than the file should have, so that the caller notices one that is too long.
        """
        self._open(durable)
        self.whole = True
        size = order.file.size
        if self._coder is not None:
            return self._copy_coded(source, size, durable)
        copy: Callable[[int, int, int], int] = os.copy_file_range
        while self._size <= size:
            try:
                count = copy(source, self._descriptor, min(_COPY, size - self._size + 1))
            except OSError as error:
                if error.errno not in _COPY_ELSEWHERE or copy is _read_and_write:
                    raise
                copy = _read_and_write
                continue
            if count == 0:
                break
            self._size += count
        known = "" if order.file.changed else order.file.digest
        self._known_digest = known or _sha256(self._descriptor)
        return self._size

    def _copy_coded(self, source: int, size: int, durable: Durable) -> int:
        """The same through the coder; the size is that of what was read."""
        copied = 0
        while copied <= size and (piece := _read(source, min(_BESIDE, size - copied + 1))):
            copied += len(piece)
            self._write([memoryview(piece)], durable)
        return copied

    def fill(self, durable: Durable, write: Callable[[IO[bytes]], None]) -> None:
        """Have `write` put the whole content into it, as into any file that is open for writing."""
        self._open(durable)
        filling = Filling(lambda data: self._put([memoryview(data)], durable))
        try:
            write(cast(IO[bytes], filling))  # all of it that a writer of streams calls
        except Exception:
            if filling.error is not None:
                raise filling.error from None
            raise

    def close(self, durable: Durable, collision: str, permissions: Permissions) -> StagedOutput:
        """Write the rest and answer with what the ledger will know of it; not yet synced."""
        if self.footer:
            self.add(memoryview(self.footer), 0)
        if self._pieces or self._descriptor < 0:
            self.flush(durable, last=True)
        self._settle()
        if self._coder is not None:
            self._put(self._coder.end(), durable)
        if self._part and self._keeper is not None:
            self._seal_part(self._keeper, durable)
        elif self._encrypt is not None:
            self._seal(self._encrypt, durable)
        if self._is_unnamed:
            give_name(self._descriptor, self._path, durable)
            self._is_unnamed = False
        permissions.grant(self._descriptor)
        status = os.fstat(self._descriptor)
        if not self._in_memory:
            self.release()
        return StagedOutput(
            publication=self._publication,
            sink=self._sink,
            name=self.name,
            staged=self.path,
            device=status.st_dev,
            inode=status.st_ino,
            size=self._size,
            plain=self._plain,
            digest=self._known_digest or ("" if self._part else self._digest.hexdigest()),
            records=self.records,
            mode=collision,
            header=self._header_of_parts() if self._part else b"",
        )

    def _seal(self, encrypt: Encrypt, durable: Durable) -> None:
        plain, self._descriptor, self._encrypt = self._descriptor, -1, None
        try:
            self._open(durable)
            self._size, self._known_digest, self._plain = seal(encrypt, plain, self._descriptor)
        finally:
            os.close(plain)

    def _seal_part(self, keeper: Sealer, durable: Durable) -> None:
        """Put pieces in the place of the plain bytes, all of it in memory."""
        plain, size = self._descriptor, self._size
        self._descriptor, self._plain, self._size = self._parts.take(), size, 0
        try:
            for at in range(0, size, PIECE):
                piece = os.pread(plain, min(PIECE, size - at), at)
                self._put([memoryview(some) for some in framed(keeper.data, piece, at)], durable)
        finally:
            self._parts.give(plain)

    def _header_of_parts(self) -> bytes:
        """What goes before the first part: compressed and sealed apart from it, as each part is."""
        header = self.header
        if header and self._coder is not None:
            header = self._coder.apart(header)
        if header and self._keeper is not None:
            header = b"".join(framed(self._keeper.data, header))
        return header

    def release(self) -> None:
        """Close it: a part in memory is gone then, unless somebody has opened it. Idempotent."""
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            if self._in_memory:
                self._parts.give(descriptor)
            else:
                os.close(descriptor)

    def discard(self, durable: Durable) -> None:
        """Remove it, if it was made. Never raises: what stays is swept at the next start."""
        with contextlib.suppress(OSError):
            self._settle()
        with contextlib.suppress(OSError):
            self.release()
        if not self._in_memory and not self._is_unnamed:
            with contextlib.suppress(OSError):
                durable.unlink(self._path)

    def _to_disk(self, durable: Durable) -> None:
        """Go on in a file what was begun in memory."""
        memory, self._descriptor, self._in_memory = self._descriptor, -1, False
        self._open(durable)
        if memory >= 0:
            try:
                os.lseek(memory, 0, os.SEEK_SET)
                left = self._size
                while left and (moved := _read_and_write(memory, self._descriptor, left)):
                    left -= moved
            finally:
                self._parts.give(memory)

    def _open(self, durable: Durable, *, whole: bool = False) -> None:
        """Make it. What is `whole` is written at once, so that it may have its name from the start."""
        if self._in_memory:
            self._descriptor = self._parts.take()
            return
        if self._encrypt is not None:
            self._descriptor = spool()
            return
        try:
            self._make(whole=whole)
        except FileExistsError:
            # Left by an interrupted try of the same attempt; nobody knows of it.
            durable.unlink(self._path)
            self._make(whole=whole)
        except FileNotFoundError:  # somebody removed the staging folder
            durable.make_directory(self._folder, 0o700)
            self._make(whole=whole)

    def _make(self, *, whole: bool) -> None:
        descriptor = -1 if whole else make_unnamed(self._folder)
        self._is_unnamed = descriptor >= 0
        self._descriptor = descriptor if descriptor >= 0 else os.open(self._path, _FLAGS, 0o666)


@functools.cache
def _writer() -> ThreadPoolExecutor:
    """The process's one writing thread, started when the first big output is."""
    return ThreadPoolExecutor(1, thread_name_prefix="staging")


def _read_and_write(source: int, target: int, count: int) -> int:
    """What copy_file_range does, for file systems without it."""
    data = memoryview(_read(source, min(count, 1 << 20)))
    written = 0
    while written < len(data):
        written += os.write(target, data[written:])
    return written


def _read(source: int, count: int) -> bytes:
    """Bytes of a run's own content."""
    try:
        return os.read(source, count)
    except OSError as error:
        # Its own bytes cannot be read: that is this run's trouble, not the sink's disk's.
        raise TransientError(
            f"the file's content cannot be read: {error.strerror}",
            help="look at the health of the data directory's disk (dmesg)",
        ) from error


def _sha256(descriptor: int) -> str:
    """The digest of an open file from its start, in bounded memory."""
    digest = hashlib.sha256()
    at = 0
    while piece := os.pread(descriptor, 1 << 20, at):
        digest.update(piece)
        at += len(piece)
    return digest.hexdigest()
