"""A server is killed at random under load while its configuration changes, dead runs are redriven and `gc` runs.

Every fifth file dies under every second version, and people redrive it; `gc` takes rows and bytes of what is done away
at once. So what was published twice, or not at all, no ledger tells at the end: the outputs do, line by line.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import versions
from program import Program, wait_for

MODULE = """\
MARK = {number}


def stamp(row: dict, *, config: str) -> dict:
    if MARK % 2 and int(row["line"].split()[1]) % 5 == 0:
        raise ValueError("not under this version")
    return {{"line": f"{{row['line']}} config={{config}} module={{MARK}}"}}
"""
ACTS = (
    ("dead", "redrive", "--all", "--yes"),
    ("gc", "--older-than", "1ms", "--yes"),
    ("reload",),
)
LIVE = "SELECT count(*) FROM run WHERE state NOT IN ('done', 'dead')"
DEAD = "SELECT count(*) FROM run WHERE state = 'dead'"


def act(root: Path, *words: str) -> subprocess.Popen[str]:
    """A person's command, begun."""
    return subprocess.Popen(
        [sys.executable, "-m", "filemill", *words],
        cwd=root,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@contextmanager
def acting(root: Path, chance: random.Random, said: Counter[str]) -> Iterator[None]:
    """People act, one command behind the other; some commands are killed. `said` counts how they ended."""
    enough = threading.Event()

    def work() -> None:
        while not enough.is_set():
            words = chance.choice(ACTS)
            command = act(root, *words)
            if chance.random() < 0.25:
                time.sleep(chance.uniform(0.2, 1.5))
                command.kill()
            told = command.communicate(timeout=120)[0]
            said[f"{words[0]} {command.returncode}"] += 1
            if "Traceback" in told or "unexpected" in told:
                said[told] += 1

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        enough.set()
        thread.join()


@contextmanager
def flowing(root: Path) -> Iterator[list[int]]:
    """Files keep arriving; the list holds the numbers dropped so far."""
    dropped: list[int] = []
    enough = threading.Event()

    def work() -> None:
        while not enough.wait(0.1):
            versions.drop(root, len(dropped))
            dropped.append(len(dropped))

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield dropped
    finally:
        enough.set()
        thread.join()


def judge(root: Path, total: int) -> list[str]:
    """Every line of every file is published once, by one version; nothing is left over."""
    lines: dict[int, Counter[int]] = defaultdict(Counter)
    made: dict[int, set[str]] = defaultdict(set)
    for path in root.glob("out/*/*.log"):
        for text in path.read_text().splitlines():
            words = text.split()
            lines[int(words[1])][int(words[3])] += 1
            made[int(words[1])] |= {words[5].partition("=")[2], words[6].partition("=")[2]}
    once = Counter(range(versions.LINES))
    wrong = [
        f"file {n}: {sorted(lines[n].items())}, by versions {sorted(made[n])}"
        for n in range(total)
        if lines[n] != once or len(made[n]) != 1
    ]
    wrong += [f"left in staging: {p}" for p in root.glob("out/*/.filemill/*")]
    wrong += [f"left in the inbox: {p}" for p in root.glob("inbox/*.log")]
    return wrong


def begin(root: Path, start: Callable[..., Program]) -> Program:
    """The server; one that finds a command at the data directory ends with 75 and is begun again."""
    while True:
        program = start(root, options=("--reload",))
        before = versions.outputs(root)
        wait_for(
            lambda p=program, n=before: p.process.poll() is not None or versions.outputs(root) > n,
            30,
        )
        if (code := program.process.poll()) is None:
            return program
        assert code == 75, (root / "server.log").read_text()[-3_000:]


def kill_while_everything_happens(
    root: Path, start: Callable[..., Program], *, kills: int, life: float = 2.5
) -> Counter[str]:
    """Kill servers within `life` seconds of work, let a last one under a version that works finish, and judge.

    Answers how the commands ended.
    """
    seed = int(os.environ.get("FILEMILL_SEED", str(random.randrange(1 << 30))))
    print(f"seed {seed}")
    chance = random.Random(seed)
    versions.make(root)
    versions.swap(root, 1, stamp=MODULE.format(number=1))
    said: Counter[str] = Counter()
    with flowing(root) as dropped, acting(root, random.Random(seed + 1), said):
        for number in range(2, kills + 2):
            program = begin(root, start)
            versions.swap(root, number, stamp=MODULE.format(number=number))
            time.sleep(chance.uniform(0, life))
            if chance.random() < 0.5:
                program.process.send_signal(
                    signal.SIGKILL
                )  # the server alone: its workers have to see it
                program.process.wait()
            program.kill_tree()
    total, last = len(dropped), 2 * (kills // 2 + 2)
    versions.swap(root, last, stamp=MODULE.format(number=last))
    program = start(root)
    log = root / "server.log"
    assert wait_for(lambda: not list(root.glob("inbox/*.log")), 120), log.read_text()[-3_000:]

    def ended() -> bool:
        if versions.ledger(root, LIVE)[0][0]:
            return False
        if versions.ledger(root, DEAD)[0][0]:
            act(root, *ACTS[0]).communicate(timeout=120)
            return False
        return not judge(root, total)

    wait_for(ended, 120)
    code = program.stop()
    wrong = judge(root, total)
    assert not wrong, (seed, len(wrong), wrong[:10], log.read_text()[-3_000:])
    assert code == 0
    assert not [told for told in said if "\n" in told], said
    print(total, "files", dict(said))
    return said
