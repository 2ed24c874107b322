"""What people do to a server while everything happens: one command behind the other, and some of them are killed.

`said` counts how commands ended: `reload 0`, `gc 75`; and by what moved: `released`, `edited`.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

MENDED = "file,row\n{number},0\n{number},1\n{number},2\n"
"""What `dead edit` makes of a table that does not add up."""
PATIENCE = 120
TROUBLE = ("Traceback", "unexpected", "never retrieved")
Act = Callable[["People"], None]


def begin(root: Path, *words: str) -> subprocess.Popen[str]:
    """A person's command, begun."""
    return subprocess.Popen(
        [sys.executable, "-m", "filemill", *words],
        cwd=root,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


class People:
    """They act at a project folder. Each one that acts has its own."""

    def __init__(self, root: Path, chance: random.Random, said: Counter[str]) -> None:
        self.root = root
        self.said = said
        self._chance = chance
        self._backups = 0

    def act(self, name: str, *words: str, kill: float = 0.25) -> tuple[int, str]:
        """One command to its end, or to its death; how it ended, and what it told."""
        command = begin(self.root, *words)
        if self._chance.random() < kill:
            time.sleep(self._chance.uniform(0.2, 1.5))
            command.kill()
        told = command.communicate(timeout=PATIENCE)[0]
        self.note(name, command.returncode, told)
        return command.returncode, told

    def note(self, name: str, code: int, told: str) -> None:
        """Count how a command ended; what nobody should ever read is kept."""
        self.said[f"{name} {code}"] += 1
        if any(each in told for each in TROUBLE):
            self.said[told] += 1

    def once(self) -> None:
        """Any one act."""
        self._chance.choice(ACTS)(self)

    def redrive(self) -> None:
        self.act("redrive", "dead", "redrive", "-p", "logs", "--yes")

    def collect(self) -> None:
        self.act("gc", "gc", "--older-than", "1s", "--yes")

    def reload(self) -> None:
        code, told = self.act("reload", "reload")
        self.said["reloaded"] += code == 0 and "runs now" in told

    def release(self) -> None:
        _, told = self.act("release", "held", "release", "-p", "asks", "--yes")
        self.said["released"] += "released" in told

    def discard(self) -> None:
        _, told = self.act("discard", "dead", "discard", "-p", "junk", "--yes")
        self.said["discarded"] += "discarded" in told

    def replay(self) -> None:
        words = ("files", "replay", "-p", "agains", "--since", "1h", "--supersede", "--yes")
        code, told = self.act("replay", *words)
        self.said["replayed"] += code == 0 and "nothing to replay" not in told

    def edit(self, kill: float = 0.25) -> bool:
        """Mend the latest dead table, if there is one; also of a cause that somebody called mended too early.

        Answers whether one was mended.
        """
        _, told = self.act("list", "dead", "ls", "-p", "tables", "--all", "--json", kill=0)
        try:
            items = json.loads(told)["items"]
        except ValueError:  # it was refused: the data directory is being opened
            return False
        if not items:
            return False
        number = int(items[0]["name"][5:10])
        mended = self.root / "drop" / "mended.csv"
        mended.write_text(MENDED.format(number=number))
        words = ("dead", "edit", items[0]["id"], "--with", str(mended), "--yes")
        code, _ = self.act("edit", *words, kill=kill)
        self.said["edited"] += code == 0
        return code == 0

    def resolve(self) -> None:
        """Call a cause mended, whatever it is."""
        _, told = self.act("list", "dead", "ls", "--json", kill=0)
        try:
            groups = json.loads(told)["groups"]
        except ValueError:
            return
        if groups:
            code, _ = self.act("resolve", "dead", "resolve", groups[0]["group"])
            self.said["resolved"] += code == 0

    def pause(self) -> None:
        self.act("pause", "pause", "agains", "asks")
        time.sleep(self._chance.uniform(0, 1))
        self.act("resume", "resume", "agains", "asks", kill=0)

    def backfill(self) -> None:
        """The same folder again and again: each of its files is taken once."""
        if self.act("status", "status", "--json", kill=0)[1].find('"server":null') < 0:
            self.act("backfill", "backfill", "old", "--yes")

    def backup(self) -> None:
        self._backups += 1
        self.act("backup", "backup", f"backups/{id(self)}-{self._backups}")


ACTS: tuple[Act, ...] = (
    People.redrive,
    People.collect,
    People.reload,
    People.release,
    People.discard,
    People.replay,
    People.edit,
    People.resolve,
    People.pause,
    People.backfill,
    People.backup,
)


@contextmanager
def acting(people: People) -> Iterator[None]:
    """They act until the block ends."""
    enough = threading.Event()

    def work() -> None:
        while not enough.is_set():
            people.once()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        enough.set()
        thread.join()
