"""Content on a local file system: `<root>/<bucket>/<id>`, folders 0700, written files 0600.

A bucket is a folder shared by references that are reserved together, so that a group is made durable by
syncing one folder. Buckets fill up to `BUCKET_SIZE` names and disappear when their last one does. A copy is written
as `<bucket>/.<id>.part` and renamed when whole; a crash may leave one, which `references` lists, so that recovery's
search for orphans removes it. Adopted files keep their own mode: the folders keep strangers out.

With a sealer everything is encrypted: what is copied or put in here, what is adopted by whoever made it (a worker). The
reference says so, and for whom: `<bucket>/<id>.<key>.age`; what came before keeps its own reference and stays as it is.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import BinaryIO

from filemill.durable import Durable
from filemill.encryption.age import Sealer, sealed_name

BUCKET_SIZE = 4096
"""Names per folder: small enough to list at once, large enough that making folders costs nothing."""
_COPY_PIECE = 8 << 20
_BUCKET_NAME_LENGTH = 5
_NO_KERNEL_COPY = frozenset(
    {errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EBADF, errno.EPERM}
)


class LocalContent:
    """The local content store; see `ports.content.Content` for its promises. Thread-safe."""

    def __init__(self, root: bytes, durable: Durable, sealer: Sealer | None = None) -> None:
        self.root = root
        self._sealer = sealer
        self._durable = durable
        self._lock = threading.Lock()
        self._bucket = b""
        self._reserved = BUCKET_SIZE

    @property
    def seals(self) -> bool:
        """Whether what comes in is encrypted."""
        return self._sealer is not None

    @property
    def key(self) -> str:
        """With which key what comes in is encrypted; empty: with none."""
        return "" if self._sealer is None else self._sealer.key

    def open(self) -> None:
        """Make the store's folder, durably. Idempotent.

        Raises:
            OSError: it cannot be made.
        """
        self._durable.make_directory(self.root, 0o700)

    def reserve(self, ids: Sequence[str]) -> list[str]:
        """One reference per id, all in one bucket, whose folder exists when this returns."""
        if not ids:
            return []
        with self._lock:
            if self._reserved + len(ids) > BUCKET_SIZE:
                bucket_name = ids[0][:_BUCKET_NAME_LENGTH].encode()
                self._durable.make_directory(self.root + b"/" + bucket_name, 0o700)
                # Only now: a bucket that could not be made must be tried again by the next group.
                self._bucket, self._reserved = bucket_name, 0
            self._reserved += len(ids)
            bucket = self._bucket.decode()
        if self._sealer is not None:
            key = self._sealer.key
            return [sealed_name(f"{bucket}/{each}", key) for each in ids]
        return [f"{bucket}/{each}" for each in ids]

    def path(self, reference: str) -> bytes:
        """Absolute path of the reference's bytes."""
        return self.root + b"/" + reference.encode()

    def adopt(self, source: bytes, reference: str) -> None:
        """Move the file at `source` in by rename, never replacing anything."""
        self._arrive(source, self.path(reference))

    def copy(self, source: BinaryIO, reference: str) -> int:
        """Copy an open file in from its position to its end, visible only when whole."""
        with self._part(reference) as out:
            if self._sealer is not None:
                with open(out, "wb", buffering=_COPY_PIECE, closefd=False) as target:
                    return self._sealer.content(source, target)
            return _pour(source, out)

    def put(self, data: bytes, reference: str) -> None:
        """Write small bytes, visible only when whole."""
        with self._part(reference) as out:
            _write(out, self._sealer.data(data) if self._sealer is not None else data)

    def sync(self, references: Sequence[str], directories: Iterable[bytes] = ()) -> None:
        """Make these references, and the names in `directories`, durable: one group per file system."""
        paths = [self.path(each) for each in references]
        near = {os.path.dirname(path) for path in paths}
        elsewhere: defaultdict[int, set[bytes]] = defaultdict(set)
        if folders := set(directories) - near:
            here = os.stat(self.root).st_dev
            for folder in folders:
                try:
                    device = os.stat(folder).st_dev
                except FileNotFoundError:
                    continue  # the folder is gone, and with it the name whose absence should last
                if device == here:
                    near.add(folder)
                else:
                    elsewhere[device].add(folder)
        if near:
            self._durable.sync_group(paths, near)
        for others in elsewhere.values():
            self._durable.sync_group((), others)

    def exists(self, reference: str) -> bool:
        """Say whether the reference has bytes."""
        return os.path.lexists(self.path(reference))

    def delete(self, references: Sequence[str], *, durable: bool = False) -> None:
        """Remove them and the buckets this empties; those that are gone already are no error."""
        buckets: set[bytes] = set()
        for reference in references:
            path = self.path(reference)
            buckets.add(os.path.dirname(path))
            with contextlib.suppress(FileNotFoundError):
                self._durable.unlink(path)
        with self._lock:
            current = self.root + b"/" + self._bucket
        for bucket in buckets - {current}:
            try:
                os.rmdir(bucket)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT):
                    raise
        if durable and buckets:
            there = {bucket for bucket in buckets if os.path.isdir(bucket)}
            self._durable.sync_group((), there if there == buckets else {*there, self.root})

    def references(self) -> Sequence[str]:
        """Every reference that has bytes, and every copy that a crash left unfinished."""
        found: list[str] = []
        with os.scandir(self.root) as buckets:
            for bucket in buckets:
                if bucket.is_dir(follow_symlinks=False):
                    name = os.fsdecode(bucket.name)
                    with os.scandir(bucket.path) as entries:
                        found.extend(f"{name}/{os.fsdecode(entry.name)}" for entry in entries)
        return found

    def _arrive(self, source: bytes, target: bytes) -> None:
        try:
            self._durable.rename(source, target)
        except FileNotFoundError:
            # Either the source is gone, or the bucket was emptied and removed since it was reserved.
            if os.path.isdir(os.path.dirname(target)):
                raise
            self._durable.make_directory(os.path.dirname(target), 0o700)
            self._durable.rename(source, target)

    @contextlib.contextmanager
    def _part(self, reference: str) -> Iterator[int]:
        """A descriptor to fill; renamed to the reference when the block ends well, removed when not."""
        target = self.path(reference)
        folder, name = os.path.split(target)
        part = folder + b"/." + name + b".part"
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            descriptor = os.open(part, flags, 0o600)
        except FileNotFoundError:
            self._durable.make_directory(folder, 0o700)
            descriptor = os.open(part, flags, 0o600)
        try:
            try:
                yield descriptor
            finally:
                os.close(descriptor)
            self._durable.rename(part, target)
        except BaseException:
            with contextlib.suppress(OSError):
                self._durable.unlink(part)
            raise


def _pour(source: BinaryIO, out: int) -> int:
    """Copy what is left of `source` into `out`: in the kernel when both are files that allow it."""
    try:
        taken = source.fileno()
    except (OSError, io.UnsupportedOperation):
        return _pour_through(source, out)
    os.lseek(taken, source.tell(), os.SEEK_SET)
    total = 0
    try:
        while count := os.copy_file_range(taken, out, _COPY_PIECE):
            total += count
    except OSError as error:
        if total or error.errno not in _NO_KERNEL_COPY:
            raise
    if total:
        return total
    # Nothing copied is an empty file, or a file system (proc, some FUSE) that shows its bytes only to read().
    while piece := os.read(taken, _COPY_PIECE):
        _write(out, piece)
        total += len(piece)
    return total


def _pour_through(source: BinaryIO, out: int) -> int:
    total = 0
    while piece := source.read(_COPY_PIECE):
        _write(out, piece)
        total += len(piece)
    return total


def _write(out: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(out, view) :]
