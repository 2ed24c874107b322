"""No secret, key or token lies in any file of a project or in its log, however its processes were killed."""

from __future__ import annotations

import os
import random
import resource
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest

sys.path.append(str(Path(__file__).resolve().parents[1] / "web"))

from sites import web_child
from tenants import make_key
from test_secrets_stay import CONFIG, KEPT, PLACE, SALT, TABLE, Secret, spellings

import serving

pytestmark = [pytest.mark.crash, pytest.mark.slow, pytest.mark.timeout(900)]
ROUNDS = 12
CLIENTS = 6
SEED = int(os.environ.get("FILEMILL_SEED", "0"))


def send(site: Secret, key: str, number: int, over: threading.Event) -> None:
    """Send tables, good and bad, and wrong keys, until it is over."""
    count = 0
    while not over.is_set():
        count += 1
        table = TABLE if count % 3 else b"id,mail\n1,x\n"
        try:
            with site.client(key) as client:
                client.post(f"/upload?name={number}-{count}.csv&wait=1s", content=table)
                client.get(f"/files/{key}/content")
            with site.client(f"{key[:-1]}x") as wrong:
                wrong.get("/stats")
        except httpx2.HTTPError:
            over.wait(0.05)


def test_whatever_is_killed_no_secret_is_left_behind(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    dice = random.Random(SEED)
    site = Secret(tmp_path, CONFIG)
    (tmp_path / "place").write_text(PLACE)
    former = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (former[1], former[1]))  # whoever may dump, does
    keys: list[str] = []
    read = 0
    try:
        for number in range(ROUNDS):
            log = tmp_path / "server.log"
            seen = log.stat().st_size if log.exists() else 0
            server = serving.begin(tmp_path, site.environ, log)
            serving.until(lambda log=log, seen=seen: b" web " in log.read_bytes()[seen:])  # type: ignore[misc]
            keys += [make_key(site, f"key-{number}", "uploader")]
            over = threading.Event()
            senders = [
                threading.Thread(target=send, args=(site, keys[-1], each, over))
                for each in range(CLIENTS)
            ]
            for each in senders:
                each.start()
            over.wait(dice.uniform(0.2, 2))
            victim = dice.choice(["child", "server", "worker"])
            _kill(site, server.pid, victim, dice.choice([signal.SIGKILL, signal.SIGABRT]))
            over.wait(dice.uniform(0.1, 1))
            over.set()
            for each in senders:
                each.join()
            server.kill()
            server.wait()
            read = judge(site, keys)
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, former)
    record_property("files read", read)
    assert read > ROUNDS


def _kill(site: Secret, server: int, victim: str, number: int) -> None:
    pids = {"server": [server], "child": [web_child(site) or server]}
    if victim == "worker":
        tree = Path(f"/proc/{server}/task/{server}/children").read_text().split()
        pids["worker"] = [int(pid) for pid in tree if int(pid) != web_child(site)]
    for pid in pids[victim]:
        os.kill(pid, number)


def judge(site: Secret, keys: list[str]) -> int:
    """Read all there is; how many files."""
    secrets = [SALT, PLACE, site.key, *(key.rpartition("_")[2] for key in keys)]
    hidden = {way: secret for secret in secrets for way in spellings(secret)}
    pepper = (site.root / ".filemill" / "pepper").read_bytes()
    hidden |= {pepper: "the pepper", pepper.hex().encode(): "the pepper"}
    count = 0
    for path in site.root.rglob("*"):
        if not path.is_file() or path.name in KEPT or path == site.root / "place":
            continue
        count += 1
        text = path.read_bytes()
        found = [name for way, name in hidden.items() if way in text]
        assert not found, (path, found)
    return count
