"""Disks that remember what they were told to write and not yet to flush: `python recording.py FOLDER name=bytes ...`.

It mounts FOLDER (FUSE, spoken here without a library) with one file for each disk. A write waits in the disk's cache
until the disk is flushed; who reads sees it at once. A *picture* is what the disks could hold if the power went at this
instant: what was flushed, and of what was only written nothing, all, the first so many, or any blocks at all, for a
drive may keep blocks in any order and tear a long write. It is taken between two requests, without stopping anybody.

Commands come by lines on standard input, each is answered by a line: `picture SEED` with the picture's number and how
many blocks waited, `show N` with nothing (the disks hold that picture now), `forget N` as well. It ends with its input.
"""

from __future__ import annotations

import ctypes
import errno
import os
import random
import select
import stat
import struct
import sys
from collections.abc import Callable

BLOCK = 4096
ZEROS = bytes(BLOCK)
MOST = 1 << 20
"""Bytes in one write."""
ROOT = 1

HEADER = struct.Struct("<IIQQIIII")
ANSWER = struct.Struct("<IiQ")
TRANSFER = struct.Struct("<QQIIQII")
"""What reads and writes begin with: handle, offset, size and flags."""

LOOKUP, FORGET, GETATTR, OPEN, READ, WRITE, STATFS, RELEASE = 1, 2, 3, 14, 15, 16, 17, 18
FSYNC, FLUSH, INIT, INTERRUPT, DESTROY, BATCH_FORGET = 20, 25, 26, 36, 38, 42
NEVER_ANSWERED = (FORGET, BATCH_FORGET, INTERRUPT)
BIG_WRITES, MAX_PAGES, DIRECT_IO = 1 << 5, 1 << 22, 1

Blocks = dict[int, bytes]
"""Blocks of a disk by number; those that are not named are zeros."""


