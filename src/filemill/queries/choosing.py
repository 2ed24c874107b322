"""Which runs somebody means: by id, by group of dead letters, or by what they have in common.

Both faces ask here. How a word becomes a file is given by them (`Find`): the command line knows names, HTTP ids alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice

import msgspec

from filemill.model.errors import NotFound, UsageError
from filemill.queries.reader import Queries
from filemill.queries.results import DeadItem, FileHistory, HeldItem, RunSummary

Find = Callable[[Queries, str], FileHistory]
"""The file of an id or of one of its runs' ids; raises NotFound."""
_PAGE = 1_000
_SHORT = 8


class MovedOn(NotFound):
    """It is there, but not, or no longer, in the state that was named."""


class Target(msgspec.Struct, frozen=True):
    """One run as the person saw it, or a file without runs (`run` is empty)."""

    file: str
    name: str
    run: str = ""
    fence: int = 0
    state: str = ""
    pipeline: str = ""
    step: str = ""
    revision: int = 0
    fingerprint: str = ""


def dead_targets(
    queries: Queries,
    words: Sequence[str],
    find: Find,
    *,
    pipeline: str = "",
    since_ns: int = 0,
    limit: int | None = None,
) -> list[Target]:
    """The dead runs that these ids and groups name; without words, all of the pipeline and time; at most `limit`.

    Raises:
        NotFound: a word names nothing dead.
    """
    found: dict[str, Target] = {}
    for word in words or [""]:
        if word and not is_group(word):
            history = find(queries, word)
            must_be("dead", history)
            chosen = _of_history(history, {"dead"}, word)
        else:
            chosen = list(islice(_dead(queries, word[2:], pipeline, since_ns), limit))
            if word and not chosen:
                raise NotFound(
                    f"no dead run is in group {word}", help="filemill dead ls shows the groups"
                )
        found |= {target.run: target for target in chosen}
    return list(found.values())[:limit]


def held_targets(
    queries: Queries,
    words: Sequence[str],
    find: Find,
    *,
    reason: str = "",
    pipeline: str = "",
    limit: int | None = None,
) -> list[Target]:
    """What these ids name of what is held; without words, all of the reason and pipeline; at most `limit`.

    Raises:
        NotFound: a word names nothing held.
    """
    if not words:
        items = (
            item
            for item in _held(queries, reason)
            if not pipeline or (item.run is not None and item.run.pipeline == pipeline)
        )
        return [_of_item(item) for item in islice(items, limit)]
    found: dict[str, Target] = {}
    for word in words:
        history = find(queries, word)
        if history.summary.state == "quarantined":
            chosen: list[Target] = []
        else:
            must_be("held", history)
            chosen = _of_history(history, {"held"}, word)
        chosen = chosen or [
            Target(history.summary.file, history.summary.name, state=history.summary.state)
        ]
        found |= {target.run or target.file: target for target in chosen}
    return list(found.values())


def run_targets(
    queries: Queries, words: Sequence[str], find: Find, states: set[str], *, latest: bool = False
) -> list[Target]:
    """The runs in one of these states of the files or runs that these ids name.

    With `latest`, of a file only the last run of each pipeline, if it is in such a state.

    Raises:
        NotFound: a word names no such run.
    """
    found: dict[str, Target] = {}
    for word in words:
        history = find(queries, word)
        chosen = _of_history(history, states, word)
        if latest and len(chosen) > 1:
            last = {run.summary.pipeline: run.summary.run for run in history.runs}
            chosen = [target for target in chosen if target.run in last.values()]
        if not chosen:
            now = ", ".join(
                sorted({f"{r.summary.pipeline} is {r.summary.state}" for r in history.runs})
            )
            raise MovedOn(
                f"no run of {word} is {' or '.join(sorted(states))}: {now or 'it has no runs'}",
                help=f"filemill files show {word}",
            )
        found |= {target.run: target for target in chosen}
    return list(found.values())


