"""A crowd sends, everything is killed: what was answered 201 is in the ledger, and nothing but 429 was refused."""

import asyncio
import re
import sqlite3
from pathlib import Path

import pytest
from crowd import Crowd
from sites import Site

import serving

CONFIG = """\
version: 1
queue: {files: 100000}
sources:
  upload: {http: /upload, max_size: 2MB, after: delete}
tags:
  text: {name: "*.txt"}
pipelines:
  texts: {when: text, steps: [read_lines, {filter: "line = ''"}, {write: out}]}
sinks:
  out: {folder: out}
"""


def resident(pid: int) -> int:
    """Bytes that a process and its children hold for themselves."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    text = Path(f"/proc/{pid}/status").read_text()
    own = int(re.search(r"RssAnon:\s+(\d+)", text)[1]) << 10
    return own + sum(resident(int(child)) for child in children)


def kill_under(tmp_path: Path, clients: int, size: int, seconds: float) -> tuple[int, int]:
    """The whole story; how many were acknowledged, and by how many bytes memory grew after the first third."""
    site = Site(tmp_path, CONFIG)
    log = tmp_path / "server.log"
    server = serving.begin(tmp_path, site.environ, log)
    serving.until(lambda: f"web {site.url}".encode() in log.read_bytes())
    crowd = Crowd(site, clients, size)
    held: list[int] = []

    async def watch() -> None:
        while server.poll() is None:
            held.append(resident(server.pid))
            await asyncio.sleep(0.5)

    async def both() -> None:
        watching = asyncio.create_task(watch())
        await crowd.send_until_cut(seconds, server.kill)
        watching.cancel()

    asyncio.run(both())
    server.wait()
    assert crowd.acknowledged
    assert set(crowd.before) <= {"429"}, crowd.before
    assert set(crowd.said) <= {"429", "503"}, crowd.said
    ledger = sqlite3.connect(tmp_path / ".filemill" / "ledger.db")
    known = {
        bytes(row[0]).decode()
        for row in ledger.execute("SELECT relative FROM file WHERE ingested_ns > 0")
    }
    ledger.close()
    missing = set(crowd.acknowledged) - known
    assert not missing, (len(missing), sorted(missing)[:5])
    early, late = held[len(held) // 3 : len(held) // 2], held[len(held) // 2 :]
    return len(crowd.acknowledged), max(late, default=0) - max(early, default=0)


@pytest.mark.crash
def test_what_a_crowd_was_told_is_true_after_a_kill(tmp_path, record_property):
    count, grown = kill_under(tmp_path, clients=40, size=200_000, seconds=4.5)
    record_property("acknowledged", count)
    record_property("grown", grown)
    assert count > 20
