"""`Queries` over HTTP: the same values, asked of a server instead of a ledger."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn, cast

from filemill.client.connection import Connection
from filemill.client.following import RemoteFollowing
from filemill.model.auditing import Sealed
from filemill.model.errors import FilemillError, NotFound, UsageError
from filemill.model.keys import StoredKey
from filemill.model.sessions import StoredSession
from filemill.ports.clock import SystemClock
from filemill.ports.reading import PauseRow, Reading
from filemill.queries import (
    AuditPage,
    AuditVerdict,
    DeadCause,
    DeadPage,
    FileHistory,
    FilePage,
    Follows,
    HeldPage,
    KeyList,
    Queries,
    Refusal,
    Revision,
    Revisions,
    SessionList,
    Status,
)
from filemill.service.replies import Seen

PAGE = 500
"""Items that a server gives at once."""


class _Elsewhere:
    """In the place of a reading of the ledger, which is on another machine."""

    def __getattr__(self, name: str) -> NoReturn:
        raise UsageError(
            "this is not told over HTTP",
            help="run the command on the server's machine, without --url",
        )


class RemoteQueries(Queries):
    """What a server answers of files and runs. `close` closes the connection.

    Raises:
        FilemillError: of every question: as the server says, or it does not answer.
    """

    def __init__(self, connection: Connection) -> None:
        super().__init__(cast("Reading", _Elsewhere()), SystemClock())
        self.connection = connection

    def close(self) -> None:
        """Close the connection. Idempotent."""
        self.connection.close()

    def files(
        self,
        *,
        state: str = "",
        tag: str = "",
        pipeline: str = "",
        principal: str = "",
        name: str | bytes = b"",
        since_ns: int = 0,
        limit: int = 50,
        cursor: str | None = None,
    ) -> FilePage:
        """As `Queries.files`; `principal` is not asked over HTTP."""
        assert not principal  # noqa: S101 -- only servers ask so
        text = name.decode("utf-8", "surrogateescape") if isinstance(name, bytes) else name
        asked = {"state": state, "tag": tag, "pipeline": pipeline, "name": _sendable(text)}
        items, after = self._pages(
            "/files", FilePage, limit, cursor, since=self._span(since_ns), **asked
        )
        return FilePage(tuple(items), after)

    def file(self, prefix: str) -> FileHistory:
        """As `Queries.file`."""
        wanted = prefix.strip()
        if not wanted or "/" in wanted:  # no id; and another route would answer
            raise NotFound(
                f"no file or run has an id that begins with `{prefix}`",
                help="`filemill files ls` shows ids",
            )
        return self.connection.value(f"/files/{_sendable(wanted)}", FileHistory)

    def held(self, *, reason: str = "", limit: int = 50, cursor: str | None = None) -> HeldPage:
        """As `Queries.held`."""
        items, after = self._pages("/held", HeldPage, limit, cursor, reason=reason)
        return HeldPage(tuple(items), after)

    def dead(
        self,
        *,
        pipeline: str = "",
        fingerprint: str = "",
        since_ns: int = 0,
        limit: int = 50,
        cursor: str | None = None,
        resolved: bool = True,
    ) -> DeadPage:
        """As `Queries.dead`."""
        asked: dict[str, Any] = {"pipeline": pipeline, "group": fingerprint, "resolved": resolved}
        asked["since"] = self._span(since_ns)
        first = self.connection.value(
            "/dead", DeadPage, limit=min(limit, PAGE), cursor=cursor or "", **asked
        )
        items, after = list(first.items), first.next
        if after is not None and len(items) < limit:
            more, after = self._pages("/dead", DeadPage, limit - len(items), after, **asked)
            items += more
        return DeadPage(first.total, first.groups, tuple(items), after, first.hidden)

    def cause(self, fingerprint: str) -> DeadCause:
        """As `Queries.cause`."""
        return self.connection.value(f"/dead/{_sendable(fingerprint)}", DeadCause)

    def status(self) -> Status:
        """As `Queries.status`."""
        return self.connection.value("/stats", Status)

    def paused(self) -> dict[str, PauseRow]:
        """As `Queries.paused`; nothing for a key that may not see how pipelines stand."""
        try:
            found = self.status().pipelines
        except UsageError:  # 403: whoever only sends files is not told
            return {}
        return {
            each.pipeline: PauseRow(
                each.pipeline, each.paused.at_ns, each.paused.principal, each.paused.reason
            )
            for each in found
            if each.paused is not None
        }

    def follow(self, *, tag: str = "", pipeline: str = "", state: str = "") -> Follows:
        """As `Queries.follow`."""
        return RemoteFollowing(self.connection, tag=tag, pipeline=pipeline, state=state)

    def keys(self) -> tuple[StoredKey, ...]:
        """As `Queries.keys`, without their hashes."""
        return self.connection.value("/keys", KeyList).items

    def sessions(self) -> tuple[StoredSession, ...]:
        """As `Queries.sessions`, without their hashes."""
        return self.connection.value("/sessions", SessionList).items

    def verify_audit(self, head: str = "") -> AuditVerdict:
        """As `Queries.verify_audit`, by the server."""
        return self.connection.value("/audit/verify", AuditVerdict, head=head)

    def revisions(self) -> tuple[Revision, ...]:
        """As `Queries.revisions`, without their texts; none for a key that sees a part of the files only."""
        try:
            return self.connection.value("/revisions", Revisions).items
        except UsageError:
            return ()

    def refusal(self) -> Refusal | None:
        """Not told over HTTP: whoever reloads hears it."""
        return None

    def pipelines(self) -> list[str]:
        """Pipelines of the configuration, and those that have runs."""
        return sorted(
            str(each["pipeline"]) for each in self.connection.document("/pipelines")["items"]
        )

    def tags(self, prefix: str = "", limit: int = 500) -> list[str]:
        """Not told over HTTP: a word that no file has is not asked about."""
        del prefix, limit
        return []

    def run_states(self, runs: Sequence[str]) -> dict[str, tuple[str, str]]:
        """As `Queries.run_states`."""
        found: dict[str, tuple[str, str]] = {}
        for run in runs:
            try:
                history = self.file(run)
            except NotFound:
                continue
            found |= {
                r.summary.run: (r.summary.state, r.summary.fingerprint)
                for r in history.runs
                if r.summary.run == run
            }
        return found

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
        """As `Queries.audit`."""
        asked = {"who": principal, "action": action, "object": object}
        items, after = self._pages(
            "/audit", AuditPage, limit, cursor, since=self._span(since_ns), **asked
        )
        return AuditPage(tuple(items), after)

    def audit_rows(self) -> Iterator[Sealed]:
        """As `Queries.audit_rows`: a server gives the latest first, so it is gone through from the end by numbers."""
        latest = self.audit(limit=1).items
        last = latest[0].number if latest else 0
        after = self._before_first(last)
        while after < last:
            page = self.audit(limit=PAGE, cursor=str(after + PAGE + 1)).items
            yield from (row for row in reversed(page) if after < row.number <= last)
            after += PAGE

    def seen(self) -> Seen | None:
        """What goes on in the server; None when it does not say."""
        try:
            return self.connection.value("/readyz", Seen, also=503, verbose=True)
        except FilemillError:
            return None

    def _before_first(self, last: int) -> int:
        """A number before which there are no rows, found by halves: retention removes them from the beginning."""
        low, high = 0, last
        while high - low > PAGE:
            middle = (low + high) // 2
            if self.audit(limit=1, cursor=str(middle + 1)).items:
                high = middle
            else:
                low = middle
        return low

    def _pages(
        self, path: str, kind: Any, limit: int, cursor: str | None, **asked: Any
    ) -> tuple[list[Any], str | None]:
        """So many items, of as many pages as it takes, and the cursor behind them."""
        items: list[Any] = []
        while True:
            size = min(limit - len(items), PAGE)
            page = self.connection.value(path, kind, limit=size, cursor=cursor or "", **asked)
            items += page.items
            cursor = page.next
            if cursor is None or len(items) >= limit:
                return items, cursor

    def _span(self, since_ns: int) -> str:
        """That moment as a length of time back from now, whatever the server's clock says."""
        if not since_ns:
            return ""
        return f"{max(self._clock.wall_ns() - since_ns, 0) // 1_000_000}ms"


def _sendable(text: str) -> str:
    """Text for a URL; bytes of a name that are no UTF-8 match nothing there.

    Raises:
        UsageError: it has such bytes.
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        shown = base64.b64encode(text.encode("utf-8", "surrogateescape")).decode()
        raise UsageError(
            f"names that are no UTF-8 are not searched for over HTTP (base64 {shown})",
            help="a part of the name that is UTF-8, or the file's id",
        ) from error
    return text
