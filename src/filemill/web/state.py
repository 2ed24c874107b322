"""What the routes share: the channel to the server, readings of the ledger, how to serve."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeVar

import anyio.to_thread
from fastapi import Request

from filemill.durable import Durable, Failpoints
from filemill.encryption.age import Sealer
from filemill.model.access import Principal
from filemill.model.errors import FilemillError
from filemill.model.keys import Access
from filemill.model.plan import OidcPlan
from filemill.ports.access import Scope
from filemill.ports.clock import SystemClock
from filemill.queries import Queries, scope_of
from filemill.service import acts, replies
from filemill.service.face_frames import Opening
from filemill.service.reading import open_queries
from filemill.service.recognising import Recognition
from filemill.telemetry.metering import Meter
from filemill.web.begun import Begun
from filemill.web.channel import Channel
from filemill.web.limiting import Limits
from filemill.web.noting import AccessNotes
from filemill.web.sessions import Entered, Sessions, trust_of
from filemill.web.standing import StandingCounts

if TYPE_CHECKING:
    from filemill.service.provider import Provider

T = TypeVar("T")
RECENT = 0.25
"""Seconds for which what the server said of itself is not asked again: whoever sends much asks often."""
SPARE = 16
"""Readings of narrow scopes that are kept for the next request of theirs."""
NOTED_AFTER = 5.0
"""Seconds for which uses of keys are gathered before the ledger hears of them."""
READERS = 4
"""Readings of the ledger at once: each is a connection of its own, used by one thread at a time."""


class State:
    """One per process."""

    def __init__(self, channel: Channel, opening: Opening, local_key: str) -> None:
        self.channel = channel
        self.opening = opening
        self.local_key = local_key
        self.meter = Meter()
        self.limits = Limits(lambda: self.opening.limits)
        self._seen: replies.Seen | None = None
        self._seen_at = 0.0
        self.durable = Durable(Failpoints.from_environment("web"), sync=opening.sync)
        self.sealer = Sealer(opening.recipients) if opening.recipients else None
        """What encrypts what is sent; it holds no secret, and what it encrypted nobody here can read."""
        self.begun = Begun()
        self.appended: set[str] = set()
        """Ids of uploads that a request is adding to."""
        self._free: queue.SimpleQueue[Queries] = queue.SimpleQueue()
        for _ in range(READERS):
            self._free.put(open_queries(opening.data, opens=False))
        self._lock = threading.Lock()
        self._spare: dict[Scope, Queries] = {}
        self._clock = SystemClock()
        self._recognition = Recognition(opening.data, self._clock)
        self.standing = StandingCounts(self.read)
        self.notes = AccessNotes(self._clock, self._note_accesses)
        self.login_key = secrets.token_bytes(32)
        """What ties a login elsewhere to the browser that began it; one that is under way ends with this process."""
        self.provider = _provider(opening.oidc)
        self._uses: dict[str, int] = {}
        self._session_uses: dict[str, int] = {}
        self.sessions = Sessions(
            channel,
            lambda: self.opening.sessions,
            self._clock,
            trust_of(opening.oidc),
            lambda session: self._session_uses.get(session, 0),
        )
        self._noting: asyncio.Task[None] | None = None

    async def look(self) -> replies.Seen:
        """What goes on in the server, as of a moment ago.

        Raises:
            FilemillError: it does not say.
        """
        now = time.monotonic()
        if self._seen is None or now - self._seen_at > RECENT:
            self._seen = await self.channel.ask(acts.Look(), "web", replies.Seen)
            self._seen_at = now
        return self._seen

    async def read(self, question: Callable[[Queries], T], principal: Principal | None = None) -> T:
        """Ask the ledger, in a thread; for a principal, what is out of its scope is not there."""
        return await anyio.to_thread.run_sync(self._ask, question, principal)

    def open(self, principal: Principal) -> Queries:
        """A reading of this principal's scope for it alone, which the caller closes."""
        return open_queries(self.opening.data, principal, opens=False)

    def _ask(self, question: Callable[[Queries], T], principal: Principal | None) -> T:
        scope = Scope() if principal is None else scope_of(principal)
        if principal is None or not scope.narrow:
            with self._reading() as queries:
                return question(queries)
        with self._narrow_reading(principal, scope) as queries:
            return question(queries)

    @contextlib.contextmanager
    def _narrow_reading(self, principal: Principal, scope: Scope) -> Iterator[Queries]:
        """A reading of that scope: it is opened once and kept for the next one who sees the same."""
        with self._lock:
            queries = self._spare.pop(scope, None)
        if queries is None:
            queries = open_queries(self.opening.data, principal, opens=False)
        try:
            yield queries
        finally:
            with self._lock:
                former = self._spare.pop(scope, None)
                self._spare[scope] = queries
                oldest = next(iter(self._spare)) if len(self._spare) > SPARE else None
                over = self._spare.pop(oldest) if oldest is not None else None
            for each in (former, over):
                if each is not None:
                    each.close()

    @contextlib.contextmanager
    def _reading(self) -> Iterator[Queries]:
        queries = self._free.get()
        try:
            yield queries
        finally:
            self._free.put(queries)

    async def key_owner(self, given: str) -> Principal | None:
        """Whose key this is; None for no key, one that is over, or one that was revoked.

        Raises:
            SystemFault: the ledger cannot be read.
        """
        if not self._recognition.could_be(given):
            return None
        found = await self.read(lambda queries: self._recognition.owner(given, queries))
        if found is not None:
            self._uses[found.key] = self._clock.wall_ns()
            self._note_soon()
        return found

    async def session_owner(self, secret: str, *, used: bool = True) -> Entered | None:
        """Whom a browser's cookie lets in; None for none, or one that is over. `used`: something is asked now.

        Raises:
            SystemFault: the ledger cannot be read.
        """
        found = await self.read(lambda queries: self.sessions.owner(secret, queries))
        if found is not None and used:
            self._session_uses[found.id] = self._clock.wall_ns()
            self._note_soon()
        return found

    def _note_soon(self) -> None:
        if self._noting is None or self._noting.done():
            self._noting = asyncio.create_task(self._note_uses(), name="uses")

    async def _note_accesses(self, accesses: tuple[Access, ...]) -> None:
        await self.channel.ask(acts.NoteAccess(accesses=accesses), "web", replies.Done)

    async def _note_uses(self) -> None:
        """Have the ledger note, for many requests at once, when keys and sessions were used last."""
        await asyncio.sleep(NOTED_AFTER)
        uses, self._uses = self._uses, {}
        sessions = dict(self._session_uses)
        with contextlib.suppress(
            FilemillError
        ):  # the next ones are noted; the server says what it lacks
            await self.channel.ask(acts.NoteUse(uses=uses, sessions=sessions), "web", replies.Done)
            # Only what the ledger knows by now: between the two a session would seem idle.
            for session, at_ns in sessions.items():
                if self._session_uses.get(session) == at_ns:
                    del self._session_uses[session]


def _provider(plan: OidcPlan | None) -> Provider | None:
    if plan is None:
        return None
    from filemill.service.provider import Provider  # noqa: PLC0415 -- its libraries are large

    return Provider(plan)


def state_of(request: Request) -> State:
    """The state of the application that a request came to."""
    state = request.app.state.filemill
    assert isinstance(state, State)  # noqa: S101
    return state
