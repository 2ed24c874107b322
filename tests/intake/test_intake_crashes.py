"""Kill -9 at every durable action of a claim group, then a restart: nothing lost, nothing twice."""

# ruff: noqa: ASYNC230 -- the loop has nothing else to do

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections import Counter

import apsw
import pytest
from intake_world import World

pytestmark = [pytest.mark.crash]
FILES = {b"%d.txt" % n: b"content %d" % n for n in range(3)} | {b"d/deep.txt": b"deep"}


class Case:
    """One folder of files, taken by child processes that may be killed."""

    def __init__(
        self, program: subprocess.Popen[str], base: bytes, content: bytes, **options: str
    ) -> None:
        self.program = program
        self.base, self.content, self.options = base, content, options
        world = World(base)
        for name, data in FILES.items():
            world.drop(name, data)

    def run(self, fail: str = "") -> dict[str, int] | None:
        """The counts of durable actions, or None when the process was killed."""
        case = {
            "base": os.fsdecode(self.base),
            "content": os.fsdecode(self.content),
            "options": {"settle": "10ms", **self.options},
            "fail": fail,
        }
        assert self.program.stdin is not None
        assert self.program.stdout is not None
        self.program.stdin.write(json.dumps(case) + "\n")
        self.program.stdin.flush()
        answer = self.program.stdout.readline()
        if answer == "killed\n":
            return None
        counts = json.loads(answer)
        assert isinstance(counts, dict), counts
        return counts

    def acknowledged(self) -> Counter[tuple[bytes, bytes]]:
        """(name, bytes) of every row the ledger acknowledges."""
        rows = list(
            apsw.Connection(os.fsdecode(self.base) + "/ledger").execute(
                "SELECT state, relative, content FROM file"
            )
        )
        assert all(state == "ingested" for state, _, _ in rows), rows
        found: Counter[tuple[bytes, bytes]] = Counter()
        for _, relative, content in rows:
            with open(self.content + b"/" + content.encode(), "rb") as file:
                found[bytes(relative), file.read()] += 1
        return found

    def contents(self) -> int:
        return sum(len(files) for _, _, files in os.walk(self.content))

    def left(self) -> set[bytes]:
        inbox = self.base + b"/inbox/"
        return {
            (folder + b"/" + name)[len(inbox) :].lstrip(b"/")
            for folder, _, names in os.walk(inbox)
            for name in names
        }


@pytest.fixture(scope="module")
def program():
    path = os.path.join(os.path.dirname(__file__), "intake_program.py")
    with subprocess.Popen(
        [sys.executable, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.stdin.close()


WAYS = {
    "adopt": {},
    "keep": {"after": "keep"},
    "grab": {},
}


@pytest.mark.skipif(not os.path.isdir("/dev/shm"), reason="needs a second file system")
@pytest.mark.parametrize("way", WAYS)
def test_killed_at_every_durable_action(program, tmp_path, way):
    memory = b"/dev/shm/filemill-crash-%d" % os.getpid()  # syncs cost nothing there

    def case(number: str) -> Case:
        base = memory + b"/" + number.encode()
        elsewhere = os.fsencode(tmp_path) + b"/" + number.encode()
        content = elsewhere if way == "grab" else base + b"/content"
        os.makedirs(content, mode=0o700)
        return Case(program, base, content, **WAYS[way])

    def check(tried: Case, after: str) -> None:
        assert tried.acknowledged() == Counter(dict.fromkeys(FILES.items(), 1)), after
        assert tried.left() == (set(FILES) if way == "keep" else set()), after
        assert tried.contents() == len(FILES), after

    try:
        whole = case("whole")
        counts = whole.run()
        assert counts
        check(whole, "no kill")
        assert whole.run() is not None
        check(whole, "run twice")
        killed = 0
        for name, total in sorted(counts.items()):
            for number in range(1, total + 1):
                tried = case(f"{name}-{number}")
                if tried.run(f"{name}:{number}:kill") is None:
                    killed += 1
                tried.run()
                check(tried, f"killed at {name} {number}")
        assert killed > sum(counts.values()) // 2, counts  # how files fall into groups may differ
    finally:
        shutil.rmtree(memory, ignore_errors=True)


def test_negative_control_without_recovery_the_check_fails(program, tmp_path):
    """Killed between rename and acknowledgement: the oracle must see it until a restart has mended it."""
    base = os.fsencode(tmp_path)
    os.makedirs(base + b"/content", mode=0o700)
    tried = Case(program, base, base + b"/content")
    assert tried.run("sync_group:1:kill") is None
    with pytest.raises(AssertionError):
        assert tried.acknowledged() == Counter(dict.fromkeys(FILES.items(), 1))
    tried.run()
    assert tried.acknowledged() == Counter(dict.fromkeys(FILES.items(), 1))


def test_negative_control_an_unlink_before_the_commit_loses_a_file(program, tmp_path):
    """Were originals let go before the commit, a kill there would lose them, and the oracle would say so."""
    base = os.fsencode(tmp_path)
    os.makedirs(base + b"/content", mode=0o700)
    tried = Case(program, base, base + b"/content")
    assert tried.run("sync_group:1:kill") is None
    for folder, _, names in os.walk(base + b"/content"):
        for name in names:
            os.unlink(folder + b"/" + name)
    tried.run()
    with pytest.raises(AssertionError):
        assert tried.acknowledged() == Counter(dict.fromkeys(FILES.items(), 1))


def test_orphans_unknown_to_the_ledger_are_kept_and_unfinished_copies_removed(tmp_path):
    async def work():
        world = World(os.fsencode(tmp_path))
        async with world.open(source=False):
            world.content.put(b"only copy", "abcde/orphan")
            with open(world.content_root + b"/abcde/.half.part", "wb") as out:
                out.write(b"half")
        async with world.open(source=False):
            await world.until(lambda: len(world.content.references()) == 1)
            await world.until(
                lambda: any("no row" in getattr(e, "message", "") for e in world.events)
            )
            assert world.content.references() == ["abcde/orphan"]

    asyncio.run(work())
