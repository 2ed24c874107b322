"""Retention in the SQLite ledger: `ports.retention.Retaining`. Each step is one request to the one writer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import apsw
import msgspec

from filemill.ledgers.sqlite import auditing
from filemill.ledgers.sqlite.opening import open_reader
from filemill.ledgers.sqlite.packing import signed, unsigned
from filemill.ledgers.sqlite.sql import load
from filemill.ledgers.sqlite.tally import Tally, decode_latency
from filemill.ledgers.sqlite.transaction import Transaction, numbers, texts
from filemill.model.deeds import Deed
from filemill.ports.retention import Cutoffs, Freed, Garbage, KeptVersion

if TYPE_CHECKING:
    from filemill.ledgers.sqlite.writer import Writer


SQL = load("retention.sql")
_MINUTE_NS = 60_000_000_000
_HOUR = 60


class _Row(msgspec.Struct, array_like=True, gc=False):
    no: int
    fate: str
    ended_ns: int
    size: int
    """-1: its bytes are gone already."""
    content: str
    how: str
    tags: str
    parent: int
    """Whether a file that was made from it is still known."""


_ROWS = msgspec.json.Decoder(list[_Row])
_GARBAGE = msgspec.json.Decoder(list[tuple[str, str, int]])
_KEPT = msgspec.json.Decoder(list[tuple[str, str, int, int, int, int, str]])
_COUNTS = msgspec.json.Decoder(list[tuple[str, str, str, str, int, int, int, str]])
_NUMBERS = msgspec.json.Decoder(list[int])
_NUMBERED = msgspec.json.Decoder(list[tuple[int, str]])
_PAIRS = msgspec.json.Decoder(list[tuple[int, int]])


class SqliteRetaining:
    """The part of the SQLite ledger that forgets. See the port for what is promised."""

    _writer: Writer

    async def free(
        self, cutoffs: Cutoffs, at_ns: int, before: int | None, most: int, *, dry: bool = False
    ) -> Freed:
        """Give up the bytes of files at an end."""
        return await self._writer.ask(lambda tx: free(tx, cutoffs, at_ns, before, most, dry=dry))

    async def forget(
        self, cutoffs: Cutoffs, before: int | None, most: int, *, dry: bool = False
    ) -> Freed:
        """Delete all rows of files at an end."""
        return await self._writer.ask(lambda tx: forget(tx, cutoffs, before, most, dry=dry))

    async def erase(self, files: Sequence[str], deed: Deed) -> list[bool]:
        """Delete all rows of files that are not at work."""
        return await self._writer.ask(lambda tx: erase(tx, files, deed))

    async def garbage(self, most: int) -> list[Garbage]:
        """Bytes that are to be removed."""

        def work(tx: Transaction) -> list[Garbage]:
            found = tx.read(SQL["garbage"], _GARBAGE, most)
            return [Garbage(place, bytes.fromhex(name), size) for place, name, size in found]

        return await self._writer.ask(work)

    async def cleared(self, removed: Sequence[Garbage]) -> None:
        """These are gone, durably."""
        rows = [(each.place, each.name) for each in removed]
        await self._writer.ask(lambda tx: tx.many(SQL["drop_garbage"], rows))

    async def kept_versions(
        self, after: tuple[str, bytes, int, int, int] | None, most: int
    ) -> list[KeptVersion]:
        """Remembered versions, in the order of their keys."""

        def work(tx: Transaction) -> list[KeptVersion]:
            source, relative, inode, size, mtime_ns = after or ("", b"", 0, 0, 0)
            key = (source, relative, signed(inode), size, mtime_ns)
            rows = tx.read(SQL["next_versions"], _KEPT, *key, most)
            return [
                KeptVersion(
                    source=source,
                    relative=bytes.fromhex(relative),
                    inode=unsigned(inode),
                    size=size,
                    mtime_ns=mtime_ns,
                    device=unsigned(device),
                    path=bytes.fromhex(path),
                )
                for source, relative, inode, size, mtime_ns, device, path in rows
            ]

        return await self._writer.ask(work)

    async def forget_versions(self, gone: Sequence[KeptVersion]) -> None:
        """These lie no longer where they were."""
        rows = [(k.source, k.relative, signed(k.inode), k.size, k.mtime_ns) for k in gone]
        await self._writer.ask(lambda tx: tx.many(SQL["drop_versions"], rows))

    async def renumber_device(self, source: str, before: int, after: int) -> None:
        """The file system of these versions has another number."""
        await self._writer.ask(
            lambda tx: tx.run(SQL["renumber_device"], source, signed(before), signed(after))
        )

    async def roll_up(self, since: int, before_ns: int) -> int | None:
        """Add up the minutes of one hour."""
        return await self._writer.ask(lambda tx: roll_up(tx, since, before_ns))

    async def forget_rest(self, cutoffs: Cutoffs, revisions: Sequence[int], most: int) -> int:
        """Delete old counts, causes, revisions and audit."""

        def work(tx: Transaction) -> int:
            gone = 0
            if cutoffs.ledger is not None:
                gone += tx.run(SQL["drop_old_counts"], cutoffs.ledger // _MINUTE_NS, most)
                gone += tx.run(SQL["drop_old_causes"], cutoffs.ledger)
                if revisions:
                    gone += tx.run(SQL["drop_activations"], numbers(revisions))
                    gone += tx.run(SQL["drop_revisions"], numbers(revisions))
            if cutoffs.audit is not None:
                gone += auditing.forget(tx, cutoffs.audit, most)
            return gone

        return await self._writer.ask(work)

    async def unused_revisions(self, before_ns: int) -> list[int]:
        """Numbers of old revisions that no run names."""
        return await self._writer.ask(
            lambda tx: tx.read(SQL["unused_revisions"], _NUMBERS, before_ns)
        )

    async def worked_until_ns(self) -> int:
        """When anything was done last."""
        (minute,) = await self._writer.ask(lambda tx: tx.read(SQL["latest_count"], _NUMBERS))
        return minute * _MINUTE_NS


def free(
    tx: Transaction,
    cutoffs: Cutoffs,
    at_ns: int,
    before: int | None,
    most: int,
    *,
    dry: bool,
) -> Freed:
    """One step of giving up bytes."""
    cutoff = cutoffs.content
    if cutoff is None:
        return Freed(None)
    if before is None:
        before = _below(tx, cutoff)
    rows = tx.read(SQL["stored"], _ROWS, before, most)
    following = rows[-1].no if len(rows) == most else None
    due = [row for row in rows if row.fate == "ended" and row.ended_ns < cutoff]
    if due and not dry:
        files = [row.no for row in due]
        tx.run(SQL["free"], numbers(files), at_ns)
        _give_up(tx, files, due)
        tx.run(SQL["drop_inputs"], numbers(files))
        tx.run(SQL["drop_staged_of_files"], numbers(files))
    return Freed(
        following,
        files=len(due),
        stored=len(due),
        size=sum(row.size for row in due),
        looked=len(rows),
    )


def erase(tx: Transaction, files: Sequence[str], deed: Deed) -> list[bool]:
    """Delete all rows of these files, whatever their age; what was made from one goes with it or before it."""
    wanted = dict(tx.read(SQL["numbered"], _NUMBERED, texts(files))) if files else {}
    rows = {row.no: row for row in tx.read(SQL["known"], _ROWS, numbers(wanted))} if wanted else {}
    made = tx.read(SQL["children_of_files"], _PAIRS, numbers(wanted)) if wanted else []
    gone: list[int] = []
    for no in wanted:  # the latest first, so that what was made from a file is looked at before it
        children = {child for parent, child in made if parent == no}
        if rows[no].fate != "live" and children <= set(gone):
            gone.append(no)
    due = [rows[no] for no in gone]
    auditing.note(tx, deed, "erase", {wanted[no]: {} for no in gone})
    if due:
        tx.run(SQL["drop_uploads_of_files"], numbers(gone))
        _give_up(tx, gone, [row for row in due if row.size >= 0])
        _drop(tx, due)
    erased = {wanted[no] for no in gone}
    return [file in erased for file in files]


def _drop(tx: Transaction, due: Sequence[_Row]) -> int:
    """Delete all rows of these files; how many."""
    files = [row.no for row in due]
    tx.run(SQL["keep_versions"], numbers(files))
    gone = tx.many(SQL["drop_tags"], [(tag, row.no) for row in due for tag in row.tags.split()])
    return gone + sum(tx.run(SQL[name], numbers(files)) for name in _OF_FILES)


def forget(tx: Transaction, cutoffs: Cutoffs, before: int | None, most: int, *, dry: bool) -> Freed:
    """One step of deleting rows."""
    limits = {
        fate: cutoff
        for fate, cutoff in (("ended", cutoffs.ledger), ("waiting", cutoffs.dead))
        if cutoff is not None
    }
    if not limits:
        return Freed(None)
    if before is None:
        before = _below(tx, max(limits.values()))
    found, following = _candidates(tx, cutoffs, before, most)
    rows = tx.read(SQL["known"], _ROWS, numbers(found)) if found else []
    due = [row for row in rows if row.ended_ns < limits.get(row.fate, 0) and not row.parent]
    stored = [row for row in due if row.size >= 0]
    if dry and cutoffs.content is not None:  # what `free` gives up is counted there
        stored = [r for r in stored if r.fate != "ended" or r.ended_ns >= cutoffs.content]
    gone = 0
    if due and not dry:
        files = [row.no for row in due]
        _give_up(tx, files, stored)
        gone = _drop(tx, due)
    return Freed(
        following,
        files=len(due),
        stored=len(stored),
        size=sum(row.size for row in stored),
        rows=gone,
        looked=len(rows),
    )


_OF_FILES = (
    "drop_chunks_of_files",
    "drop_publications",
    "drop_attempts",
    "drop_rejects_of_files",
    "drop_runs",
    "drop_files",
)
"""In the order in which they refer to each other."""


def _below(tx: Transaction, cutoff: int | None) -> int:
    """The number below which the files are that arrived before a moment; 0 where there are none."""
    newest = None if cutoff is None else tx.one(SQL["newest_before"], cutoff)
    return 0 if newest is None else int(newest) + 1


def _candidates(
    tx: Transaction, cutoffs: Cutoffs, before: int, most: int
) -> tuple[list[int], int | None]:
    """Numbers of the next files that a walk over rows must look at, and where its next step begins.

    Files too young for `ledger` that are old enough for `dead` go only if they wait for a person. Those are found by
    index, so that a walk does not look at a million finished files each hour for the few that wait among them.
    """
    floor = _below(tx, cutoffs.ledger)
    if before <= floor:
        found = tx.read(SQL["all_before"], _NUMBERS, before, most)
        return found, found[-1] if len(found) == most else None
    found = tx.read(SQL["waiting_before"], _NUMBERS, before, most, floor)
    return found, found[-1] if len(found) == most else floor or None


def _give_up(tx: Transaction, files: Sequence[int], stored: Sequence[_Row]) -> None:
    tx.many(
        SQL["add_garbage"], [("content", row.content.encode(), max(row.size, 0)) for row in stored]
    )
    tx.run(SQL["inputs_to_garbage"], numbers(files))
    tx.run(SQL["staged_to_garbage"], numbers(files))


def roll_up(tx: Transaction, since: int, before_ns: int) -> int | None:
    """Add up the minutes of one hour into its first."""
    first = tx.one(SQL["first_minute"], since, before_ns // _MINUTE_NS // _HOUR * _HOUR)
    if first is None:
        return None
    start = int(first) // _HOUR * _HOUR
    end = start + _HOUR
    hour = Tally()
    for pipeline, step, sink, outcome, count, records, size, latency in tx.read(
        SQL["counts_of_hour"], _COUNTS, start, end
    ):
        hour.put(
            (start, pipeline, step, sink, outcome),
            count,
            records,
            size,
            decode_latency(bytes.fromhex(latency)),
        )
    tx.run(SQL["drop_counts"], start, end)
    hour.write(tx)
    return end


class SqliteDryRetaining:
    """What would be freed and forgotten: the same steps over a connection that only reads, beside a server or not.

    Only what a dry pass asks is answered; whatever would change something raises.
    """

    def __init__(self, db: apsw.Connection) -> None:
        self._db = db

    @classmethod
    def open(cls, path: str) -> SqliteDryRetaining:
        """Open the ledger file at `path` for reading.

        Raises:
            NotFound: there is none.
            UsageError: it is another version's.
            SystemFault: it cannot be read.
        """
        return cls(open_reader(path))

    def close(self) -> None:
        """Close. Idempotent."""
        self._db.close()

    async def free(
        self, cutoffs: Cutoffs, at_ns: int, before: int | None, most: int, *, dry: bool = False
    ) -> Freed:
        """What one step would give up."""
        del dry
        return free(Transaction(self._db), cutoffs, at_ns, before, most, dry=True)

    async def forget(
        self, cutoffs: Cutoffs, before: int | None, most: int, *, dry: bool = False
    ) -> Freed:
        """What one step would forget."""
        del dry
        return forget(Transaction(self._db), cutoffs, before, most, dry=True)
