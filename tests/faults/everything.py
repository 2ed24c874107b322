"""Servers are killed at random, and within reloads, while files arrive and people do everything that can be done.

Every fifth line file dies under every second version, and people redrive it; others are held and released, are bad and
mended, discarded, done again in their own place, or old and taken for the first time; `gc` takes rows and bytes of
what is done away at once. So what was published twice, or not at all, no ledger tells at the end: the outputs do,
line by line.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import people
import versions
from people import People, acting
from program import Program, children, wait_for

MODULE = """\
MARK = {number}


def stamp(row: dict, *, config: str) -> dict:
    if MARK % 2 and int(row["line"].split()[1]) % 5 == 0:
        raise ValueError("not under this version")
    return {{"line": f"{{row['line']}} config={{config}} module={{MARK}}"}}
"""
MORE = """\
  ask: {name: "ask-*.txt"}
  again: {name: "again-*.txt"}
  table: {name: "mend-*.csv"}
  junk: {name: "junk-*.csv"}
pipelines:
  asks: {when: ask, steps: [read_lines, hold: is this right?, write: plain]}
  agains: {when: again, steps: [read_lines, write: plain]}
  tables: {when: table, steps: [read_csv, write: tables]}
  junk: {when: junk, steps: [read_csv, write: tables]}
"""
KINDS = ("ask", "again", "mend", "junk")
"""What is dropped beside line files: one of these with every tenth of them."""
EACH = 10
OLD = 20
"""Files of the folder that is backfilled; their numbers begin at `FIRST_OLD`."""
FIRST_OLD = 50_000
PLAIN = "file {number} line 0\nfile {number} line 1\n"
LIVE = "SELECT count(*) FROM run WHERE state NOT IN ('done', 'dead', 'held', 'discarded')"
LEFT = "SELECT state, count(*) FROM run WHERE state NOT IN ('done', 'discarded') GROUP BY 1"


def swap(root: Path, number: int) -> None:
    """Another version in the place of the one there is."""
    text = versions.texts(number)["filemill.yaml"]
    text = text.replace("pipelines:\n", MORE)
    text += "  plain: {folder: out/plain}\n  tables: {folder: out/tables}\n"
    versions.swap(root, number, stamp=MODULE.format(number=number), filemill=text)


def make(root: Path) -> None:
    """The project at version 1, with old files to be backfilled."""
    versions.make(root)
    swap(root, 1)
    for name in ("old", "drop", "backups"):
        (root / name).mkdir()
    for number in range(FIRST_OLD, FIRST_OLD + OLD):
        (root / "old" / f"again-{number:05}.txt").write_text(PLAIN.format(number=number))


def drop(root: Path, number: int) -> None:
    """One line file, and with every tenth of them one of another kind."""
    versions.drop(root, number)
    if number % EACH == 0:
        kind = KINDS[number // EACH % len(KINDS)]
        bad = f"file,row\n{number},0\nthis row has,three,cells\n"
        text, end = (bad, "csv") if kind in ("mend", "junk") else (PLAIN, "txt")
        path = root / "drop" / f"{kind}-{number:05}.{end}"
        path.write_text(text.format(number=number))
        os.rename(path, root / "inbox" / path.name)


@contextmanager
def flowing(root: Path, most: int) -> Iterator[list[int]]:
    """Files keep arriving, up to so many; the list holds the numbers dropped so far."""
    dropped: list[int] = []
    enough = threading.Event()

    def work() -> None:
        while len(dropped) < most and not enough.wait(0.1):
            drop(root, len(dropped))
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
    wrong += [f"left in the inbox: {p}" for p in root.glob("inbox/*") if p.is_file()]
    return wrong


def judge_others(root: Path, total: int, old: range = range(0)) -> list[str]:
    """Every file of the other kinds is published once, as it was or as it was mended; junk is not."""
    wanted: Counter[str] = Counter(PLAIN.format(number=n) for n in old)
    for number in range(0, total, EACH):
        kind = KINDS[number // EACH % len(KINDS)]
        if kind != "junk":
            text = people.MENDED if kind == "mend" else PLAIN
            wanted[text.format(number=number)] += 1
    paths = [*root.glob("out/plain/*.txt"), *root.glob("out/tables/*.csv")]
    found = Counter(path.read_text() for path in paths)
    return [
        f"{found[text]} times, not {wanted[text]}: {text!r}"
        for text in (wanted | found)
        if found[text] != wanted[text]
    ]


def start_over(root: Path, start: Callable[..., Program]) -> Program:
    """The server, ready; one that finds a command at the data directory ends with 75 and is begun again."""
    log = root / "server.log"
    while True:
        begins = log.stat().st_size if log.exists() else 0
        program = start(root)

        def ready(since: int = begins) -> bool:
            return b"Ready in" in log.read_bytes()[since:]

        assert wait_for(lambda p=program, r=ready: p.process.poll() is not None or r(), 60), log
        if (code := program.process.poll()) is None:
            return program
        assert code == 75, log.read_text()[-3_000:]


def kill(program: Program, chance: random.Random) -> None:
    """All of it at once, or the server alone: its workers have to see it."""
    if chance.random() < 0.5:
        program.process.send_signal(signal.SIGKILL)
        program.process.wait()
    program.kill_tree()


def strike_in_reload(root: Path, program: Program, chance: random.Random) -> bool:
    """Kill the server between the beginning of a reload and its answer; says whether it was so.

    It has begun when the server has a child that it had not: the one that judges what lies on the disk.
    """
    before, activated = set(children(program.process.pid)), versions.reloads(root)
    reload = people.begin(root, "reload")
    began = wait_for(
        lambda: bool(set(children(program.process.pid)) - before) or reload.poll() is not None, 30
    )
    time.sleep(chance.uniform(0, 0.8))
    answered = reload.poll() is not None
    kill(program, chance)
    reload.communicate(timeout=people.PATIENCE)
    within = began and not answered and reload.returncode != 0
    print("within a reload:", within, "activated:", versions.reloads(root) > activated)
    return within


def let_reload(root: Path, someone: People, number: int) -> None:
    """One reload to its end; the server is left to live so long. Another's may have been before it."""
    before = versions.reloads(root)
    swap(root, number)
    code, told = someone.act("reload", "reload", kill=0)
    assert code == 0, told
    someone.said["reloaded"] += versions.reloads(root) > before


