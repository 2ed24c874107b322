"""What an upload over HTTP costs: `python benchmarks/uploads.py [--files N] [--big MB]`.

Beside filemill stands what one would write instead: a FastAPI endpoint with an `UploadFile` that writes the file, syncs
it and its folder, and answers (`uploads_plain.py`); it queues nothing. Both are sent the same bytes by the same client
over kept connections: small files as fast as they are answered, then one large one. The tables go into
docs/performance.md with --write. The exit code is 1 when something that was answered 201 is not there.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from disk import measuring_disk
from processes import free_port
from run import PAGE, machine_words
from table import write_section

SMALL = 4 << 10
BOUNDARY = "benchmark"
HEAD = (
    f'--{BOUNDARY}\r\ncontent-disposition: form-data; name="file"; filename="%s"\r\n'
    "content-type: application/octet-stream\r\n\r\n"
)
TAIL = f"\r\n--{BOUNDARY}--\r\n".encode()
PIECE = 1 << 20
CONFIG = """\
version: 1
sources:
  upload: {http: /upload, max_size: 20GB, after: delete}
"""


@dataclass
class Row:
    """One contestant's numbers, a value a round."""

    name: str
    begin: Callable[[Path, int], subprocess.Popen[bytes]]
    key: Callable[[Path], str]
    kept: Callable[[Path], int]
    small: list[float] = field(default_factory=list)
    large: list[float] = field(default_factory=list)
    grown: list[float] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def begin_filemill(root: Path, port: int) -> subprocess.Popen[bytes]:
    """Our server, with an http source and nothing that happens to its files."""
    (root / "filemill.yaml").write_text(CONFIG)
    return subprocess.Popen(
        [sys.executable, "-m", "filemill", "run", "--port", str(port)],
        cwd=root,
        stdout=subprocess.DEVNULL,
    )


def begin_plain(root: Path, port: int) -> subprocess.Popen[bytes]:
    """The endpoint one would write."""
    (root / "kept").mkdir()
    script = Path(__file__).with_name("uploads_plain.py")
    return subprocess.Popen([sys.executable, str(script), str(root / "kept"), str(port)], cwd=root)


def key_of(root: Path) -> str:
    """The header that opens our server."""
    return f"authorization: Bearer {(root / '.filemill' / 'local.key').read_text().strip()}\r\n"


def kept_by_filemill(root: Path) -> int:
    """Files that its ledger has acknowledged."""
    import sqlite3

    with contextlib.closing(sqlite3.connect(root / ".filemill" / "ledger.db")) as ledger:
        (count,) = ledger.execute("SELECT count(*) FROM file WHERE ingested_ns > 0").fetchone()
    return int(count)


ROWS = (
    Row("filemill", begin_filemill, key_of, kept_by_filemill),
    Row(
        "FastAPI UploadFile",
        begin_plain,
        lambda _: "",
        lambda root: len(list((root / "kept").iterdir())),
    ),
)


class Client:
    """One kept connection that sends forms as raw bytes: a client that costs little beside what it measures."""

    def __init__(self, port: int, key: str) -> None:
        self._port = port
        self._key = key

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()

    async def send(self, name: str, size: int, pieces: AsyncIterator[bytes]) -> int:
        """Send a file; the status of the answer."""
        head = (HEAD % name).encode()
        length = len(head) + size + len(TAIL)
        self._writer.write(
            f"POST /upload HTTP/1.1\r\nhost: 127.0.0.1:{self._port}\r\n{self._key}"
            f"content-type: multipart/form-data; boundary={BOUNDARY}\r\n"
            f"content-length: {length}\r\n\r\n".encode()
            + head
        )
        async for piece in pieces:
            self._writer.write(piece)
            await self._writer.drain()
        self._writer.write(TAIL)
        answer = await self._reader.readuntil(b"\r\n\r\n")
        lines = answer.decode("latin-1").lower().split("\r\n")
        rest = next(int(x.split(":")[1]) for x in lines if x.startswith("content-length:"))
        await self._reader.readexactly(rest)
        return int(lines[0].split()[1])


async def _of(data: bytes, times: int = 1) -> AsyncIterator[bytes]:
    for _ in range(times):
        yield data


