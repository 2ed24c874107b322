"""Moves that people make, each with its row in the audit; each function is one request inside the transaction."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from filemill.ledgers.sqlite import auditing
from filemill.ledgers.sqlite.attempts import SQL as RUNS
from filemill.ledgers.sqlite.claims import find_files
from filemill.ledgers.sqlite.outputs import STAGED, publication
from filemill.ledgers.sqlite.packing import plain
from filemill.ledgers.sqlite.runs import orders
from filemill.ledgers.sqlite.sql import load
from filemill.ledgers.sqlite.transaction import Transaction, numbers, texts
from filemill.model.deeds import Chosen, Deed, Redrive, Release, Replay
from filemill.model.runs import Publication, RunOrder
from filemill.model.states import RUN_MOVES, FileState, RunState, may_move_file

SQL = load("deeds.sql")
_json = msgspec.json.Encoder().encode
PUBLISH = "publish:"
"""How the step is named at which a run dies that a sink refused."""


_Details = dict[str, dict[str, object]]
"""By the id of what moved: what else the audit says of it."""


class _Run(msgspec.Struct, array_like=True, gc=False):
    no: int
    id: str
    state: str
    fence: int
    step: str | None
    input: str | None
    released: dict[str, str]
    file: int
    pipeline: str
    revision: int
    source: str
    readable: int


_RUNS = msgspec.json.Decoder(list[_Run])
_TAGS = msgspec.json.Decoder(list[tuple[int, str]])
_TEXTS = msgspec.json.Decoder(list[str])
_NUMBERS = msgspec.json.Decoder(list[int])
ASKED = "ask-release"
"""What the audit calls it when one of two people says that a quarantined file may go on."""
_ENDED = frozenset({RunState.DONE, RunState.CANCELLED, RunState.DISCARDED})


def redrive(tx: Transaction, redrives: Sequence[Redrive], deed: Deed) -> list[bool]:
    """DEAD -> QUEUED, or PUBLISHING where it died when it published."""
    rows = _find(tx, [each.run for each in redrives])
    chosen = [(_take(rows, r.run, r.fence, RunState.QUEUED, RunState.DEAD), r) for r in redrives]
    answers = [row is not None for row, _ in chosen]
    moved = [(row, r) for row, r in chosen if row is not None]
    publish = [row for row, _ in moved if (row.step or "").startswith(PUBLISH)]
    again = [(row, r) for row, r in moved if not (row.step or "").startswith(PUBLISH)]
    if publish:
        tx.run(SQL["redeliver"], numbers(row.no for row in publish), deed.at_ns)
    tx.many(
        SQL["redrive"],
        [(row.no, deed.at_ns, _begins(row, r), int(r.insists), r.revision) for row, r in again],
    )
    details: _Details = {row.id: {"from": "publish"} for row in publish}
    details |= {
        row.id: {"from": _begins(row, r) or "start"}
        | ({"revision": r.revision} if r.revision else {})
        for row, r in again
    }
    auditing.note(tx, deed, "redrive", details)
    return answers


def _begins(row: _Run, redrive: Redrive) -> str | None:
    """At which step it is to begin; None: with the file."""
    return row.step if redrive.from_input and (row.input or redrive.insists) else None


def release(tx: Transaction, releases: Sequence[Release], deed: Deed) -> list[bool]:
    """HELD -> QUEUED, with the answer under the step that asked."""
    rows = _find(tx, [each.run for each in releases])
    chosen = [(_take(rows, r.run, r.fence, RunState.QUEUED, RunState.HELD), r) for r in releases]
    answers = [row is not None for row, _ in chosen]
    moved = [(row, r) for row, r in chosen if row is not None]
    tx.many(
        SQL["release"],
        [
            (
                row.no,
                deed.at_ns,
                row.step if row.input else None,
                _json(row.released | {row.step or "": r.choice}).decode(),
            )
            for row, r in moved
        ],
    )
    auditing.note(
        tx, deed, "release", {row.id: {"step": row.step, "choice": r.choice} for row, r in moved}
    )
    return answers


def discard(tx: Transaction, runs: Sequence[Chosen], deed: Deed) -> list[bool]:
    """DEAD or HELD -> DISCARDED; what was kept of them and what they staged is nobody's any more."""
    answers, moved = _choose(tx, runs, RunState.DISCARDED)
    give_up(tx, moved, deed.at_ns)
    auditing.note(tx, deed, "discard", _agreed(runs, answers))
    return answers


