"""The promises that hold after any fault, each one a check of its own that says how it is broken.

They look at a world that came to rest: a fault struck, the program was started again without it, and ended. `PROMISES`
is the list; `test_promises.py` breaks each of them on a world in which all is well, and sees it named.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import apsw
import msgspec
import scenario

from filemill.ledgers.sqlite.packing import unpack_attempt

CONVERGES = 30.0
"""Seconds in which a start without a fault brings everything to an end."""
LIVE = ("claiming", "ingested", "queued", "running", "publishing", "retrying")
OF_DATA = ("ledger.db", "ledger.db-wal", "ledger.db-shm", "lock", "reserve")
"""Files that stay in the data directory, beside contents and the workers' pages."""


class Finished(msgspec.Struct):
    """A world at rest and what was seen on the way."""

    root: Path
    acknowledged: set[str]
    """Names that any life told as ingested."""
    lost: list[str]
    """Inputs whose bytes were nowhere right after the fault, though nobody was done with them."""
    saw: list[str]
    """What a consumer saw and should not have."""
    strays: list[str]
    """Processes that outlived the program."""
    took: float
    """Seconds from the start without a fault to its end."""
    attempts: int = 1
    """The most that a run may have been charged."""


class Ledger(msgspec.Struct):
    """What the ledger says, read once."""

    files: list[dict[str, Any]]
    runs: list[dict[str, Any]]
    publications: list[dict[str, Any]]
    attempts: list[dict[str, Any]]
    copies: list[dict[str, Any]]
    checks: list[str]


Check = Callable[[Finished, Ledger], Iterable[str]]


def judge(world: Finished) -> list[str]:
    """Every broken promise, each under its name; empty when all are kept."""
    ledger = read(world.root)
    return [
        f"{name}: {wrong}" for name, check in PROMISES.items() for wrong in check(world, ledger)
    ]


