"""A file of any size sent over HTTP, by a body, by a form or in parts: bounded memory, and every byte of it."""

from __future__ import annotations

import hashlib
import itertools
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest
from measuring import GIGABYTE, MEGABYTE, need_room, size

sys.path.append(str(Path(__file__).resolve().parents[1] / "web"))

from sites import Site, web_child

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

FILE = size("FILE", 10 * GIGABYTE)
SHORT = 300 * MEGABYTE
PARTS = 8
CHILD, SERVER = 64 * MEGABYTE, 16 * MEGABYTE
"""By how much the child that speaks HTTP may grow, and the server, in which not a byte of it is."""
CONFIG = """\
version: 1
workers: 1
sources:
  upload: {http: /upload, after: delete, max_size: 100GB}
tags:
  none: {name: "*.never"}
pipelines:
  none: {when: none, steps: [read_lines, {write: out}]}
sinks:
  out: {folder: out}
"""
"""What is sent matches no pipeline: it is looked at once, for its digest, and held."""
BLOCK = bytes(range(256)) * 4096
TUS = {"tus-resumable": "1.0.0"}


def blocks(first: int, end: int) -> Iterator[bytes]:
    """Blocks of a file of which each begins with its number."""
    for number in range(first, end):
        yield b"%015d\n" % number + BLOCK[16:]


def by_body(client: httpx2.Client, count: int) -> str:
    answer = client.post("/upload?name=big.bin", content=blocks(0, count))
    assert answer.status_code == 201, answer.text
    return str(answer.json()["files"][0]["url"])


def by_form(client: httpx2.Client, count: int) -> str:
    head = b'--b\r\ncontent-disposition: form-data; name="file"; filename="big.bin"\r\n\r\n'

    def body() -> Iterator[bytes]:
        yield head
        yield from blocks(0, count)
        yield b"\r\n--b--\r\n"

    kind = {"content-type": "multipart/form-data; boundary=b"}
    answer = client.post("/upload", content=body(), headers=kind)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["files"][0]["url"])


def by_parts(client: httpx2.Client, count: int) -> str:
    said = {"upload-length": str(count * len(BLOCK)), "upload-metadata": "filename YmlnLmJpbg=="}
    location = client.post("/uploads", headers=TUS | said).headers["location"]
    kind = {"content-type": "application/offset+octet-stream"}
    edges = [count * number // PARTS for number in range(PARTS + 1)]
    for first, end in itertools.pairwise(edges):
        place = {"upload-offset": str(first * len(BLOCK))}
        answer = client.patch(location, headers=TUS | kind | place, content=blocks(first, end))
        assert answer.status_code == 204, answer.text
    return str(answer.headers["filemill-file"])


class Watch(threading.Thread):
    """The most that each of these processes holds for itself, until `end`."""

    def __init__(self, *pids: int) -> None:
        super().__init__(daemon=True)
        self._pids = pids
        self._over = threading.Event()
        self.before = {pid: own(pid) for pid in pids}
        self.most = dict(self.before)

    def run(self) -> None:
        while not self._over.wait(0.05):
            for pid in self._pids:
                self.most[pid] = max(self.most[pid], own(pid))

    def end(self) -> list[int]:
        """By how much each grew."""
        self._over.set()
        self.join()
        return [self.most[pid] - self.before[pid] for pid in self._pids]


def own(pid: int) -> int:
    """Bytes that a process holds for itself alone: the files it has mapped are the kernel's."""
    text = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"RssAnon:\s+(\d+)", text)
    assert found
    return int(found[1]) << 10


@pytest.mark.parametrize(
    ("send", "length"),
    [
        (by_body, SHORT),
        (by_form, SHORT),
        (by_parts, SHORT),
        (by_body, FILE),
        (by_parts, FILE // 5),
    ],
)
def test_a_large_upload_takes_little_memory(
    tmp_path: Path,
    record_property: Callable[[str, object], None],
    send: Callable[[httpx2.Client, int], str],
    length: int,
) -> None:
    need_room(tmp_path, length)
    count = length // len(BLOCK)
    with Site(tmp_path, CONFIG).running() as site, site.client() as client:
        client.timeout = httpx2.Timeout(600)
        for number in range(3):  # what is loaded by the first uploads is no part of a large one
            client.post(f"/upload?name=warm-{number}.bin", content=b"x" * 4 * MEGABYTE)
        server = client.get("/readyz?verbose=true").json()["server"]["pid"]
        child = web_child(site)
        assert child
        watch = Watch(child, server)
        watch.start()
        began = time.monotonic()
        url = send(client, count)
        took = time.monotonic() - began
        while client.get(url).json()["state"] != "held":
            assert time.monotonic() - began < 3_000
            time.sleep(0.2)
        of_child, of_server = watch.end()
        file = client.get(url).json()
        digest = hashlib.sha256()
        for block in blocks(0, count):
            digest.update(block)
        assert (file["size"], file["digest"]) == (count * len(BLOCK), digest.hexdigest())
        assert site.staged() == []
    record_property("MB/s", round(length / MEGABYTE / took))
    record_property("the child grew by MB", of_child // MEGABYTE)
    record_property("the server grew by MB", of_server // MEGABYTE)
    assert of_child < CHILD
    assert of_server < SERVER
