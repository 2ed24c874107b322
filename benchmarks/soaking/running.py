"""One soak: files arrive, people act, processes are killed, and everything is looked at all the while."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from processes import descendants

from soaking import world
from soaking.consuming import Consumer
from soaking.growing import Growth, grown, growths
from soaking.sampling import Sample, kill, look, workers_of

FILEMILL = (sys.executable, "-m", "filemill")
ACTS = (
    ("reload",),
    ("dead", "redrive", "-p", "logs", "--yes"),
    ("dead", "redrive", "-p", "bigs", "--yes"),
    ("dead", "discard", "-p", "tables", "--yes"),
    ("gc",),
)
KINDS = ("server", "tree", "worker")
BUSY = 75
FINISHES = 180.0
"""Seconds that what was dropped may take to come out after the last drop."""


@dataclass(frozen=True)
class Settings:
    """How long, how much, how often."""

    seconds: float
    sizes: world.Sizes
    sample_every: float
    act_every: float
    kill_every: float
    """Seconds between two kills, on average."""
    seed: int
    entry: Sequence[str] = FILEMILL


def for_minutes(minutes: float, seed: int, entry: Sequence[str] = FILEMILL) -> Settings:
    """Everything in proportion: a short soak sees what a long one sees, only less often."""
    seconds = minutes * 60
    short = seconds < 120
    sizes = world.Sizes(
        rate=8,
        big_every=max(4.0, min(30.0, seconds / 20)),
        big_lines=40_000 if short else 250_000,
        content=f"{max(1, round(seconds / 20))}s",
        ledger=f"{max(2, round(seconds / 12))}s",
    )
    return Settings(
        seconds=seconds,
        sizes=sizes,
        sample_every=0.5 if short else 5,
        act_every=0.2 if short else 5,
        kill_every=max(2.5, min(30.0, seconds / 20)),
        seed=seed,
        entry=entry,
    )


@dataclass
class Outcome:
    """What was seen, and what was wrong."""

    settings: Settings
    samples: list[Sample] = field(default_factory=list)
    events: list[tuple[float, str]] = field(default_factory=list)
    """Kills (`server`, `tree`, `worker`) and acts that ended well, by the second."""
    said: Counter[str] = field(default_factory=Counter)
    """How often each act ended with which exit code."""
    dropped: int = 0
    done: int = 0
    wrong: list[str] = field(default_factory=list)

    @property
    def half(self) -> float:
        """From when on no server is killed."""
        return self.settings.seconds / 2

    @property
    def growths(self) -> list[Growth]:
        """Of each measure, over the second half."""
        return growths(self._judged(), self.half)

    def judge(self) -> list[str]:
        """Everything that is not as it should be; empty when all is well."""
        return self.wrong + grown(self._judged(), self.half)

    def _judged(self) -> list[Sample]:
        """Samples under load: not those in which the rest comes out."""
        return [each for each in self.samples if each.at <= self.settings.seconds]


class Soak:
    """Runs once, in a new folder."""

    def __init__(self, root: Path, settings: Settings) -> None:
        self._root = root
        self._settings = settings
        self._chance = random.Random(settings.seed)
        self._consumer = Consumer(root)
        self._outcome = Outcome(settings)
        self._server: subprocess.Popen[bytes] | None = None
        self._version = 2
        self._began = time.monotonic()
        self._sampled = 0.0
        self._said = 0
        """Where in its log the words of the server begin that was started last."""

    def run(self) -> Outcome:
        """Soak it, let the rest come out, stop it, and judge what came out."""
        settings, outcome = self._settings, self._outcome
        world.make(self._root, settings.sizes)
        self._began = time.monotonic()
        try:
            with _beside(self._drop), _beside(self._act):
                self._kill_for(settings.seconds)
            outcome.dropped = len(self._consumer.dropped) + len(self._consumer.bigs)
            self._finish()
        finally:
            if self._server is not None:
                kill(descendants(self._server.pid))
                self._server.wait()
        outcome.done = self._consumer.done
        outcome.wrong += self._consumer.wrong
        outcome.wrong += [f"did not come out: {name}" for name in self._consumer.missing()]
        verified = self._command("verify", "--deep")
        if verified.returncode:
            outcome.wrong.append(f"verify: {verified.stdout}")
        return outcome

    @property
    def _ready(self) -> bool:
        """Whether the server that was started last said that it is."""
        with (self._root / "server.log").open("rb") as log:
            log.seek(self._said)
            return b"Ready in" in log.read(4_096)

    @property
    def _now(self) -> float:
        return time.monotonic() - self._began

    def _command(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*FILEMILL, *words],
            cwd=self._root,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=FINISHES,
            check=False,
        )

    # -- beside the server ------------------------------------------------------------------------

    def _drop(self, enough: threading.Event) -> None:
        """Small files at their rate, a big one every now and then."""
        sizes, chance = self._settings.sizes, random.Random(self._settings.seed + 1)
        number, big, due = 0, 0, time.monotonic()
        next_big = due + sizes.big_every / 4
        while not enough.wait(max(0.0, due - time.monotonic())):
            due += chance.uniform(0, 2 / sizes.rate)
            self._consumer.dropped[number] = time.time()
            world.drop(self._root, number)
            number += 1
            if time.monotonic() >= next_big:
                next_big += sizes.big_every
                name, self._consumer.bigs[big] = world.make_big(self._root, big, sizes.big_lines)
                os.rename(name, self._root / "inbox" / name.name)
                big += 1

    def _act(self, enough: threading.Event) -> None:
        """People, one command behind the other; now and then another version of the configuration.

        Each in its turn, in an order of chance: content grows as long as nobody says `gc`.
        """
        chance = random.Random(self._settings.seed + 2)
        waiting: list[tuple[str, ...]] = []
        while not enough.wait(chance.uniform(0, 2 * self._settings.act_every)):
            waiting = waiting or chance.sample(ACTS, len(ACTS))
            words = waiting.pop()
            if words == ("reload",):
                self._version += 1
                world.put(self._root, self._version, self._settings.sizes)
            self._note(words)

    def _note(self, words: tuple[str, ...]) -> int:
        done = self._command(*words)
        name = " ".join(words[:2]) if words[0] == "dead" else words[0]
        self._outcome.said[f"{name} {done.returncode}"] += 1
        if done.returncode == 0:
            self._outcome.events.append((self._now, name))
        if "Traceback" in done.stdout or "unexpected" in done.stdout:
            self._outcome.wrong.append(f"{name}: {done.stdout}")
        return done.returncode

    # -- the server -------------------------------------------------------------------------------

    def _kill_for(self, seconds: float) -> None:
        """In the first half servers and workers, then workers only; each server comes to work before it is struck."""
        lives = due = 0.0
        kinds: list[str] = []
        while self._now < seconds:
            self._turn()
            if not self._ready or not lives:
                lives = self._chance.uniform(0.5, 1.5) * self._settings.kill_every
                due = self._now + lives
            elif self._now >= due:
                lives = 0.0
                kinds = kinds or self._chance.sample(KINDS, len(KINDS))
                self._strike(kinds.pop() if self._now < self._outcome.half else "worker")

    def _strike(self, what: str) -> None:
        server = self._server
        if server is None or server.poll() is not None:
            return
        tree = descendants(server.pid)
        workers = workers_of(server.pid)
        if what == "worker" and not workers:
            return
        self._outcome.events.append((self._now, what))
        kill({"server": [server.pid], "tree": tree}.get(what) or [self._chance.choice(workers)])
        if what != "worker":
            server.wait()

    def _turn(self) -> None:
        """Keep a server running, take outputs away, take a sample where one is due."""
        if self._server is None or (code := self._server.poll()) is not None:
            if self._server is not None and code not in (-signal.SIGKILL, BUSY):
                self._outcome.wrong.append(f"the server ended with {code}: {self._last_words()}")
            with (self._root / "server.log").open("ab") as log:
                self._said = log.tell()
                self._server = subprocess.Popen(
                    [*self._settings.entry, "run", "--no-web"],
                    cwd=self._root,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
        self._consumer.take()
        if self._now - self._sampled >= self._settings.sample_every:
            self._sampled = self._now
            self._sample()
        time.sleep(0.05)

    def _sample(self) -> None:
        consumer = self._consumer
        sample = Sample(self._now, done=consumer.done, latencies=consumer.latencies())
        sample.waiting = len(consumer.dropped) + len(consumer.bigs) - consumer.done
        pid = self._server.pid if self._server and self._ready else None
        look(sample, pid, self._root / ".filemill")
        self._outcome.samples.append(sample)

    def _finish(self) -> None:
        """Under a version that works, until everything is out or the time is over; then Ctrl-C."""
        self._version += 2 - self._version % 2
        world.put(self._root, self._version, self._settings.sizes)
        ends, due = time.monotonic() + FINISHES, 0.0
        reloaded = False
        while self._consumer.missing() and time.monotonic() < ends:
            self._turn()
            if time.monotonic() >= due:
                reloaded = reloaded or self._note(("reload",)) == 0
                if reloaded:
                    self._note(ACTS[1])
                    self._note(ACTS[2])
                due = time.monotonic() + 3
        time.sleep(1)  # what comes out twice comes now
        self._consumer.take(at_once=True)
        server = self._server
        if server is None or server.poll() is not None:
            self._outcome.wrong.append(f"no server runs at the end: {self._last_words()}")
            return
        server.send_signal(signal.SIGINT)
        try:
            code = server.wait(60)
        except subprocess.TimeoutExpired:
            self._outcome.wrong.append(f"does not stop: {self._last_words()}")
            return
        if code:
            self._outcome.wrong.append(f"stopped with exit code {code}: {self._last_words()}")
        self._consumer.take(at_once=True)

    def _last_words(self) -> str:
        return (self._root / "server.log").read_text(errors="replace")[-2_000:]


@contextmanager
def _beside(work: Callable[[threading.Event], None]) -> Iterator[None]:
    """Let it work in a thread until the block ends."""
    enough = threading.Event()
    thread = threading.Thread(target=work, args=(enough,))
    thread.start()
    try:
        yield
    finally:
        enough.set()
        thread.join()