def read(root: Path) -> Ledger:
    """The ledger's rows, with `file` and `run` as numbers that belong together."""
    db = apsw.Connection(str(root / ".filemill/ledger.db"), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        answer = [str(row) for row in db.execute("PRAGMA integrity_check").fetchall()]
        checks = [] if answer == ["('ok',)"] else answer
        checks += [f"foreign key: {row}" for row in db.execute("PRAGMA foreign_key_check")]
        if checks:
            return Ledger([], [], [], [], [], checks)
        return Ledger(
            _rows(db, "SELECT *, CAST(relative AS TEXT) AS name FROM file"),
            _rows(db, "SELECT * FROM run"),
            _rows(db, "SELECT *, CAST(name AS TEXT) AS target FROM publication"),
            _rows(db, "SELECT run, fence, outcome, facts FROM attempt"),
            _rows(db, "SELECT name FROM failure_copy"),
            checks,
        )
    finally:
        db.close()


def _rows(db: apsw.Connection, query: str) -> list[dict[str, Any]]:
    cursor = db.execute(query)
    return [
        dict(zip((each[0] for each in cursor.getdescription()), row, strict=True)) for row in cursor
    ]


def files_below(folder: Path) -> dict[str, str]:
    """Name and text of every file below a folder."""
    return {
        str(path.relative_to(folder)): path.read_text(errors="replace")
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


# -- the promises -------------------------------------------------------------------------------------


def none_lost(world: Finished, ledger: Ledger) -> Iterable[str]:
    """Every input, and all that was acknowledged, has one row, and its runs are where they belong."""
    for each in scenario.INPUTS:
        rows = [f for f in ledger.files if f["source"] == each.source and f["name"] == each.name]
        if len(rows) != 1 or rows[0]["ingested_ns"] is None:
            yield f"{each.source}/{each.name}: {len(rows)} rows"
            continue
        runs = [run["state"] for run in ledger.runs if run["file"] == rows[0]["no"]]
        states = [f"{rows[0]['state']} {run}" for run in runs] or [rows[0]["state"]]
        if states != [each.ends] * each.runs:
            yield f"{each.source}/{each.name}: {states}, not {each.ends}"
    names = {row["name"] for row in ledger.files}
    yield from (f"acknowledged, but in no row: {name}" for name in world.acknowledged - names)
    if len(ledger.files) != len(scenario.INPUTS):
        yield f"{len(ledger.files)} rows for {len(scenario.INPUTS)} files"


def outputs_once(world: Finished, ledger: Ledger) -> Iterable[str]:
    """Each done run has exactly one whole output per sink, with the digest that the ledger noted."""
    wanted = scenario.outputs() | {f"errors/{scenario.TAKEN}": scenario.FOREIGN}
    found = {
        name: text
        for name, text in files_below(world.root / "out").items()
        if ".filemill" not in name
    }
    for name in sorted(found.keys() | wanted.keys()):
        if found.get(name) != wanted.get(name):
            yield f"{name}: {found.get(name)!r:.60}"
    done = {run["no"] for run in ledger.runs if run["state"] == "done"}
    published = Counter(
        f"{p['sink']}/{p['target']}" for p in ledger.publications if p["run"] in done
    )
    ours = {name for name in wanted if name != f"errors/{scenario.TAKEN}"}
    yield from (f"published {published[n]} times: {n}" for n in ours if published[n] != 1)
    yield from (f"published, but not ours: {n}" for n in published.keys() - ours)
    for each in ledger.publications:
        name = f"{each['sink']}/{each['target']}"
        if each["run"] in done and each["state"] != "published":
            yield f"{name} is {each['state']} of a run that is done"
        if each["run"] in done and _digest(found.get(name, "")) != each["digest"]:
            yield f"{name} is not what the ledger noted"


def nothing_half(world: Finished, _: Ledger) -> Iterable[str]:
    """Whoever opens an output as soon as it appears sees all of it."""
    yield from world.saw


def nothing_of_the_dead(world: Finished, ledger: Ledger) -> Iterable[str]:
    """What died before it was published, is held or was rejected has no output."""
    names = {each.name for each in scenario.INPUTS if not each.ends.endswith("done")}
    for name in files_below(world.root / "out"):
        stem = Path(name).name.partition(".")[0]
        yield from (f"{name} of {n}" for n in names if stem.startswith(n.partition(".")[0]))
    dead = {run["no"] for run in ledger.runs if run["state"] == "dead"}
    yield from (f"{p['target']}" for p in ledger.publications if p["run"] in dead)


def sources_kept(world: Finished, _: Ledger) -> Iterable[str]:
    """A file leaves its source when it is durable elsewhere, and not before; what is to stay stays."""
    yield from world.lost
    for folder in ("inbox", "gone", "wide"):
        yield from (f"left in {folder}: {name}" for name in files_below(world.root / folder))
    kept = {each.name: each.content for each in scenario.INPUTS if each.source == "stay"}
    if files_below(world.root / "stay") != kept:
        yield "the file that was to stay did not"
    if files_below(world.root / "elsewhere") != {scenario.LINKED: scenario.content_of(3)}:
        yield "the other link was touched"


def charged_once(world: Finished, ledger: Ledger) -> Iterable[str]:
    """No run is charged for what was not its fault, and each ends once."""
    for run in ledger.runs:
        if run["attempt"] > world.attempts or run["interruptions"] > 1:
            yield f"{run['pipeline']}: {run['attempt']} attempts, {run['interruptions']} interruptions"
        ends = sum(
            a["run"] == run["no"] and a["outcome"] in ("publishing", "dead", "held")
            for a in ledger.attempts
        )
        if ends != 1:
            yield f"{run['pipeline']}: {ends} ends"


def content_and_rows(world: Finished, ledger: Ledger) -> Iterable[str]:
    """No row without its bytes, no bytes without a row, and they are the bytes that came in."""
    folder = world.root / ".filemill/content"
    there = files_below(folder)
    inputs = {(each.source, each.name): each for each in scenario.INPUTS}
    for row in ledger.files:
        text, mine = there.pop(row["content"], None), inputs.get((row["source"], row["name"]))
        if mine is None or (text is not None) != mine.kept or (mine.kept and text != mine.content):
            yield f"{row['source']}/{row['name']}: {text!r:.40}"
        if row["digest"] and mine is not None and row["digest"].hex() != _digest(mine.content):
            yield f"{row['name']}: another digest"
    inputs_kept = {run["input"] for run in ledger.runs if run["input"]}
    yield from (f"no bytes of a kept input: {name}" for name in inputs_kept - there.keys())
    yield from (f"of no row: {name}" for name in there.keys() - inputs_kept)


def inputs_whole(world: Finished, ledger: Ledger) -> Iterable[str]:
    """A dead or held run has what its step was given, all of it, or its last attempt says why it has not."""
    folder = world.root / ".filemill/content"
    keep = {each.name for each in scenario.INPUTS if each.keeps}
    names = {row["no"]: row["name"] for row in ledger.files}
    for run in ledger.runs:
        name, reference = names[run["file"]], run["input"]
        if name not in keep:
            yield from [f"{name}: an input that nobody needs"] if reference else ()
            continue
        last = [a for a in ledger.attempts if (a["run"], a["fence"]) == (run["no"], run["fence"])]
        facts = unpack_attempt(last[0]["facts"])[0] if last else None
        if facts is None or (facts.kept is None) != (reference is None):
            yield f"{name}: its attempt and its row do not say the same"
        elif facts.kept is None:
            yield from () if facts.unkept else [f"{name}: nothing is kept, and nobody says why"]
        elif (path := folder / reference).exists() and path.stat().st_size != facts.kept[1]:
            yield f"{name}: {path.stat().st_size} bytes of {facts.kept[1]} are kept"


def failures_copied(world: Finished, ledger: Ledger) -> Iterable[str]:
    """The folder of what failed has one whole copy of each with its reason, is told of it, and has nothing else."""
    there = files_below(world.root / scenario.FAILED)
    told = Counter(row["name"] for row in ledger.copies)
    for each in scenario.INPUTS:
        stem, _, suffix = each.name.rpartition(".")
        mine = [n for n in there if n.startswith(f"{stem}.") and n.endswith(f".{suffix}")]
        if len(mine) != each.failed:
            yield f"{each.name}: {len(mine)} copies"
        for name in mine:
            if there.pop(name) != each.content:
                yield f"{name} is not whole"
            if told.pop(name, 0) != 1:
                yield f"{name}: the ledger does not say that it is there"
            try:
                reason = json.loads(there.pop(f"{name}.reason.json", ""))
            except ValueError:
                yield f"{name} has no whole reason"
            else:
                if reason["name"] != each.name:
                    yield f"{name} has the reason of {reason['name']}"
    yield from (f"nobody's: {name}" for name in there)
    yield from (f"not there, but the ledger says so: {name}" for name in told)


def ledger_sound(_: Finished, ledger: Ledger) -> Iterable[str]:
    """SQLite finds nothing wrong with the ledger."""
    yield from ledger.checks


def converged(world: Finished, ledger: Ledger) -> Iterable[str]:
    """Everything came to its end soon after the restart, and nobody had to do anything."""
    if world.took > CONVERGES:
        yield f"took {world.took:.0f} s"
    yield from (f"file {f['name']} is {f['state']}" for f in ledger.files if f["state"] in LIVE)
    yield from (
        f"a run of {r['pipeline']} is {r['state']}" for r in ledger.runs if r["state"] in LIVE
    )
    yield from (f"{p['target']} is staged" for p in ledger.publications if p["state"] == "staged")


def nothing_left_over(world: Finished, _: Ledger) -> Iterable[str]:
    """No process, open file, temporary or staged file outlives the program."""
    yield from (f"process {each}" for each in world.strays)
    yield from (f"open in process {each}" for each in _open_below(world.root))
    data = world.root / ".filemill"
    for name in files_below(data):
        folder = name.partition("/")[0]
        is_page = folder == "workers" and name.endswith(".page")
        if name.endswith(".part") or not (folder == "content" or is_page or name in OF_DATA):
            yield f"left in the data directory: {name}"
    yield from (f"left in {path.parent}: {path.name}" for path in (world.root / "tmp").iterdir())
    for place in (world.root / "out", *(world.root / source for source in scenario.SOURCES)):
        yield from (
            f"left in {path.parent.relative_to(world.root)}: {path.name}"
            for folder in place.rglob(".filemill")
            for path in folder.rglob("*")
            if path.is_file()
        )


def _open_below(root: Path) -> list[str]:
    """`pid path` of every file below a folder that a process other than this one has open."""
    found = []
    start = f"{root}/"
    for pid in (name for name in os.listdir("/proc") if name.isdigit()):
        try:
            paths = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
        except OSError:
            continue
        if int(pid) != os.getpid():
            found += [f"{pid} {path}" for path in paths if path.startswith(start)]
    return found


PROMISES: dict[str, Check] = {
    "O1 nothing lost": none_lost,
    "O2 each output once": outputs_once,
    "O3 nothing half": nothing_half,
    "O4 nothing of the dead": nothing_of_the_dead,
    "O5 sources kept until durable": sources_kept,
    "O6 charged and ended once": charged_once,
    "O7 content and rows": content_and_rows,
    "O7 inputs that are kept": inputs_whole,
    "O7 copies of what failed": failures_copied,
    "O8 the ledger is sound": ledger_sound,
    "O9 converges by itself": converged,
    "O10 nothing left over": nothing_left_over,
}


def unaccounted(root: Path) -> list[str]:
    """Inputs whose bytes are nowhere now, although the ledger does not say that they may be gone."""
    places = [root / source for source in scenario.SOURCES] + [root / ".filemill/content"]
    there = {text for place in places if place.is_dir() for text in files_below(place).values()}
    gone = [each for each in scenario.INPUTS if each.content not in there]
    if not gone:
        return []
    disposed = names_with("disposed_ns", root / ".filemill")
    return [f"gone before it was done: {e.name}" for e in gone if e.name not in disposed]


def names_with(time: str, data: Path) -> set[str]:
    """Names of the files of which the ledger has this time; read from a copy, so that recovery finds it untouched."""
    with tempfile.TemporaryDirectory() as place:
        for name in ("ledger.db", "ledger.db-wal"):
            if (data / name).exists():
                shutil.copy(data / name, place)
        db = apsw.Connection(f"{place}/ledger.db")
        try:
            query = f"SELECT CAST(relative AS TEXT) FROM file WHERE {time} IS NOT NULL"
            return {str(name) for (name,) in db.execute(query)}
        except apsw.SQLError:
            return set()  # it has no tables yet
        finally:
            db.close()
