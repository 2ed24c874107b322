"""What every peer's script shares: the work on a small file, waiting for arrivals, outputs that appear whole.

Only the standard library, because each peer runs in an environment of its own.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise
from multiprocessing import get_context
from typing import BinaryIO

ROUTES = {"ERROR": "errors", "WARN": "warnings"}
FOLDERS = ("errors", "warnings", "rest")
POLL = 0.01
"""Seconds between two looks at the inbox, where a peer brings no watcher of its own."""
FIELDS = ("ts", "level", "service", "host", "user_id", "latency_ms", "status", "trace", "msg")


def options(*works: str) -> argparse.ArgumentParser:
    """The command line that all scripts have: INBOX OUT --work WORK."""
    parser = argparse.ArgumentParser()
    parser.add_argument("inbox")
    parser.add_argument("out")
    parser.add_argument("--work", choices=works, required=True)
    return parser


def ready() -> None:
    """Tell who measures that files may arrive."""
    print("Ready", flush=True)


def arrivals(inbox: str) -> Iterator[tuple[str, str]]:
    """(path, name) of whatever lies in the inbox, again and again; the caller takes away what is done."""
    ready()
    while True:
        for name in sorted(os.listdir(inbox)):
            yield os.path.join(inbox, name), name
        time.sleep(POLL)


def upper(content: bytes) -> bytes:
    """The work on a log file: DEBUG lines are dropped, the others upper-cased."""
    lines = content.splitlines(keepends=True)
    return b"".join(line.upper() for line in lines if line.split(b" ", 2)[1] != b"DEBUG")


def logs(path: str, name: str, out: str, *, fsync: bool = False) -> None:
    """One log file: its output is there, whole, before it goes."""
    with open(path, "rb") as file:
        content = file.read()
    write_log(upper(content), name, out, fsync=fsync)
    os.unlink(path)


def write_log(content: bytes, name: str, out: str, *, fsync: bool = False) -> None:
    """Make the output of a log file appear; durable before that, where fsync is asked for."""
    made = os.path.join(out, f".{name}.tmp")
    with open(made, "wb") as output:
        output.write(content)
        if fsync:
            output.flush()
            os.fsync(output.fileno())
    os.rename(made, os.path.join(out, name))
    if fsync:
        folder = os.open(out, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


class Outputs:
    """The three outputs of the big file: under temporary names until `publish`."""

    def __init__(self, out: str, name: str) -> None:
        self._final = {folder: os.path.join(out, folder, name) for folder in FOLDERS}
        self.made = {folder: os.path.join(out, folder, f".{name}.tmp") for folder in FOLDERS}
        self._open: dict[str, BinaryIO] = {}
        for folder in FOLDERS:
            os.makedirs(os.path.join(out, folder), exist_ok=True)

    def open(self) -> dict[str, BinaryIO]:
        """The outputs by folder, to be written."""
        self._open = {folder: open(path, "wb", 1 << 20) for folder, path in self.made.items()}
        return self._open

    def publish(self) -> None:
        """Make all three appear under their names."""
        for output in self._open.values():
            output.close()
        for folder, path in self.made.items():
            os.rename(path, self._final[folder])


def each_big_file(inbox: str, out: str, work: Callable[[str, Outputs], None]) -> None:
    """Have `work` do each file that arrives, publish its outputs, then take the file away."""
    for path, name in arrivals(inbox):
        outputs = Outputs(out, name)
        work(path, outputs)
        outputs.publish()
        os.unlink(path)


def cuts(path: str, size: int, begin: int, end: int) -> Sequence[tuple[int, int]]:
    """Pieces of about `size` bytes, each of whole lines, between two places: [(begin, end), ...]."""
    edges = [begin]
    with open(path, "rb") as file:
        while edges[-1] < end:
            file.seek(min(edges[-1] + size, end))
            file.readline()
            edges.append(min(file.tell(), end))
    return list(pairwise(edges))


def piece(path: str, begin: int, end: int) -> bytes:
    """The bytes of one piece."""
    with open(path, "rb") as file:
        file.seek(begin)
        return file.read(end - begin)


Share = Callable[[str, int, int, dict[str, str]], None]
"""Works on a part of a file, (path, begin, end), and writes what it adds to each output to a file of its own."""


class Shares:
    """Processes that take a part of each file; what they write is joined in the order of the file."""

    def __init__(self, processes: int, work: Share) -> None:
        self._processes = processes
        self._work = work
        self._pool = ProcessPoolExecutor(processes, mp_context=get_context("spawn"))
        list(self._pool.map(len, [""] * 2 * processes))

    def work(self, path: str, outputs: Outputs, header: bytes = b"", heads: bytes = b"") -> None:
        """`header` is the file's first line, which is in no part, `heads` the same for outputs."""
        opened = outputs.open()
        for output in opened.values():
            output.write(heads)
            output.flush()
        whole = os.path.getsize(path)
        parts = cuts(path, (whole - len(header)) // self._processes, len(header), whole)
        names = [
            {folder: f"{made}.{number}" for folder, made in outputs.made.items()}
            for number in range(len(parts))
        ]
        doing = [
            self._pool.submit(self._work, path, begin, end, made)
            for (begin, end), made in zip(parts, names, strict=True)
        ]
        for done, made in zip(doing, names, strict=True):
            done.result()
            for folder, part in made.items():
                append(part, opened[folder])


def append(part: str, output: BinaryIO) -> None:
    """Move a part to the end of an output; the kernel copies."""
    left = os.path.getsize(part)
    with open(part, "rb") as file:
        while left:
            left -= os.sendfile(output.fileno(), file.fileno(), None, left)
    os.unlink(part)
