"""Browsers that are logged in: whom a cookie lets in. Each request asks the ledger, so that an end counts at once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import msgspec

from filemill.model.access import Principal
from filemill.model.keys import IN_FORCE
from filemill.model.plan import OidcPlan, SessionsPlan
from filemill.model.sessions import StoredSession, hashed
from filemill.ports.clock import Clock
from filemill.queries import Queries
from filemill.service import acts, replies
from filemill.web.channel import Channel
from filemill.web.cookies import new_secret

OIDC = "oidc"
KEY = "key"


class Entered(msgspec.Struct, frozen=True):
    """A session, and whom it lets in."""

    id: str
    secret: str
    principal: Principal


class Sessions:
    """One per process. `pending` says when a session was used of which the ledger has not heard yet."""

    def __init__(
        self,
        channel: Channel,
        plan: Callable[[], SessionsPlan],
        clock: Clock,
        trust: str,
        pending: Callable[[str], int],
    ) -> None:
        self._channel = channel
        self._plan = plan
        self._clock = clock
        self._trust = trust
        self._pending = pending

    def owner(self, secret: str, queries: Queries) -> Entered | None:
        """Whom this cookie lets in; None for none, one that is over, or whose key or provider counts no more."""
        found = queries.session(hashed(secret))
        if found is None:
            return None
        used = max(found.used_ns, self._pending(found.id))
        now = self._clock.wall_ns()
        if msgspec.structs.replace(found, used_ns=used).over(now, self._plan().idle):
            return None
        principal = self._principal(found, queries, now)
        return None if principal is None else Entered(found.id, secret, principal)

    def _principal(self, found: StoredSession, queries: Queries, now_ns: int) -> Principal | None:
        if found.how == OIDC and found.trust != self._trust:
            return None
        if not found.key:
            return found.owner
        key = queries.key(found.key)
        if key is None or key.state(now_ns) != IN_FORCE:
            return None
        return key.principal

    async def enter(self, principal: Principal, how: str, address: str) -> Entered:
        """Log a browser in.

        Raises:
            FilemillError: the server does not do it.
        """
        secret = new_secret()
        act = acts.OpenSession(
            hash=hashed(secret),
            how=how,
            principal=principal.name,
            roles=principal.roles,
            sources=principal.sources,
            pipelines=principal.pipelines,
            key=principal.key,
            trust=self._trust if how == OIDC else "",
            address=address,
        )
        opened = await self._channel.ask(act, principal.name, replies.SessionOpened)
        return Entered(opened.id, secret, principal)

    async def enter_by_link(self, link: str, address: str) -> Entered:
        """Log a browser in as whoever asked for this link at the console.

        Raises:
            NotFound: it was used, or is too old, or there never was one.
            FilemillError: the server does not do it.
        """
        secret = new_secret()
        act = acts.OpenSession(hash=hashed(secret), how="link", link=link, address=address)
        opened = await self._channel.ask(act, "web", replies.SessionOpened)
        return Entered(opened.id, secret, Principal(name=opened.principal, roles=opened.roles))

    async def leave(self, entered: Entered) -> None:
        """Log a browser out.

        Raises:
            FilemillError: the server does not do it.
        """
        act = acts.EndSessions(sessions=(entered.id,))
        await self._channel.ask(act, entered.principal.name, replies.Done)


def trust_of(plan: OidcPlan | None) -> str:
    """Under which settings a provider's word is taken; what changes nothing about who may do what is not part of it."""
    if plan is None:
        return ""
    settings = (
        plan.issuer,
        plan.client_id,
        plan.audience,
        plan.roles,
        plan.sources,
        plan.pipelines,
    )
    return hashlib.sha256(msgspec.json.encode(settings, order="deterministic")).hexdigest()[:16]
