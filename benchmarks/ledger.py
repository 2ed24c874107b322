"""Time every reading command over a ledger of a million files: `python benchmarks/ledger.py [--files N] [--keep DIR]`.

The ledger is filled in bulk, in the form in which the product leaves it (its own migrations and packed columns):
finished files with a run, an attempt, an output and two tags each, dead runs in 50 groups, held files and runs, bad
records, retries, and what is counted by minute. Then each command runs five times as a process of its own, start
included, then what `/stats` and `/metrics` ask, in one process, and the table goes into docs/performance.md. The exit
code is 1 when a command needs a second or more, or `/stats` ten milliseconds.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import apsw
from processes import Tree, free_port, last_words, wait_for_word
from run import PAGE, machine_words
from table import write_section

from filemill.durable import Durable, Failpoints
from filemill.ledgers.sqlite.opening import open_writer
from filemill.ledgers.sqlite.packing import pack_attempt, pack_facts, pack_failure
from filemill.ledgers.sqlite.reading import SqliteReading
from filemill.model.errors import FailureKind
from filemill.model.files import Facts, TagHit
from filemill.model.fingerprint import fingerprint
from filemill.model.histogram import bucket
from filemill.model.runs import Failure, RunResult, StepCount
from filemill.ports.access import Scope
from filemill.ports.clock import SystemClock
from filemill.queries import Queries

MILLION = 1_000_000
DEAD = HELD = 10_000
GROUPS = 50
BAD_FILES, BAD_EACH = 2_000, 10
RETRYING, QUEUED = 500, 2_000
LIMIT = 1.0
"""Seconds a command may take."""
STATS_LIMIT = 0.01
"""Seconds that `/stats` may ask the ledger."""
NOTHING_WAITS = "UPDATE run SET state = 'done', due_ns = NULL WHERE state IN ('queued', 'retrying')"
"""What a server would find to do first, over a ledger whose content is not there."""
_SECOND = 10**9
_DAYS = 30
_LETTERS = "abcdefghijklmnopqrstuvwxyz234567"
_PIPELINES = ("orders", "photos", "logs", "invoices", "sensors")
_PARTNERS = tuple(f"partner:{name}" for name in ("acme", "berg", "cafe", "delta", "echo"))
_CONFIG = """\
version: 1
sources: {partners: {folder: inbox, create: true, tags: ["partner:{dir}"]}}
tags:
""" + "".join(f"  {name}: {{name: '{name}-*'}}\n" for name in _PIPELINES) + "pipelines:\n" + "".join(
    f"  {name}: {{when: {name}, steps: [read_csv, {{route: {{else: out}}}}]}}\n" for name in _PIPELINES
) + "sinks: {out: {folder: out}}\n"  # fmt: skip


class Filling:
    """Fills one ledger. Everything is drawn from a fixed seed, so two runs make the same one."""

    def __init__(self, db: apsw.Connection, files: int) -> None:
        self._db = db
        self._files = files
        self._chance = random.Random(20270115)
        self._began = time.time_ns() - _DAYS * 86_400 * _SECOND
        self._apart = _DAYS * 86_400 * _SECOND // (files + DEAD + HELD + RETRYING + QUEUED + 1)
        self._number = 0
        self.ids: dict[str, str] = {}
        """An id of each kind, for the commands that show one."""

    def fill(self) -> None:
        """All of it; the most common kind first, as it comes in life: mixed would cost nothing else."""
        self._db.execute(
            "INSERT INTO revision VALUES (1, ?, ?, ?)", ("d" * 64, _CONFIG, self._began)
        )
        kinds = ["done"] * self._files + ["dead"] * DEAD + ["retrying"] * RETRYING
        kinds += ["unrouted"] * (HELD // 2) + ["held"] * (HELD // 2)
        self._chance.shuffle(kinds)
        kinds += ["queued"] * QUEUED
        for first in range(0, len(kinds), 5_000):
            with self._db:
                self._some(kinds[first : first + 5_000])
        with self._db:
            self._tally()

    def _some(self, kinds: Sequence[str]) -> None:
        rows: dict[str, list[tuple[object, ...]]] = {table: [] for table in _INSERTS}
        for kind in kinds:
            self._one(kind, rows)
        for table, values in rows.items():
            self._db.executemany(_INSERTS[table], values)

    def _one(self, kind: str, rows: dict[str, list[tuple[object, ...]]]) -> None:
        self._number += 1
        no, chance = self._number, self._chance
        at = self._began + no * self._apart
        file, run = self._id(), self._id()
        self.ids.setdefault(kind, file)
        pipeline, partner = chance.choice(_PIPELINES), chance.choice(_PARTNERS)
        name = f"{partner[8:]}/{pipeline}-{no:07}.csv".encode()
        unrouted = kind == "unrouted"
        tags = (partner,) if unrouted else (partner, pipeline)
        facts = Facts(
            file=file,
            digest="",
            media="text/csv",
            header=("order_id", "customer", "amount"),
            tags=tuple(TagHit(tag, "", f"name {pipeline}-*") for tag in tags),
        )
        over = kind == "done"
        rows["file"].append(
            (no, file, "held" if unrouted else "inspected", at + 30_000_000, b"/srv/in/" + name, name, no,
             38_400, at, f"{file[:2]}/{file}", at, at + 10_000_000, partner, " ".join(tags),
             chance.randbytes(32), pack_facts(facts), "unrouted" if unrouted else "",
             at + _SECOND if over else None)
        )  # fmt: skip
        rows["file_tag"] += [(tag, no) for tag in tags]
        if unrouted:
            return
        took = chance.randrange(50_000_000, 2 * _SECOND)
        bad = BAD_EACH if over and no % (self._files // BAD_FILES or 1) == 0 else 0
        if bad:
            self.ids.setdefault("bad", file)
        failure = self._failure(kind, pipeline)
        ended = at + took
        rows["run"].append(
            (no, run, no, pipeline, kind, ended, at, None if kind == "queued" else at, int(kind != "queued"),
             ended + 86_400 * _SECOND if kind == "retrying" else None, 412 if over else 0, bad,
             *((failure.fingerprint, failure.step, failure.error, failure.message) if failure else
               (None, "hold" if kind == "held" else None, None, "wait for ana" if kind == "held" else None)))
        )  # fmt: skip
        if kind == "queued":
            return
        steps = (StepCount("read_csv", 0, 412, took_ns=took // 2), StepCount("route", 412, 412))
        result = RunResult(run, 1, steps=steps, records=412, bad_total=bad, took_ns=took)
        rows["attempt"].append((no, at, ended, kind, pack_attempt(result), pack_failure(failure)))
        if over:
            rows["publication"].append(
                (no, file * 2, name, b"/srv/out/.filemill/" + file.encode(), no, ended)
            )
        rows["reject"] += [
            (no, i, "check", i, i + 1, "FieldCount", "3 fields, not 2") for i in range(bad)
        ]

    def _failure(self, kind: str, pipeline: str) -> Failure | None:
        if kind not in {"dead", "retrying"}:
            return None
        error = f"Error{self._chance.randrange(GROUPS // len(_PIPELINES))}"
        message = f"column 'amount' is missing ({error})"
        return Failure(
            kind=FailureKind.PERMANENT if kind == "dead" else FailureKind.TRANSIENT,
            step="check",
            error=error,
            message=message,
            help="fix the header",
            traceback='Traceback:\n  File "steps.py", line 31, in check',
            fingerprint=fingerprint(pipeline, "check", error, message),
        )

    def _tally(self) -> None:
        """Thirty days by the minute: arrivals, and the ends of each pipeline with its latencies."""
        import msgspec

        latency = msgspec.msgpack.encode({bucket(took * 10_000_000): 3 for took in range(5, 60, 5)})
        first, last = self._began // (60 * _SECOND), time.time_ns() // (60 * _SECOND)
        rows: list[tuple[object, ...]] = []
        for minute in range(first, last + 1):
            rows.append((minute, "", "ingested", 23, 0, 23 * 38_400, None))
            rows += [
                (minute, pipeline, "done", 5, 2_060, 192_000, latency) for pipeline in _PIPELINES
            ]
        self._db.executemany(_TALLY, rows)

    def _id(self) -> str:
        number = self._chance.getrandbits(65)
        return "".join(_LETTERS[(number >> (5 * place)) & 31] for place in range(13))


_TALLY = "INSERT INTO tally VALUES (?1, ?2, '', '', ?3, ?4, ?5, ?6, ?7)"
_INSERTS = {
    "file": "INSERT INTO file VALUES (?1, ?2, ?3, ?4, 'partners', ?5, ?6, 1, ?7, ?8, ?9, ?10, ?11, ?12, 'rename', "
    "'archive', 0, NULL, ?13, ?14, ?15, 'text/csv', '{}', ?16, ?17, NULL, ?18, NULL, '')",
    "file_tag": "INSERT INTO file_tag VALUES (?, ?)",
    "run": "INSERT INTO run (no, id, file, pipeline, revision, priority, state, state_ns, queued_ns, began_ns, fence, "
    "attempt, due_ns, records, bad, fingerprint, step, error, message, source) "
    "VALUES (?1, ?2, ?3, ?4, 1, 0, ?5, ?6, ?7, ?8, ?9, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, 'partners')",
    "attempt": "INSERT INTO attempt VALUES (?1, 1, 1, ?2, ?3, ?4, ?5, ?6, 1)",
    "publication": "INSERT INTO publication VALUES (?1, ?2, 1, 'out', ?3, ?4, 1, ?5, 30000, "
    "'cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd', 412, 'suffix', 'published', ?6, 0, '')",
    "reject": "INSERT INTO reject VALUES (?, ?, ?, ?, ?, 0, 40, ?, ?)",
}


def commands(ids: dict[str, str]) -> list[list[str]]:
    """Every command that reads the ledger, with what people ask it for."""
    return [
        words.split()
        for words in (
            "status",
            "files ls",
            "files ls --limit 1000 --json",
            "files ls --state dead",
            "files ls --state done",
            "files ls --state held",
            "files ls --state live",
            "files ls --tag orders",
            "files ls --tag partner:*",
            "files ls --tag orders --state dead",
            "files ls --pipeline photos",
            "files ls --since 24h",
            "files ls --since 7d --state dead",
            "files ls *0500000*",
            "files ls no-such-name",
            f"files show {ids['done'][:8]}",
            f"files show {ids['bad']}",
            "dead ls",
            "dead ls --pipeline photos --since 7d",
            "dead ls --limit 10000 --json",
            f"dead show {ids['dead']}",
            "held ls",
            "held ls --reason unrouted",
            "held ls --reason no-such-reason",
            f"held show {ids['unrouted']}",
            "tail --no-follow",
            "tail --no-follow --tag orders --state dead",
        )
    ]


def measure(project: Path, words: Sequence[str], times: int) -> tuple[list[float], float]:
    """Seconds of each of so many runs of one command as a process, and the processor time of one on average.

    Raises RuntimeError when it does not answer.
    """
    took = []
    before = os.times()
    for _ in range(times):
        began = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "filemill", *words],
            cwd=project,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        took.append(time.perf_counter() - began)
        if done.returncode != 0:
            raise RuntimeError(f"filemill {' '.join(words)}: exit {done.returncode}\n{done.stderr}")
    after = os.times()
    spent = after.children_user - before.children_user
    return took, (spent + after.children_system - before.children_system) / times


def asked_in_a_server(ledger: str, rounds: int) -> tuple[list[str], float]:
    """Rows of how long `/stats` and `/metrics` ask the ledger, and the longest median of those that keep counts."""
    rows, worst = [], 0.0
    kept = {
        "/stats": (Scope(), Queries.status),
        "/stats, key for one source": (Scope(sources=("partners",)), Queries.status),
        "/stats, key for one pipeline": (Scope(pipelines=("photos",)), Queries.status),
        "/metrics": (Scope(), Queries.standing),
    }
    counted = {"/stats, first one of a key for two pipelines": Scope(pipelines=("photos", "logs"))}
    for what, (scope, question) in (
        kept | {w: (s, Queries.status) for w, s in counted.items()}
    ).items():
        took = []
        with Queries(SqliteReading.open(ledger, scope), SystemClock()) as queries:
            for _ in range(rounds if what in kept else 1):
                began = time.perf_counter()
                question(queries)
                took.append(time.perf_counter() - began)
        middle = statistics.median(took)
        worst = max(worst, middle if what in kept else 0.0)
        rows.append(f"| {what} | {min(took):.4f} | {middle:.4f} | {max(took):.4f} | |")
        print(rows[-1], flush=True)
    return rows, worst


def asked_over_http(project: Path, times: int = 200) -> str:
    """The row of `GET /stats` of a server over a copy of this ledger, on one connection."""
    with tempfile.TemporaryDirectory(prefix="filemill-bench-", dir=project) as made:
        root = Path(made)
        data, port = root / ".filemill", free_port()
        data.mkdir(mode=0o700)
        shutil.copyfile(project / ".filemill" / "ledger.db", data / "ledger.db")
        os.chmod(data / "ledger.db", 0o600)
        db = apsw.Connection(str(data / "ledger.db"))
        db.execute(NOTHING_WAITS)
        db.close()
        (root / "filemill.yaml").write_text(_CONFIG)
        environment = {"FILEMILL__WEB__LISTEN": f"127.0.0.1:{port}"}
        tree = Tree([sys.executable, "-m", "filemill", "run"], root, environment)
        try:
            if not wait_for_word(tree, "Ready in", 120.0):
                raise RuntimeError(last_words(root))
            noted = data / "local.key"
            while not noted.exists() and tree.alive:
                time.sleep(0.01)  # what speaks HTTP is a process of its own
            key = noted.read_text().strip()
            asking = http.client.HTTPConnection("127.0.0.1", port)
            took = []
            for _ in range(times):
                began = time.perf_counter()
                asking.request("GET", "/stats", headers={"authorization": f"Bearer {key}"})
                answer = asking.getresponse()
                answer.read()
                took.append(time.perf_counter() - began)
                if answer.status != http.HTTPStatus.OK:
                    raise RuntimeError(f"/stats: {answer.status}")
        finally:
            tree.end()
    row = f"| `GET /stats`, {times} times | {min(took):.4f} | {statistics.median(took):.4f} | {max(took):.4f} | |"
    print(row, flush=True)
    return row


def build(project: Path, files: int) -> dict[str, str]:
    """A project with its ledger below `project`, made unless it is there; an id of each kind."""
    data, noted = project / ".filemill", project / "ids.json"
    if noted.exists():
        return dict(json.loads(noted.read_text()))
    data.mkdir(parents=True)
    (project / "filemill.yaml").write_text(_CONFIG)
    db = open_writer(str(data / "ledger.db"), Durable(Failpoints("bench"), sync=False), 1)
    filling = Filling(db, files)
    filling.fill()
    db.pragma("wal_checkpoint(truncate)")
    db.close()
    noted.write_text(json.dumps(filling.ids))
    return filling.ids


@contextlib.contextmanager
def _place(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        yield keep
        return
    with tempfile.TemporaryDirectory(prefix="filemill-bench-") as folder:
        yield Path(folder) / "project"


def main() -> int:
    """Fill, measure, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", type=int, default=MILLION, help="finished files")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--keep",
        type=Path,
        metavar="DIR",
        help="make it there and leave it, or use the one left there",
    )
    parser.add_argument(
        "--only", default="", metavar="WORDS", help="commands that begin so; print only"
    )
    arguments = parser.parse_args()
    with _place(arguments.keep) as project:
        began = time.perf_counter()
        ids = build(project, arguments.files)
        size = (project / ".filemill" / "ledger.db").stat().st_size / 1e9
        print(f"ledger of {size:.2f} GB in {time.perf_counter() - began:.0f} s", flush=True)
        lines = [
            "| Command | min s | median s | max s | CPU s |",
            "| --- | --: | --: | --: | --: |",
        ]
        worst = 0.0
        for words in commands(ids):
            if not " ".join(words).startswith(arguments.only):
                continue
            took, spent = measure(project, words, arguments.rounds)
            worst = max(worst, statistics.median(took))
            shown = " ".join("ID" if word in _prefixes(ids) else word for word in words)
            cells = (
                f"{min(took):.2f} | {statistics.median(took):.2f} | {max(took):.2f} | {spent:.2f}"
            )
            lines.append(f"| `filemill {shown}` | {cells} |")
            print(lines[-1], flush=True)
        asked, slowest = asked_in_a_server(str(project / ".filemill" / "ledger.db"), 20)
        lines += [*asked, asked_over_http(project)]
    if arguments.files >= MILLION and not arguments.only:
        write_section(PAGE, "ledger", lines)
        write_section(
            PAGE,
            "ledger machine",
            [f"{machine_words()} A ledger of {size:.1f} GB; {arguments.rounds} runs of each."],
        )
    return int(worst >= LIMIT or slowest >= STATS_LIMIT)


def _prefixes(ids: dict[str, str]) -> set[str]:
    return {*ids.values(), *(each[:8] for each in ids.values())}


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUTF8", "1")
    sys.exit(main())