def ended_targets(
    queries: Queries,
    state: str,
    *,
    pipeline: str = "",
    tag: str = "",
    since_ns: int = 0,
    limit: int | None = None,
) -> list[Target]:
    """The latest run of each of these files and pipelines, where it is in this state; the latest arrival first."""
    found: list[Target] = []
    cursor = None
    while True:
        page = queries.files(
            pipeline=pipeline, tag=tag, since_ns=since_ns, limit=_PAGE, cursor=cursor
        )
        for file in page.items:
            latest = {run.pipeline: run for run in file.runs}
            found += [
                _target(file.file, file.name, run)
                for run in latest.values()
                if run.state == state and pipeline in {"", run.pipeline}
            ]
        if page.next is None or (limit is not None and len(found) >= limit):
            return found[:limit]
        cursor = page.next


def is_group(word: str) -> bool:
    """Say whether a word is a group of dead letters, `D-3fa2c1`."""
    return word[:2].lower() == "d-"


def must_be(state: str, history: FileHistory) -> None:
    """Raise MovedOn, with the way to its history, when neither the file nor a run of it is in this state."""
    now = history.summary.state
    if state not in {now, *(run.summary.state for run in history.runs)}:
        identity = history.summary.file[:_SHORT]
        raise MovedOn(
            f"{identity} is not {state}, it is {now}", help=f"filemill files show {identity}"
        )


def answers_to(history: FileHistory, run: str) -> tuple[str, ...]:
    """The answers that the step knows which holds this run; none where it asks for none."""
    held = next(each for each in history.runs if each.summary.run == run)
    return next((a.choices for a in reversed(held.attempts) if a.hold), ())


def revision_of(wanted: str, target: Target) -> int:
    """The revision to stay with; 0: the current one.

    Raises:
        UsageError: it is none.
    """
    if wanted == "current":
        return 0
    if wanted == "old":
        return target.revision
    if wanted.isascii() and wanted.isdigit() and int(wanted) > 0:
        return int(wanted)
    raise UsageError(
        f"no revision `{wanted}`", help="current, old, or a number of `filemill config log`"
    )


def _of_history(history: FileHistory, states: set[str], word: str) -> list[Target]:
    """Its runs in these states; if the word is a run's id, only that one.

    Raises:
        MovedOn: the run that the word names is in none of them. Another one of the file was not meant.
    """
    file, name = history.summary.file, history.summary.name
    runs = [run.summary for run in history.runs]
    identity = word.strip().lower()
    if not file.startswith(identity):
        named = [run for run in runs if run.run.startswith(identity)]
        if named and named[0].state not in states:
            run, wanted = named[0], " or ".join(sorted(states))
            raise MovedOn(
                f"run {run.run[:_SHORT]} is not {wanted}, it is {run.state}",
                help=f"filemill files show {file[:_SHORT]}",
            )
        runs = named or runs
    return [_target(file, name, run) for run in runs if run.state in states]


def _target(file: str, name: str, run: RunSummary) -> Target:
    return Target(
        file,
        name,
        run.run,
        run.fence,
        run.state,
        run.pipeline,
        run.step,
        run.revision,
        run.fingerprint,
    )


def _of_item(item: DeadItem | HeldItem) -> Target:
    if item.run is None:
        return Target(item.file, item.name, state="held")
    return _target(item.file, item.name, item.run)


def _dead(queries: Queries, group: str, pipeline: str, since_ns: int) -> Iterator[Target]:
    cursor = None
    while True:
        page = queries.dead(
            pipeline=pipeline, fingerprint=group, since_ns=since_ns, limit=_PAGE, cursor=cursor
        )
        yield from map(_of_item, page.items)
        if page.next is None:
            return
        cursor = page.next


def _held(queries: Queries, reason: str) -> Iterator[HeldItem]:
    cursor = None
    while True:
        page = queries.held(reason=reason, limit=_PAGE, cursor=cursor)
        yield from page.items
        if page.next is None:
            return
        cursor = page.next
