"""A ledger of any number of files, filled in bulk in the form in which the product leaves it.

Its own migrations and packed columns: finished files with a run, an attempt, an output and two tags each, dead runs in
50 groups, held files and runs, bad records, retries, and what is counted by minute.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Sequence
from pathlib import Path

import apsw

from filemill.durable import Durable, Failpoints
from filemill.ledgers.sqlite.opening import open_writer
from filemill.ledgers.sqlite.packing import pack_attempt, pack_facts, pack_failure
from filemill.model.errors import FailureKind
from filemill.model.files import Facts, TagHit
from filemill.model.fingerprint import fingerprint
from filemill.model.histogram import bucket
from filemill.model.runs import Failure, RunResult, StepCount

MILLION = 1_000_000
DEAD = HELD = 10_000
GROUPS = 50
BAD_FILES, BAD_EACH = 2_000, 10
RETRYING, QUEUED = 500, 2_000
NOTHING_WAITS = "UPDATE run SET state = 'done', due_ns = NULL WHERE state IN ('queued', 'retrying')"
"""What a server would find to do first, over a ledger whose content is not there."""
_SECOND = 10**9
_DAYS = 30
_LETTERS = "abcdefghijklmnopqrstuvwxyz234567"
_PIPELINES = ("orders", "photos", "logs", "invoices", "sensors")
_PARTNERS = tuple(f"partner:{name}" for name in ("acme", "berg", "cafe", "delta", "echo"))
CONFIG = """\
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
            "INSERT INTO revision VALUES (1, ?, ?, ?)", ("d" * 64, CONFIG, self._began)
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


def build(project: Path, files: int) -> dict[str, str]:
    """A project with its ledger below `project`, made unless it is there; an id of each kind."""
    data, noted = project / ".filemill", project / "ids.json"
    if noted.exists():
        return dict(json.loads(noted.read_text()))
    data.mkdir(parents=True)
    (project / "filemill.yaml").write_text(CONFIG)
    db = open_writer(str(data / "ledger.db"), Durable(Failpoints("bench"), sync=False), 1)
    filling = Filling(db, files)
    filling.fill()
    db.pragma("wal_checkpoint(truncate)")
    db.close()
    noted.write_text(json.dumps(filling.ids))
    return filling.ids
