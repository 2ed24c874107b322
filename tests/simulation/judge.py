"""What must hold: at every death, and at the end (the oracle of the fault tests, O1 to O10, for a simulated world)."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import apsw

from filemill.model import events as e
from filemill.model.plan import Plan
from simulation.world import SINKS, SOURCES, Input

MAY_STAY = ("ledger.db", "ledger.db-wal", "ledger.db-shm", "lock", "reserve")
_OMITTED = {"at_ns", "took_ns", "pid"}


class Told:
    """What the server said so far, in all its lives."""

    def __init__(self) -> None:
        self.ingested: Counter[str] = Counter()
        """By source and name."""
        self.done: Counter[str] = Counter()
        self.done_of: dict[str, tuple[str, str]] = {}
        """By run: pipeline and name of its file."""
        self.names: dict[str, str] = {}
        self.asked: list[str] = []
        """What was left for a person to do. Nobody outside takes anything away here, so that it has to be nothing."""

    def hear(self, event: e.Event) -> None:
        if isinstance(event, e.FileIngested):
            key = f"{event.source}/{os.fsdecode(event.relative)}"
            # A child may come again, of a replay of its parent's run: as another file.
            self.ingested[f"{key} {event.file}" if event.parent else key] += 1
        if isinstance(event, e.RunFinished):
            self.done[event.run] += 1
            self.done_of[event.run] = (event.pipeline, os.fsdecode(event.relative))
        if isinstance(event, e.OutputUnverified) or getattr(event, "what", "") == "recovery":
            self.asked.append(described(event))
        run = getattr(event, "run", "")
        if run:
            self.names[run] = os.fsdecode(getattr(event, "relative", b"") or b"")


def described(event: e.Event) -> str:
    """An event in one line, without what real time decides."""
    facts = []
    for name in event.__struct_fields__:
        value = getattr(event, name)
        if name in _OMITTED or name.endswith("_ns"):
            continue
        facts.append(f"{name}={value!r}")
    return f"{type(event).__name__} {' '.join(facts)}"


def input_of(name: str) -> str:
    """The input that a file, which may be a child of it, comes from."""
    return name.removesuffix("/part.txt")


def files_below(folder: str) -> dict[str, str]:
    found = {}
    for place, _, names in os.walk(folder):
        for name in sorted(names):
            path = os.path.join(place, name)
            if os.path.isfile(path):
                with open(path, encoding="utf-8", errors="replace") as file:
                    found[os.path.relpath(path, folder)] = file.read()
    return found


def outputs(plan: Plan) -> Counter[tuple[str, str]]:
    """(sink, text) of everything that consumers can see."""
    found: Counter[tuple[str, str]] = Counter()
    for sink in SINKS:
        below = files_below(f"{plan.root}/out/{sink}")
        found.update((sink, text) for name, text in below.items() if ".filemill" not in name)
    return found


def wanted(inputs: Iterable[Input], pipeline: str, name: str) -> list[tuple[str, str]]:
    """The outputs of one done run of a file of this name."""
    (each,) = [each for each in inputs if each.name == input_of(name)]
    return each.outputs(pipeline)


def after_death(plan: Plan, inputs: list[Input], told: Told) -> list[str]:
    """What was told before a kill or a cut, and is not true after it."""
    wrong: list[str] = []
    there = outputs(plan)
    needed: Counter[tuple[str, str]] = Counter()
    for pipeline, name in told.done_of.values():
        needed.update(wanted(inputs, pipeline, name))
    wrong += [f"told done, and gone: {key}" for key in (needed - there)]
    right = {out for each in inputs for p in (*each.pipelines, "parts") for out in each.outputs(p)}
    wrong += [f"O3 half an output: {key}" for key in there if key not in right]
    for each in inputs:
        key = f"{each.source}/{each.name}"
        if told.ingested[key] and each.source != "stay" and os.path.lexists(f"{plan.root}/{key}"):
            wrong.append(f"acknowledged, and back at its source: {key}")
    return wrong


def judge(plan: Plan, inputs: list[Input], told: Told, people: Any, machine: Any) -> list[str]:
    """Every broken promise of a world at rest."""
    db = apsw.Connection(f"{plan.data}/ledger.db", flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        checks = [row[0] for row in db.execute("PRAGMA integrity_check")]
        if checks != ["ok"] or list(db.execute("PRAGMA foreign_key_check")):
            return [f"O8 the ledger is damaged: {checks}"]
        files = _rows(db, "SELECT *, CAST(relative AS TEXT) AS name FROM file ORDER BY no")
        runs = _rows(db, "SELECT * FROM run ORDER BY no")
        left = _rows(db, "SELECT * FROM publication WHERE state = 'staged'")
    finally:
        db.close()
    by_no = {row["no"]: row for row in files}
    return [
        *_none_lost(inputs, files, told),
        *_runs(inputs, runs, by_no, people),
        *_each_run(inputs, runs, by_no, people, machine),
        *_outputs_once(plan, inputs, runs, by_no),
        *_content(plan, files, runs),
        *_nothing_left(plan, inputs),
        *(f"O9 staged for ever: {row['id']}" for row in left),
        *(f"O1 a person is asked for: {what}" for what in told.asked),
    ]


def _rows(db: apsw.Connection, query: str) -> list[dict[str, Any]]:
    cursor = db.execute(query)
    return [
        dict(zip((each[0] for each in cursor.getdescription()), row, strict=True)) for row in cursor
    ]


def _none_lost(inputs: list[Input], files: list[dict[str, Any]], told: Told) -> Iterator[str]:
    rows = Counter(f"{row['source']}/{row['name']}" for row in files)
    for each in inputs:
        key = f"{each.source}/{each.name}"
        if rows[key] != 1:
            yield f"O1 {key}: {rows[key]} rows"
        for row in files:
            if f"{row['source']}/{row['name']}" == key and row["state"] != each.state:
                yield f"O1 {key} is {row['state']}"
    yield from (f"O1 told twice as ingested: {key}" for key, n in told.ingested.items() if n > 1)
    yield from (f"O6 told twice as done: {run}" for run, n in told.done.items() if n > 1)
    yield from (
        f"O1 acknowledged, and in no row: {key}"
        for key in told.ingested
        if not rows[key.partition(" ")[0]]
    )


def _runs(
    inputs: list[Input],
    runs: list[dict[str, Any]],
    files: dict[int, dict[str, Any]],
    people: Any,
) -> Iterator[str]:
    mine: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for run in runs:
        file = files[run["file"]]
        mine.setdefault((f"{file['source']}/{file['name']}", run["pipeline"]), []).append(run)
        if run["state"] not in ("done", "dead", "held", "cancelled", "discarded"):
            yield f"O9 a run of {run['pipeline']} is {run['state']}"
    replays = sum(1 for run in runs if run["replays"])
    if replays > people.replays:
        yield f"O6 {replays} replays, {people.replays} asked for"
    for each in inputs:
        key = f"{each.source}/{each.name}"
        for pipeline in each.pipelines:
            here = mine.pop((key, pipeline), [])
            first = [run for run in here if not run["replays"]]
            if len(first) != 1:
                yield f"O1 {key}: {len(first)} runs of {pipeline}"
            done = any(run["state"] == "done" for run in here)
            if each.child and not mine.pop((f"{key}/part.txt", "parts"), None) and done:
                yield f"O1 {key}: its child is lost"
    yield from (f"O1 runs of nobody: {key}" for key in mine)


def _each_run(
    inputs: list[Input],
    runs: list[dict[str, Any]],
    files: dict[int, dict[str, Any]],
    people: Any,
    machine: Any,
) -> Iterator[str]:
    by_key = {f"{each.source}/{each.name}": each for each in inputs}
    for run in runs:
        file = files[run["file"]]
        key = f"{file['source']}/{file['name']}"
        each = by_key.get(input_of(key))
        if each is None:
            continue
        wanted_end = "done" if each.ends == "held" or run["pipeline"] == "parts" else each.ends
        ends = {wanted_end}
        if run["id"] in people.touched:
            ends |= {"cancelled", "discarded", "done", "dead"}
        if run["state"] not in ends:
            yield f"O1 {key}: {run['pipeline']} is {run['state']}, not {wanted_end}: {run['message']}"
        # A kill, a cut or a full disk charges nobody; only what a step asks for and what takes its worker with it does.
        most = 5 if each.troubles or machine.charged else 1
        if run["attempt"] > most:
            yield f"O6 {key}: {run['attempt']} attempts of {run['pipeline']}"


def _outputs_once(
    plan: Plan, inputs: list[Input], runs: list[dict[str, Any]], files: dict[int, dict[str, Any]]
) -> Iterator[str]:
    needed: Counter[tuple[str, str]] = Counter()
    for run in runs:
        if run["state"] == "done":
            needed.update(wanted(inputs, run["pipeline"], files[run["file"]]["name"]))
    there = outputs(plan)
    yield from (
        f"O2 missing in {s}, {n} times: {t!r:.60}" for (s, t), n in (needed - there).items()
    )
    yield from (
        f"O2 too often in {s}, {n} times: {t!r:.60}" for (s, t), n in (there - needed).items()
    )


def _content(plan: Plan, files: list[dict[str, Any]], runs: list[dict[str, Any]]) -> Iterator[str]:
    there = files_below(f"{plan.data}/content")
    inputs_kept = {run["input"] for run in runs if run["input"]}
    named = set(inputs_kept)
    for row in files:
        named.add(row["content"])
        gone = row["freed_ns"] is not None
        if (row["content"] in there) == gone:
            yield f"O7 {row['source']}/{row['name']}: content {'is still there' if gone else 'is gone'}"
    yield from (f"O7 no bytes of a kept input: {name}" for name in inputs_kept - there.keys())
    yield from (f"O7 of no row: {name}" for name in there.keys() - named)


def _nothing_left(plan: Plan, inputs: list[Input]) -> Iterator[str]:
    for name in files_below(plan.data):
        folder = name.partition("/")[0]
        if not (folder == "content" or name in MAY_STAY or name.endswith(".page")):
            yield f"O10 left in the data directory: {name}"
    for sink in SINKS:
        yield from (
            f"O10 left in staging: {sink}/{n}"
            for n in files_below(f"{plan.root}/out/{sink}/.filemill")
        )
    kept = {each.name: each.text for each in inputs if each.source == "stay"}
    for source in SOURCES:
        for name, text in files_below(f"{plan.root}/{source}").items():
            if source != "stay" or kept.get(name) != text:
                yield f"O5 left in {source}: {name}"
    for name in kept.keys() - files_below(f"{plan.root}/stay").keys():
        yield f"O5 its sender's own file is gone: {name}"
