"""The questions about keys and about the audit: what was done, and whether its chain is whole."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from filemill.model.auditing import GENESIS, Sealed, chained
from filemill.model.errors import UsageError
from filemill.model.keys import StoredKey
from filemill.model.sessions import StoredSession
from filemill.ports.access import AuditSelection
from filemill.queries.paging import place_of
from filemill.queries.questions import Questions

_AT_ONCE = 5_000


class AuditPage(msgspec.Struct, frozen=True):
    """Rows of the audit, the latest first; `next` is the cursor of the page after, None at the end."""

    items: tuple[Sealed, ...]
    next: str | None = None


class KeyList(msgspec.Struct, frozen=True):
    """Every key there ever was, the oldest first; hashes are left out."""

    items: tuple[StoredKey, ...]


class SessionList(msgspec.Struct, frozen=True):
    """Every login that was not ended, the oldest first; hashes are left out."""

    items: tuple[StoredSession, ...]


class AuditVerdict(msgspec.Struct, frozen=True):
    """What a look at the whole chain found."""

    rows: int
    first: int
    """Number of the first row there is; 0: there is none."""
    last: int
    head: str
    """`NUMBER:CHAIN` of the last row: noted elsewhere, it shows later that no row up to it went or changed."""
    removed: int = 0
    """Rows that retention removed from the beginning."""
    removed_until_ns: int = 0
    """When the last of these was written."""
    wrong: int = 0
    """Number of the first row that is not as it was written, or that does not follow the one before it; 0: none."""
    problem: str = ""
    """What is wrong, in words; empty: nothing."""


class AccessQueries(Questions):
    """Part of `Queries`."""

    def key(self, key: str) -> StoredKey | None:
        """The key of this id, whether it is in force or not; None when there is none."""
        return self._reading.key(key)

    def keys(self) -> tuple[StoredKey, ...]:
        """Every key there ever was, the oldest first."""
        return tuple(self._reading.keys())

    def session(self, hash: bytes) -> StoredSession | None:  # noqa: A002 -- its name everywhere
        """The login whose cookie has this hash, whether its time is over or not; None when there is none."""
        return self._reading.session(hash)

    def sessions(self) -> tuple[StoredSession, ...]:
        """Every login that was not ended, the oldest first."""
        return tuple(self._reading.sessions())

    def audit(
        self,
        *,
        principal: str = "",
        action: str = "",
        object: str = "",  # noqa: A002 -- its name everywhere
        since_ns: int = 0,
        limit: int = 50,
        cursor: str | None = None,
    ) -> AuditPage:
        """What people and keys did, the latest first.

        Raises:
            UsageError: a cursor that is none.
        """
        rows = self._reading.deeds(
            AuditSelection(
                principal=principal,
                action=action,
                object=object,
                since_ns=since_ns,
                before=place_of(cursor),
                limit=limit + 1,
            )
        )
        page = rows[:limit]
        return AuditPage(tuple(page), str(page[-1].number) if len(rows) > limit and page else None)

    def audit_rows(self) -> Iterator[Sealed]:
        """The whole audit, in order."""
        after = 0
        while rows := self._reading.chain(after, _AT_ONCE):
            yield from rows
            after = rows[-1].number

    def verify_audit(self, head: str = "") -> AuditVerdict:
        """Compute the chain anew, row by row; `head` is one that was noted before, and must be in it.

        Raises:
            UsageError: `head` is none.
        """
        noted = _noted(head)
        with self._reading.snapshot():
            return self._verdict(noted)

    def _verdict(self, noted: tuple[int, str] | None) -> AuditVerdict:
        anchor = self._reading.anchor()
        former, last = (anchor.chain, anchor.number) if anchor else (GENESIS, 0)
        rows, first = 0, 0
        found = noted is None or noted == (last, former.hex())
        wrong, problem = 0, ""
        for row in self.audit_rows():
            rows, first = rows + 1, first or row.number
            if row.number <= last or not _follows(row, former):
                wrong = row.number
                problem = (
                    f"row {wrong} is not as it was written, or not the one that followed row {last}: "
                    "rows were changed, removed or put in"
                )
                break
            former, last = row.chain, row.number
            found = found or noted == (last, former.hex())
        if not problem and not found and noted is not None:
            wrong, problem = noted[0], _lost(noted[0], anchor.number if anchor else 0, last)
        return AuditVerdict(
            rows=rows,
            first=first,
            last=last,
            head=f"{last}:{former.hex()}",
            removed=anchor.rows if anchor else 0,
            removed_until_ns=anchor.at_ns if anchor else 0,
            wrong=wrong,
            problem=problem,
        )


def _follows(row: Sealed, former: bytes) -> bool:
    told = (row.number, row.at_ns, row.principal, row.action, row.object, row.detail)
    return row.chain == chained(former, *told)


def _lost(number: int, anchor: int, last: int) -> str:
    if number < anchor:
        return (
            f"row {number}, whose head was noted, is older than what retention left (from row {anchor} on): "
            "nothing can be said of it any more; note a later head"
        )
    if number > last:
        return f"row {number}, whose head was noted, is gone: rows were removed at the end"
    return f"row {number} is not the one whose head was noted: the chain was made anew"


def _noted(head: str) -> tuple[int, str] | None:
    if not head:
        return None
    number, sign, chain = head.strip().partition(":")
    if not sign or not (number.isascii() and number.isdigit()) or len(chain) != len(GENESIS.hex()):
        raise UsageError(
            f"`{head}` is no head of an audit", help="NUMBER:CHAIN, as `filemill audit verify` says"
        )
    return int(number), chain.lower()