class Disk:
    """One disk: what it was told to write, what of it is flushed, and what waits in between."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.seen: Blocks = {}
        self.flushed: Blocks = {}
        self.waiting: list[tuple[int, bytes]] = []

    def read(self, offset: int, size: int) -> bytes:
        """What was written there last."""
        end = min(offset + size, self.size)
        first = offset // BLOCK
        joined = b"".join(self.seen.get(n, ZEROS) for n in range(first, -(-end // BLOCK)))
        return joined[offset - first * BLOCK : end - first * BLOCK]

    def write(self, offset: int, data: bytes) -> None:
        """Take it into the cache."""
        first, inside = divmod(offset, BLOCK)
        if inside or len(data) % BLOCK:
            before = self.read(first * BLOCK, inside)
            end = offset + len(data)
            data = before + data + self.read(end, -end % BLOCK)
        for at in range(0, len(data), BLOCK):
            block = data[at : at + BLOCK]
            if block == ZEROS:
                block = ZEROS
            number = first + at // BLOCK
            self.seen[number] = block
            self.waiting.append((number, block))

    def flush(self) -> None:
        """Make all that was written durable."""
        self.flushed.update(self.waiting)
        self.waiting.clear()

    def picture(self, chance: random.Random) -> Blocks:
        """What it could hold if the power went now."""
        kept = dict(self.flushed)
        how = chance.choice(("nothing", "everything", "the first", "any"))
        if how == "everything":
            kept.update(self.waiting)
        elif how == "the first":
            kept.update(self.waiting[: chance.randint(0, len(self.waiting))])
        elif how == "any":
            share = chance.random()
            kept.update(each for each in self.waiting if chance.random() < share)
        return kept

    def show(self, picture: Blocks) -> None:
        """Hold this from now on."""
        self.flushed = dict(picture)
        self.seen = dict(picture)
        self.waiting.clear()


class Recorder:
    """The file system with the disks in it, and the pictures taken of them."""

    def __init__(self, folder: str, sizes: dict[str, int]) -> None:
        self.names = list(sizes)
        self.disks = [Disk(size) for size in sizes.values()]
        self.pictures: dict[int, list[Blocks]] = {}
        self.device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        self._answers: dict[int, Callable[[int, bytes], bytes | int]] = {
            INIT: self._init,
            LOOKUP: self._lookup,
            GETATTR: lambda node, _: struct.pack("<QII", 3600, 0, 0) + self._attributes(node),
            OPEN: lambda _node, _: struct.pack("<QIi", 0, DIRECT_IO, 0),
            READ: self._read,
            WRITE: self._write,
            FSYNC: self._fsync,
            STATFS: lambda _node, _: struct.pack("<5QIIII24x", 0, 0, 0, 0, 0, BLOCK, 255, BLOCK, 0),
            FLUSH: lambda _node, _: b"",
            RELEASE: lambda _node, _: b"",
            DESTROY: lambda _node, _: b"",
        }
        options = f"fd={self.device},rootmode=40000,user_id=0,group_id=0,allow_other"
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.mount(b"disks", folder.encode(), b"fuse", 0, options.encode()):
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), folder)

    def serve(self) -> None:
        """Answer requests and commands until nobody gives commands any more."""
        print("ready", flush=True)
        commands = sys.stdin.fileno()
        while True:
            ready, _, _ = select.select([self.device, commands], [], [])
            if self.device in ready and not self._request():
                return
            if commands in ready:
                line = os.read(commands, 100).decode()
                if not line:
                    return
                print(self._command(*line.split()), flush=True)

    def _command(self, word: str, number: str) -> str:
        given = int(number)
        if word == "picture":
            chance = random.Random(given)
            waiting = sum(len(disk.waiting) for disk in self.disks)
            taken = max(self.pictures, default=-1) + 1
            self.pictures[taken] = [disk.picture(chance) for disk in self.disks]
            return f"{taken} {waiting}"
        if word == "show":
            for disk, blocks in zip(self.disks, self.pictures[given], strict=True):
                disk.show(blocks)
        else:
            del self.pictures[given]
        return "done"

    def _request(self) -> bool:
        """Answer one request; False when the file system is unmounted."""
        try:
            request = os.read(self.device, MOST + BLOCK)
        except OSError as error:
            if error.errno == errno.ENODEV:
                return False
            if error.errno in (errno.ENOENT, errno.EINTR, errno.EAGAIN):  # it was taken back
                return True
            raise
        _, kind, unique, node, *_ = HEADER.unpack_from(request)
        if kind in NEVER_ANSWERED:
            return True
        answering = self._answers.get(kind)
        answer = errno.ENOSYS if answering is None else answering(node, request[HEADER.size :])
        if isinstance(answer, int):
            os.write(self.device, ANSWER.pack(ANSWER.size, -answer, unique))
        else:
            os.write(self.device, ANSWER.pack(ANSWER.size + len(answer), 0, unique) + answer)
        return True

    def _init(self, _: int, body: bytes) -> bytes:
        _, minor, readahead, _ = struct.unpack_from("<IIII", body)
        flags = BIG_WRITES | MAX_PAGES
        pages = MOST // BLOCK
        return struct.pack(
            "<IIIIHHIIHH32x", 7, min(minor, 31), readahead, flags, 12, 9, MOST, 1, pages, 0
        )

    def _lookup(self, node: int, body: bytes) -> bytes | int:
        name = body.rstrip(b"\0").decode()
        if node != ROOT or name not in self.names:
            return errno.ENOENT
        found = ROOT + 1 + self.names.index(name)
        return struct.pack("<QQQQII", found, 0, 3600, 3600, 0, 0) + self._attributes(found)

    def _attributes(self, node: int) -> bytes:
        size = 0 if node == ROOT else self._disk(node).size
        mode = stat.S_IFDIR | 0o700 if node == ROOT else stat.S_IFREG | 0o600
        return struct.pack(
            "<6Q10I", node, size, size // 512, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, BLOCK, 0
        )

    def _disk(self, node: int) -> Disk:
        return self.disks[node - ROOT - 1]

    def _read(self, node: int, body: bytes) -> bytes:
        _, offset, size, *_ = TRANSFER.unpack_from(body)
        return self._disk(node).read(offset, size)

    def _write(self, node: int, body: bytes) -> bytes:
        _, offset, size, *_ = TRANSFER.unpack_from(body)
        self._disk(node).write(offset, body[TRANSFER.size : TRANSFER.size + size])
        return struct.pack("<II", size, 0)

    def _fsync(self, node: int, _: bytes) -> bytes:
        self._disk(node).flush()
        return b""


if __name__ == "__main__":
    place, *given = sys.argv[1:]
    Recorder(place, {n: int(size) for n, _, size in (x.partition("=") for x in given)}).serve()