def give_up(tx: Transaction, runs: Any, at_ns: int) -> None:
    """End these runs, by number, and name their bytes as to be removed."""
    tx.run(SQL["inputs_to_garbage"], runs)
    tx.run(SQL["staged_to_garbage"], runs)
    tx.run(SQL["discard"], runs, at_ns)
    tx.run(RUNS["drop_staged"], runs)


def cancel(tx: Transaction, runs: Sequence[Chosen], deed: Deed) -> list[bool]:
    """QUEUED, RETRYING or RUNNING -> CANCELLED."""
    answers, moved = _choose(tx, runs, RunState.CANCELLED)
    tx.run(SQL["inputs_to_garbage"], moved)
    tx.run(SQL["cancel"], moved, deed.at_ns)
    tx.run(RUNS["drop_chunks"], moved)
    auditing.note(tx, deed, "cancel", _agreed(runs, answers))
    return answers


def replay(tx: Transaction, replays: Sequence[Replay], deed: Deed) -> list[bool]:
    """New runs of ended ones whose file is still there. Of one run only one other can take the places."""
    rows = _find(tx, [each.of for each in replays])
    chosen = [(rows.get(each.of), each) for each in replays]
    answers = [row is not None and row.state in _ENDED and bool(row.readable) for row, _ in chosen]
    superseding = [r.of for r in replays if r.supersede]
    taken = (
        set(tx.read(SQL["superseded_already"], _TEXTS, texts(superseding)))
        if superseding
        else set[str]()
    )
    for place, each in enumerate(replays):
        if each.supersede and each.of in taken:
            answers[place] = False
        elif each.supersede:
            taken.add(each.of)
    moved = [(row, r) for (row, r), ok in zip(chosen, answers, strict=True) if ok and row]
    tx.many(
        SQL["replay"],
        [
            (
                r.run,
                row.file,
                row.source,
                row.pipeline,
                r.revision or row.revision,
                int(r.pinned),
                r.priority,
                deed.at_ns,
                deed.at_ns,
                row.id,
                int(r.supersede),
            )
            for row, r in moved
        ],
    )
    auditing.note(
        tx, deed, "replay", {row.id: {"run": r.run, "supersede": r.supersede} for row, r in moved}
    )
    return answers


def readmit(
    tx: Transaction, files: Sequence[str], deed: Deed, *, unsafe: bool, people: int
) -> list[bool]:
    """HELD, with `unsafe` also QUARANTINED -> INGESTED, the tags of the former inspection forgotten.

    With two `people`, one of them notes that a quarantined file may go on, and the other one moves it.
    """
    before = {FileState.HELD, FileState.QUARANTINED} if unsafe else {FileState.HELD}
    if unsafe and people > 1:
        lonely = _lonely(tx, files, deed)
        if lonely:
            auditing.note(tx, deed, ASKED, {file: {} for file in lonely})
            moved_on = iter(
                readmit(tx, [f for f in files if f not in lonely], deed, unsafe=True, people=1)
            )
            return [file not in lonely and next(moved_on) for file in files]
    answers, moved = _choose_files(tx, files, FileState.INGESTED, before)
    tagged = tx.read(SQL["tags_of"], _TAGS, moved)
    tx.many(SQL["forget_tags"], [(tag, no) for no, tags in tagged for tag in tags.split()])
    tx.run(SQL["readmit"], moved, deed.at_ns, plain(deed.principal) if unsafe else None)
    unsafely: dict[str, object] = {"unsafe": True} if unsafe else {}
    auditing.note(tx, deed, "readmit", dict.fromkeys(_agreed_files(files, answers), unsafely))
    return answers


def _lonely(tx: Transaction, files: Sequence[str], deed: Deed) -> set[str]:
    """Those quarantined files of which nobody but this person said, since they are, that they may go on."""
    rows = [row for row in find_files(tx, files) if row.state == FileState.QUARANTINED]
    wanted = texts(row.id for row in rows)
    agreed = set(tx.read(SQL["asked_by_others"], _TEXTS, wanted, ASKED, deed.principal))
    return {row.id for row in rows} - agreed


