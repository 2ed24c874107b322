"""Workers are forked: by a process that has what they need, in which no thread runs, and which is not missed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from filemill.engine import fork_server, forking, frames
from filemill.engine.keepers import Keeper, say_born, say_ended
from filemill.engine.processes import children_of, is_alive
from filemill.engine.spawning import Spawned, describe_exit, end_now, spawn
from filemill.ports.describe import Question

ALL_FREE = """
import importlib, sys

class Refuses:
    def find_spec(self, name, path=None, target=None):
        if "polars" in name:
            raise ImportError(name)

worker = [name for name in sys.stdin.read().split()]
sys.meta_path.insert(0, Refuses())
for name in worker:
    try:
        importlib.import_module(name)
    except ImportError:
        continue
    print(name)
"""
ALL = """
import sys
before = set(sys.modules)
import filemill.engine.worker, filemill.engine.execution
print(*sys.modules.keys() - before)
"""


@pytest.fixture
def spawned(tmp_path: Path) -> Iterator[list[Spawned]]:
    """Workers that are ended behind the test."""
    workers: list[Spawned] = []
    yield workers
    for each in workers:
        end_now(each.keeper)
        each.connection.close()
        os.close(each.output)


def python(program: str, given: str = "") -> str:
    return subprocess.run(
        [sys.executable, "-c", program],
        input=given,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout


def begin(spawned: list[Spawned], root: Path, **environment: str) -> Spawned:
    (root / "workers").mkdir(exist_ok=True)
    page = os.fsencode(root / "workers" / f"{len(spawned)}.page")
    worker = spawn(page, str(root), os.environ | environment)
    spawned.append(worker)
    worker.connection.settimeout(30)
    return worker


def answers(worker: Spawned) -> bool:
    worker.connection.sendall(frames.pack(frames.Ask(7, Question("/"))))
    body = frames.receive(worker.connection)
    return body is not None and isinstance(frames.unpack_from_worker(body), frames.Answered)


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def command(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def name(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()


def test_all_that_needs_no_polars_is_there_before_the_fork() -> None:
    """What a worker would import for itself costs each of them, and only Polars must."""
    free = python(ALL_FREE, python(ALL)).split()
    lines = "\n".join(f"import {each}" for each in fork_server.POLARS_FREE)
    lines += "\nimport sys, threading\nprint(*sys.modules)\nassert 'polars' not in sys.modules"
    there = set(python(lines + "\nassert threading.active_count() == 1").split())
    assert [each for each in free if each.startswith("filemill")]
    assert set(free) - there - {"glob"} == set()


def test_a_worker_is_forked_and_all_are_called_by_their_names(
    tmp_path: Path, spawned: list[Spawned]
) -> None:
    first, second = begin(spawned, tmp_path), begin(spawned, tmp_path)
    assert answers(first)
    assert answers(second)
    server = parent_of(first.keeper.pid)
    assert server == parent_of(second.keeper.pid)
    assert parent_of(server) == os.getpid()
    (worker,) = children_of(first.keeper.pid)
    assert [name(pid) for pid in (server, first.keeper.pid, worker)] == [
        *("filemill-forks", "filemill-keeper", "filemill-worker")
    ]
    assert len(os.listdir(f"/proc/{server}/task")) == 1


def test_beside_a_thread_nothing_is_forked_but_started(
    tmp_path: Path, spawned: list[Spawned]
) -> None:
    """A profiler, say, begins one in every Python there is."""
    (tmp_path / "sitecustomize.py").write_text(
        "import threading, time\nthreading.Thread(target=time.sleep, args=(600,), daemon=True).start()\n"
    )
    worker = begin(spawned, tmp_path, PYTHONPATH=str(tmp_path))
    assert answers(worker)
    assert b"filemill.engine.keeping" in command(worker.keeper.pid)
    assert b"filemill.engine.fork_server" in command(parent_of(worker.keeper.pid))
    assert end_now(worker.keeper) == -signal.SIGKILL


def test_a_fork_server_that_is_killed_takes_its_workers_along_and_is_not_missed(
    tmp_path: Path, spawned: list[Spawned]
) -> None:
    first = begin(spawned, tmp_path)
    assert answers(first)
    (worker,) = children_of(first.keeper.pid)
    os.kill(parent_of(first.keeper.pid), signal.SIGKILL)
    assert first.keeper.wait(10) == -signal.SIGKILL
    assert not is_alive(worker)
    assert answers(begin(spawned, tmp_path))


def test_one_that_is_let_go_stays_for_its_workers(tmp_path: Path, spawned: list[Spawned]) -> None:
    first = begin(spawned, tmp_path)
    assert answers(first)
    server = parent_of(first.keeper.pid)
    others = [begin(spawned, tmp_path, OTHER=str(n)) for n in range(forking.KEPT)]
    assert all(map(answers, others))
    assert answers(first)
    again = begin(spawned, tmp_path)
    assert answers(again)
    assert parent_of(again.keeper.pid) != server
    assert is_alive(server)

    end_now(first.keeper)
    ends = time.monotonic() + 10
    while is_alive(server):
        assert time.monotonic() < ends
        time.sleep(0.02)
    assert answers(again)


def test_what_forbids_python_to_start_is_said(tmp_path: Path, spawned: list[Spawned]) -> None:
    (tmp_path / "msgspec.py").write_text("raise ImportError('this is not the one you want')\n")
    worker = begin(spawned, tmp_path)
    assert describe_exit(worker.keeper.wait(10)) == "its process could not be started"
    assert b"this is not the one you want" in os.read(worker.output, 1 << 16)


def test_a_worker_ends_as_it_ended(tmp_path: Path, spawned: list[Spawned]) -> None:
    killed, closed = begin(spawned, tmp_path), begin(spawned, tmp_path)
    assert answers(killed)
    assert answers(closed)
    assert killed.keeper.poll() is None
    os.kill(children_of(killed.keeper.pid)[0], signal.SIGSEGV)
    assert killed.keeper.wait(10) == -signal.SIGSEGV
    assert killed.keeper.poll() == -signal.SIGSEGV
    killed.keeper.signal(signal.SIGTERM)  # of nobody: it is gone
    closed.connection.close()
    assert closed.keeper.wait(10) == 0


def test_waiting_for_one_that_lives_has_an_end(tmp_path: Path, spawned: list[Spawned]) -> None:
    worker = begin(spawned, tmp_path)
    assert answers(worker)
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        worker.keeper.wait(0.2)
    assert time.monotonic() - began >= 0.2
    assert answers(worker)


def test_who_waits_for_one_keeps_nobody_from_ending_it(
    tmp_path: Path, spawned: list[Spawned]
) -> None:
    worker = begin(spawned, tmp_path)
    assert answers(worker)
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(worker.keeper.wait, 5)
        assert end_now(worker.keeper) == -signal.SIGKILL
        assert waiting.result() == -signal.SIGKILL


def test_one_that_is_never_born_counts_as_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("filemill.engine.keepers._BIRTH_LIMIT", 0.1)
    ours, theirs = socket.socketpair()
    keeper = Keeper(ours)
    assert keeper.poll() is None
    keeper.signal(signal.SIGTERM)
    assert keeper.poll() == -signal.SIGKILL
    with pytest.raises(OSError, match="Broken pipe"):
        theirs.send(b"born")
    theirs.close()


def test_without_pidfds_the_number_is_all_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_: int) -> int:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(os, "pidfd_open", refused)
    heard = []
    monkeypatch.setattr(os, "kill", lambda pid, number: heard.append((pid, number)))
    ours, theirs = socket.socketpair()
    say_born(theirs.fileno())
    keeper = Keeper(ours)
    keeper.signal(signal.SIGTERM)
    assert heard == [(os.getpid(), signal.SIGTERM)]
    say_ended(theirs.fileno(), signal.SIGABRT)
    theirs.close()
    assert keeper.poll() == -signal.SIGABRT
