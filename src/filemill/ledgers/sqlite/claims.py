"""Moves of files: claim, acknowledge, route, dispose. Each function is one request inside the writer's transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from filemill.ledgers.sqlite.packing import pack_facts, plain, signed, unsigned
from filemill.ledgers.sqlite.sql import load
from filemill.ledgers.sqlite.transaction import Transaction, blobs, numbers, texts
from filemill.model.errors import PermanentError
from filemill.model.files import Claim, FileRef, Identity
from filemill.model.states import FILE_MOVES, FileState
from filemill.ports.ledger import Disposal, Routing

SQL = load("claims.sql")
_json = msgspec.json.Encoder().encode
_INGEST = frozenset(
    {FileState.CLAIMING} & {b for b, a in FILE_MOVES.items() if FileState.INGESTED in a}
)
_ROUTE = frozenset((FileState.INGESTED, after) for after in FILE_MOVES[FileState.INGESTED])
"""The moves of the transition table that are intake's and routing's; the others are a person's.

States are strings, so a row's text is found as it is.
"""


class FileRow(msgspec.Struct, array_like=True, gc=False):
    """A file as a move finds it."""

    no: int
    id: str
    state: str
    size: int
    given: str
    claimed_ns: int
    source: str
    priority: int


class _LeftRow(msgspec.Struct, array_like=True, gc=False):
    id: str
    source: str
    path: str
    relative: str
    device: int
    inode: int
    size: int
    mtime_ns: int
    content: str
    claimed_ns: int
    given: str
    how: str
    priority: int
    parent: str | None
    after: str
    depth: int
    released: str | None


_FILES = msgspec.json.Decoder(list[FileRow])
_LEFT = msgspec.json.Decoder(list[_LeftRow])
_NUMBERS = msgspec.json.Decoder(list[int])
_TEXTS = msgspec.json.Decoder(list[str])
_WAITING = msgspec.json.Decoder(list[tuple[int, str, int]])
_NEEDS = msgspec.json.Decoder(list[tuple[str, int]])
_PAIRS = msgspec.json.Decoder(list[tuple[str, str | None]])
_DISPOSALS = msgspec.json.Decoder(list[tuple[int, str, str, str, str, str]])


def begin_claims(tx: Transaction, claims: Sequence[Claim]) -> list[bool]:
    """Insert rows in CLAIMING, but for versions of a path that are known and stay in place."""
    answers = [True] * len(claims)
    for index in _known(tx, claims):
        answers[index] = False
    if sent := [claim.file for claim in claims if claim.how == "upload"]:
        # Whoever sends a file may send it twice, under the id that it gave it.
        known = {row.id for row in find_files(tx, sent)}
        answers = [ok and c.file not in known for c, ok in zip(claims, answers, strict=True)]
    tx.many(
        SQL["begin_claims"],
        [_claim_row(c) for c, new in zip(claims, answers, strict=True) if new],
    )
    return answers


def ingest(tx: Transaction, files: Sequence[str], at_ns: int) -> list[bool]:
    """CLAIMING -> INGESTED."""
    rows = {row.id: row for row in find_files(tx, files) if row.state in _INGEST}
    if rows:
        moved = list(rows.values())
        _expect(tx.run(SQL["ingest"], numbers(row.no for row in moved), at_ns), moved)
        tx.tally.add(at_ns, "ingested", count=len(moved), size=sum([row.size for row in moved]))
    return [rows.pop(file, None) is not None for file in files]


def abandon(tx: Transaction, files: Sequence[str]) -> list[bool]:
    """Delete rows in CLAIMING."""
    rows = {row.id: row for row in find_files(tx, files) if row.state == FileState.CLAIMING}
    if rows:
        _expect(tx.run(SQL["abandon"], numbers(row.no for row in rows.values())), rows)
    return [rows.pop(file, None) is not None for file in files]


def route(tx: Transaction, routings: Sequence[Routing]) -> list[bool]:
    """INGESTED -> INSPECTED with its runs, or where the routing says."""
    found = {row.id: row for row in find_files(tx, [r.facts.file for r in routings])}
    answers: list[bool] = []
    files: list[tuple[Any, ...]] = []
    tags: list[tuple[str, int]] = []
    runs: list[tuple[Any, ...]] = []
    queued: dict[tuple[int, str], list[int]] = {}
    for routing in routings:
        facts, at = routing.facts, routing.at_ns
        row = found.get(facts.file)
        state, reason = _target(routing)
        if row is None or state is None or (row.state, state) not in _ROUTE:
            answers.append(False)
            continue
        row.state = state
        answers.append(True)
        names = list(dict.fromkeys([*row.given.split(), *(hit.tag for hit in facts.tags)]))
        files.append(
            (
                row.no,
                state,
                at,
                " ".join(names),
                bytes.fromhex(facts.digest) if facts.digest else None,
                facts.media,
                _attributes(facts.attributes),
                pack_facts(facts),
                plain(reason),
                routing.duplicate_of,
            )
        )
        tags += [(name, row.no) for name in names]
        if state is FileState.INSPECTED:
            for run in routing.runs:
                priority = row.priority + run.priority
                named = (run.run, row.no, row.source, run.pipeline, run.revision, priority)
                runs.append((*named, at, at, run.order_key))
                queued.setdefault((at, run.pipeline), []).append(row.size)
        else:
            tx.tally.add(at, state, size=row.size)
    if files:
        _expect(tx.many(SQL["route"], files), files)
        tx.many(SQL["add_tags"], tags)
        tx.many(SQL["add_runs"], runs)
    for (at, pipeline), sizes in queued.items():
        tx.tally.add(at, "queued", pipeline=pipeline, count=len(sizes), size=sum(sizes))
    return answers


def find_digests(tx: Transaction, digests: Sequence[str]) -> dict[str, str]:
    """Digest -> id of the earliest file that has it."""
    wanted = tuple({bytes.fromhex(digest) for digest in digests if digest})
    if not wanted:
        return {}
    found = tx.read(SQL["find_digests"], _PAIRS, blobs(wanted))
    return {digest: file for digest, file in found if file is not None}


def disposable(tx: Transaction, files: Sequence[str]) -> list[Disposal]:
    """Files all of whose runs are done, not yet disposed of, in the order asked."""
    if not files:
        return []
    found = {
        file: Disposal(file, content, bytes.fromhex(path), after, how)
        for _, file, content, path, after, how in tx.read(
            SQL["disposable"], _DISPOSALS, texts(dict.fromkeys(files))
        )
    }
    return [found[file] for file in dict.fromkeys(files) if file in found]


def disposed(tx: Transaction, files: Sequence[str], at_ns: int) -> list[bool]:
    """Note that `after:` was applied to files that asked for it."""
    if not files:
        return []
    found = {
        row[1]: row[0]
        for row in tx.read(SQL["disposable"], _DISPOSALS, texts(dict.fromkeys(files)))
    }
    if found:
        _expect(tx.run(SQL["dispose"], numbers(found.values()), at_ns), found)
    return [found.pop(file, None) is not None for file in files]


def known_content(tx: Transaction, references: Sequence[str]) -> list[bool | None]:
    """Whether the bytes of each content reference are needed; None when no row names it.

    A reference mostly ends in its file's id, which is looked up first; only for what that does not find are all
    files looked through, once.
    """
    if not references:
        return []
    needed: dict[str, bool] = {}
    for query in ("known_ids", "known_inputs", "known_garbage", "known_content"):
        rest = [reference for reference in references if reference not in needed]
        if query == "known_ids":
            rest = [reference.rsplit("/", 1)[-1] for reference in rest]
        if rest:
            for reference, is_needed in tx.read(SQL[query], _NEEDS, texts(rest)):
                needed[reference] = needed.get(reference, False) or bool(is_needed)
    return [needed.get(reference) for reference in references]


def left_claims(tx: Transaction) -> tuple[Claim, ...]:
    """Every row in CLAIMING, oldest first."""
    return tuple(map(_claim, tx.read(SQL["left_files"], _LEFT, str(FileState.CLAIMING))))


def find_claims(tx: Transaction, files: Sequence[str]) -> list[Claim]:
    """The claims of those of these files that are in CLAIMING, in the order asked."""
    if not files:
        return []
    rows = _left(tx, files, FileState.CLAIMING)
    return [_claim(rows[file]) for file in dict.fromkeys(files) if file in rows]


def find_uninspected(tx: Transaction, files: Sequence[str]) -> list[FileRef]:
    """Those of these files that are acknowledged and not routed, in the order asked."""
    if not files:
        return []
    rows = _left(tx, files, FileState.INGESTED)
    return [_uninspected(rows[file]) for file in dict.fromkeys(files) if file in rows]


def left_uninspected(tx: Transaction) -> tuple[FileRef, ...]:
    """Every file acknowledged and not routed, oldest first; its path is its content reference."""
    return tuple(map(_uninspected, tx.read(SQL["left_files"], _LEFT, str(FileState.INGESTED))))


def undisposed(tx: Transaction, place: int, most: int) -> tuple[int, list[str]]:
    """Files behind this place whose runs are done and whose `after:` is not applied, and the place to go on at."""
    rows = tx.read(SQL["undisposed"], _WAITING, place, most)
    return rows[-1][0] if len(rows) == most else 0, [id_ for _, id_, is_over in rows if is_over]


def _left(tx: Transaction, files: Sequence[str], state: FileState) -> dict[str, _LeftRow]:
    """Those of these files that are in one state, by id."""
    wanted = texts(dict.fromkeys(files))
    return {row.id: row for row in tx.read(SQL["find_left"], _LEFT, wanted, str(state))}


def _uninspected(row: _LeftRow) -> FileRef:
    return FileRef(
        file=row.id,
        path=row.content.encode(),
        relative=bytes.fromhex(row.relative),
        size=row.size,
        source=row.source,
        arrived_ns=row.claimed_ns,
        tags=tuple(row.given.split()),
        depth=row.depth,
        attributes={} if row.released is None else {"released": row.released},
    )


def _known(tx: Transaction, claims: Sequence[Claim]) -> list[int]:
    """Which claims take a version of a path that an earlier copy left in place."""
    seen: set[tuple[str, bytes, Identity]] = set()
    known: list[int] = []
    copied = {
        source for source in {claim.source for claim in claims} if tx.one(SQL["has_copied"], source)
    }
    rows = []
    for index, claim in enumerate(claims):
        if claim.again:
            continue
        key = (claim.source, claim.relative, claim.identity)
        if claim.how == "copy":
            if key in seen:
                known.append(index)
            seen.add(key)
        if claim.source in copied:
            version = claim.identity
            rows.append(
                (
                    index,
                    claim.source,
                    claim.relative,
                    signed(version.inode),
                    version.size,
                    version.mtime_ns,
                )
            )
    return known + tx.json(SQL["known_copied"], _NUMBERS, rows)


def _claim(row: _LeftRow) -> Claim:
    return Claim(
        file=row.id,
        source=row.source,
        path=bytes.fromhex(row.path),
        relative=bytes.fromhex(row.relative),
        identity=Identity(unsigned(row.device), unsigned(row.inode), row.size, row.mtime_ns),
        content=row.content,
        claimed_ns=row.claimed_ns,
        tags=tuple(row.given.split()),
        how=row.how,
        priority=row.priority,
        parent=row.parent,
        depth=row.depth,
        after=row.after,
    )


def _claim_row(claim: Claim) -> tuple[Any, ...]:
    version = claim.identity
    tags = " ".join(claim.tags)
    return (
        claim.file,
        claim.claimed_ns,
        claim.source,
        claim.path,
        claim.relative,
        signed(version.device),
        signed(version.inode),
        version.size,
        version.mtime_ns,
        claim.content,
        claim.claimed_ns,
        claim.how,
        claim.after,
        claim.priority,
        claim.parent,
        tags,
        tags,
        claim.principal,
    )


def find_files(tx: Transaction, files: Sequence[str]) -> list[FileRow]:
    """Where the files with these ids are now; the unknown are absent."""
    return tx.read(SQL["find_files"], _FILES, texts(dict.fromkeys(files))) if files else []


def _target(routing: Routing) -> tuple[FileState | None, str]:
    """Where a routing sends its file, and why; None when inspection itself failed, so it stays."""
    facts = routing.facts
    if facts.error:
        return None, ""
    if facts.refused:
        return (FileState.QUARANTINED if facts.unsafe else FileState.REJECTED), facts.refused
    if routing.held:
        return FileState.HELD, routing.held
    if routing.discarded:
        return FileState.DISCARDED, routing.discarded
    if not routing.runs:
        raise PermanentError(
            f"file {facts.file} is routed nowhere", help="a file that matches nothing is held"
        )
    return FileState.INSPECTED, ""


def _attributes(attributes: dict[str, str]) -> str:
    if not attributes:
        return "{}"
    try:
        return _json(attributes).decode()
    except UnicodeEncodeError:
        return _json({plain(k): plain(v) for k, v in attributes.items()}).decode()


def _expect(changed: int, rows: Any) -> None:
    """The rows were read in this very transaction, so each must have moved.

    Raises:
        PermanentError: one did not; the request is rolled back.
    """
    if changed != len(rows):
        raise PermanentError(f"{changed} of {len(rows)} rows moved in the ledger")