def discard_files(tx: Transaction, files: Sequence[str], deed: Deed) -> list[bool]:
    """HELD, REJECTED or QUARANTINED -> DISCARDED."""
    before = {FileState.HELD, FileState.REJECTED, FileState.QUARANTINED}
    answers, moved = _choose_files(tx, files, FileState.DISCARDED, before)
    tx.run(SQL["discard_files"], moved, deed.at_ns)
    auditing.note(tx, deed, "discard", _agreed_files(files, answers))
    return answers


def publishing(tx: Transaction, runs: Sequence[str]) -> tuple[list[RunOrder], list[Publication]]:
    """Those of these runs that are PUBLISHING, and what of them is not published."""
    rows = [row.no for row in _find(tx, runs).values() if row.state == RunState.PUBLISHING]
    staged = tx.read(SQL["staged_of"], STAGED, numbers(rows))
    return orders(tx, rows), list(map(publication, staged))


def pause(tx: Transaction, pipelines: Sequence[str], deed: Deed) -> list[bool]:
    """Lease none of these."""
    already = set(tx.read(SQL["paused"], _TEXTS))
    new = [name for name in dict.fromkeys(pipelines) if name not in already]
    tx.many(SQL["pause"], [(n, deed.at_ns, deed.principal, plain(deed.reason)) for n in new])
    auditing.note(tx, deed, "pause", {name: {} for name in new})
    return [name not in already for name in pipelines]


def resume(tx: Transaction, pipelines: Sequence[str], deed: Deed) -> list[bool]:
    """Lease these again."""
    already = set(tx.read(SQL["paused"], _TEXTS))
    old = [name for name in dict.fromkeys(pipelines) if name in already]
    tx.run(SQL["resume"], texts(old))
    auditing.note(tx, deed, "resume", {name: {} for name in old})
    return [name in already for name in pipelines]


def resolve(tx: Transaction, fingerprints: Sequence[str], revision: int, deed: Deed) -> None:
    """Remember these causes as mended; revision 0 is the one stored last."""
    known = revision or int(tx.one(SQL["latest_revision"]))
    rows = [(f, deed.at_ns, known, deed.principal, plain(deed.reason)) for f in fingerprints]
    tx.many(SQL["resolve"], rows)
    auditing.note(tx, deed, "resolve", {f: {"revision": known} for f in fingerprints})


def note(tx: Transaction, action: str, objects: Sequence[str], detail: str, deed: Deed) -> None:
    """Only the audit."""
    auditing.note(
        tx, deed, action, {each: {"detail": detail} if detail else {} for each in objects}
    )


def _find(tx: Transaction, runs: Iterable[str]) -> dict[str, _Run]:
    wanted = dict.fromkeys(runs)
    if not wanted:
        return {}
    return {row.id: row for row in tx.read(SQL["find"], _RUNS, texts(wanted))}


def _take(
    rows: dict[str, _Run], run: str, fence: int, after: RunState, before: RunState | None = None
) -> _Run | None:
    """The run, once, if it is as the person saw it and the table allows the move. `before` None: from any state."""
    row = rows.get(run)
    if row is None or row.fence != fence or after not in RUN_MOVES[RunState(row.state)]:
        return None
    return rows.pop(run) if before in (None, row.state) else None


def _choose(tx: Transaction, runs: Sequence[Chosen], after: RunState) -> tuple[list[bool], Any]:
    """Which of these runs may move, and their numbers."""
    rows = _find(tx, [each.run for each in runs])
    moved = [_take(rows, each.run, each.fence, after) for each in runs]
    return [row is not None for row in moved], numbers(row.no for row in moved if row is not None)


def _choose_files(
    tx: Transaction, files: Sequence[str], after: FileState, before: set[FileState]
) -> tuple[list[bool], Any]:
    """Which of these files may move, and their numbers."""
    rows = {row.id: row for row in find_files(tx, files)}
    answers: list[bool] = []
    moved: list[int] = []
    for file in files:
        row = rows.pop(file, None)
        state = FileState(row.state) if row else None
        answers.append(state in before and may_move_file(FileState(str(state)), after))
        if answers[-1] and row is not None:
            moved.append(row.no)
    return answers, numbers(moved)


def _agreed(runs: Sequence[Chosen], answers: Sequence[bool]) -> _Details:
    return {each.run: {} for each, ok in zip(runs, answers, strict=True) if ok}


def _agreed_files(files: Sequence[str], answers: Sequence[bool]) -> _Details:
    return {file: {} for file, ok in zip(files, answers, strict=True) if ok}