async def many(row: Row, port: int, key: str, files: int, clients: int) -> float:
    """Small files from so many clients at once; files a second."""
    numbers = iter(range(files))
    data = os.urandom(SMALL // 2).hex().encode()

    async def work() -> None:
        async with Client(port, key) as client:
            for number in numbers:
                status = await client.send(f"small-{number:06}.log", len(data), _of(data))
                while status == 429:
                    await asyncio.sleep(0.05)
                    status = await client.send(f"small-{number:06}.log", len(data), _of(data))
                if status != 201:
                    row.problems.append(f"small-{number}: status {status}")

    began = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(clients)))
    return files / (time.perf_counter() - began)


async def large(row: Row, port: int, key: str, size: int) -> float:
    """One large file; MB a second."""
    data = os.urandom(PIECE // 2).hex().encode()
    began = time.perf_counter()
    async with Client(port, key) as client:
        status = await client.send("large.log", size, _of(data, size // PIECE))
    if status != 201:
        row.problems.append(f"large: status {status}")
    return size / 1e6 / (time.perf_counter() - began)


def measure(row: Row, root: Path, files: int, size: int, clients: int) -> None:
    """One server of this contestant, from its start to its end."""
    root.mkdir()
    port = free_port()
    with _served(row, root, port) as process:
        key = row.key(root)
        asyncio.run(many(Row("", row.begin, row.key, row.kept), port, key, 200, clients))
        before = _memory(process.pid)
        row.small.append(asyncio.run(many(row, port, key, files, clients)))
        row.large.append(asyncio.run(large(row, port, key, size)))
        row.grown.append((_memory(process.pid) - before) / 1e6)
        if (kept := row.kept(root)) != files + 201:
            row.problems.append(f"{files + 201} were answered, {kept} are there")


@contextlib.contextmanager
def _served(row: Row, root: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    process = row.begin(root, port)
    try:
        ends = time.monotonic() + 60
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                if row.key is not key_of or (root / ".filemill" / "local.key").exists():
                    break
            if time.monotonic() > ends or process.poll() is not None:
                raise RuntimeError(f"{row.name} does not answer")
            time.sleep(0.1)
        time.sleep(2)
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(120)


def _memory(pid: int) -> int:
    """Resident bytes of a process and all below it."""
    held = 0
    for each in (pid, *_below(pid)):
        with contextlib.suppress(OSError):
            held += int(Path(f"/proc/{each}/statm").read_text().split()[1]) * 4096
    return held


def _below(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        found = [int(x) for x in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        return found + [below for each in found for below in _below(each)]
    return []


def main() -> int:
    """Measure, print, write."""
    arguments = _arguments()
    size = arguments.big * PIECE
    with (
        measuring_disk(4 * size + (4 << 30), arguments.folder) as disk,
        tempfile.TemporaryDirectory(dir=disk.root) as made,
    ):
        for turn in range(arguments.rounds):
            for row in ROWS if turn % 2 == 0 else ROWS[::-1]:
                root = Path(made) / f"{row.name.replace(' ', '-')}-{turn}"
                measure(row, root, arguments.files, size, arguments.clients)
                print(row.name, row.small[-1], row.large[-1], *row.problems, flush=True)
        words = machine_words(disk.words)
    heads = (
        "Who",
        f"uploads of 4 KB a second, {arguments.clients} at once",
        f"one of {size / 1e9:.1f} GB, MB/s",
        "memory grown by MB",
        "What a 201 means",
    )
    lines = [
        f"| {' | '.join(heads)} |",
        "| --- | --: | --: | --: | --- |",
    ]
    meaning = ("synced, in the ledger, queued once", "synced")
    for row, means in zip(ROWS, meaning, strict=True):
        cells = [f"{statistics.median(v):,.0f}" for v in (row.small, row.large, row.grown)]
        lines.append(f"| {row.name} | {' | '.join(cells)} | {means} |")
    print("", *lines, sep="\n")
    if arguments.write:
        write_section(PAGE, "uploads", [f"{words} {arguments.rounds} rounds.", "", *lines])
    return int(any(row.problems for row in ROWS))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", type=int, default=3_000, help="small files")
    parser.add_argument("--clients", type=int, default=32, help="small files sent at once")
    parser.add_argument("--big", type=int, default=1_024, metavar="MB", help="the large file")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="write into docs/performance.md")
    parser.add_argument("--folder", type=Path, help="measure in this folder, not in a loop file")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
