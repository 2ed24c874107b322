"""Logging browsers in and out: handlers of acts.

A link lives in the server's memory only: a server that begins anew knows none, and people ask for another. A session is
a row of the ledger, so that it outlives the process that speaks HTTP, and the server.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from filemill.model.deeds import Deed
from filemill.model.errors import NotFound, SystemFault, UsageError
from filemill.model.plan import LOOPBACK, WebPlan
from filemill.model.sessions import StoredSession, hashed
from filemill.ports.ledger import Ledger
from filemill.service import acts, replies

LINK_LASTS = 120.0
"""Seconds for which a link can be used."""
PATH = "/login/link"
LINK = "link"
"""How a session begins that somebody at the console asked for."""
OWNER_ROLES = ("admin",)
"""Of whoever can ask for a link: it is the user of the data directory, who could do everything anyway."""
_MOST_LINKS = 100
_TRIES = 3


class _Link(msgspec.Struct, frozen=True):
    principal: str
    expires_ns: int


class Sessions:
    """The handlers, over one ledger; `web` says where a link leads."""

    def __init__(self, ledger: Ledger, web: WebPlan) -> None:
        self._ledger = ledger
        self._web = web
        self._links: dict[bytes, _Link] = {}

    @property
    def handlers(self) -> Mapping[Any, Any]:
        """By act."""
        return {
            acts.MakeLink: self.link,
            acts.OpenSession: self.open,
            acts.EndSessions: self.end,
        }

    async def link(self, act: acts.MakeLink, deed: Deed) -> replies.LinkMade:
        """Make a link.

        Raises:
            UsageError: nobody would answer there.
        """
        del act
        if not self._web.port:
            raise UsageError(
                "this server serves no HTTP",
                help="start it without --no-web, and with an address in `web: {listen: ...}`",
            )
        self._links = {h: link for h, link in self._links.items() if link.expires_ns > deed.at_ns}
        if len(self._links) >= _MOST_LINKS:
            del self._links[next(iter(self._links))]
        secret = secrets.token_urlsafe(32)
        expires_ns = deed.at_ns + int(LINK_LASTS * 1e9)
        self._links[hashed(secret)] = _Link(deed.principal, expires_ns)
        return replies.LinkMade(f"{_base(self._web)}{PATH}?t={secret}", expires_ns)

    async def open(self, act: acts.OpenSession, deed: Deed) -> replies.SessionOpened:
        """Log a browser in.

        Raises:
            NotFound: there is no such link, or not any more.
        """
        principal, roles = act.principal, act.roles
        if act.how == LINK:
            link = self._links.pop(hashed(act.link), None)
            if link is None or link.expires_ns <= deed.at_ns:
                raise NotFound(
                    "this link was used, or it is older than two minutes",
                    help="`filemill open` prints another one",
                )
            principal, roles = link.principal, OWNER_ROLES
        longest = int(self._web.sessions.longest * 1e9)
        for _ in range(_TRIES):
            session = StoredSession(
                id=secrets.token_hex(4),
                hash=act.hash,
                principal=principal,
                roles=roles,
                sources=act.sources,
                pipelines=act.pipelines,
                key=act.key,
                how=act.how,
                trust=act.trust,
                address=act.address,
                created_ns=deed.at_ns,
                used_ns=deed.at_ns,
                expires_ns=deed.at_ns + longest,
            )
            owned = msgspec.structs.replace(deed, principal=principal)
            if await self._ledger.open_session(session, owned):
                return replies.SessionOpened(session.id, principal, roles)
        raise SystemFault("no free id for a session was found", help="try again")

    async def end(self, act: acts.EndSessions, deed: Deed) -> Sequence[bool]:
        """Log browsers out: each request asks the ledger."""
        return await self._ledger.end_sessions(act.sessions, deed)


def _base(web: WebPlan) -> str:
    """Where a browser finds the server."""
    wildcard = web.host in ("0.0.0.0", "::")  # noqa: S104 -- compared, not bound
    named = bool(web.hosts) and (web.is_private or wildcard)
    host = web.hosts[0] if named else LOOPBACK[0] if wildcard else web.host
    host = f"[{host}]" if ":" in host else host
    if web.behind_proxy and named and web.tls is None:
        return f"https://{host}"
    return f"{'https' if web.tls is not None else 'http'}://{host}:{web.port}"