def kill_while_everything_happens(
    root: Path, start: Callable[..., Program], *, kills: int, life: float = 2.5
) -> Counter[str]:
    """Kill servers, every second one within a reload, let a last one under a version that works finish, and judge.

    The others reload in peace, and live up to `life` seconds more. Answers how the commands ended, with `reloaded`
    and `killed within a reload`.
    """
    seed = int(os.environ.get("FILEMILL_SEED", str(random.randrange(1 << 30))))
    print(f"seed {seed}")
    chance = random.Random(seed)
    make(root)
    said: Counter[str] = Counter()
    someone = People(root, random.Random(seed + 1), said)
    watching = People(root, random.Random(seed + 2), said)
    with flowing(root, 100 * kills) as dropped, acting(someone):
        for number in range(2, kills + 2):
            program = start_over(root, start)
            if number % 2:
                swap(root, number)
                said["killed within a reload"] += strike_in_reload(root, program, chance)
            else:
                let_reload(root, watching, number)
                time.sleep(chance.uniform(0, life))
                kill(program, chance)
    total = len(dropped)
    finish(root, start, watching, total, 2 * (kills // 2 + 2))
    wrong = judge(root, total) + judge_others(root, total, range(FIRST_OLD, FIRST_OLD + OLD))
    wrong += backups(root)
    verified = people.begin(root, "verify", "--deep")
    told = verified.communicate(timeout=people.PATIENCE)[0]
    wrong += [told] if verified.returncode else []
    assert not wrong, (seed, len(wrong), wrong[:10], (root / "server.log").read_text()[-3_000:])
    assert not [told for told in said if "\n" in told], said
    print(total, "files", dict(said))
    return said


def finish(
    root: Path, start: Callable[..., Program], someone: People, total: int, last: int
) -> None:
    """A server under version `last`, and people who do what is left to do; then Ctrl-C.

    Raises:
        AssertionError: it does not stop as it should.
    """
    swap(root, last)
    program = start_over(root, start)
    log = root / "server.log"
    assert wait_for(lambda: not list(root.glob("inbox/*.*")), 120), log.read_text()[-3_000:]
    someone.act("resume", "resume", "agains", "asks", kill=0)

    def ended() -> bool:
        if versions.ledger(root, LIVE)[0][0]:
            return False
        left = dict(versions.ledger(root, LEFT))
        if left.get("dead"):
            for words in (("redrive", "-p", "logs"), ("discard", "-p", "junk")):
                someone.act(words[0], "dead", *words, "--yes", kill=0)
            while someone.edit(kill=0):
                """One after the other."""
        if left.get("held"):
            someone.act("release", "held", "release", "-p", "asks", "--yes", kill=0)
        if left:
            return False
        someone.act("backfill", "backfill", "old", "--yes", kill=0)
        old = range(FIRST_OLD, FIRST_OLD + OLD)
        return not judge(root, total) and not judge_others(root, total, old)

    wait_for(ended, 600)
    assert program.stop() == 0, log.read_text()[-3_000:]


def backups(root: Path) -> list[str]:
    """Whatever of the backups calls itself whole is whole."""
    wrong = []
    for backup in (root / "backups").iterdir():
        if (backup / "manifest.json").exists():
            command = people.begin(root, "restore", str(backup), "--dry-run")
            told = command.communicate(timeout=people.PATIENCE)[0]
            wrong += [f"{backup.name}: {told}"] if command.returncode else []
    return wrong
