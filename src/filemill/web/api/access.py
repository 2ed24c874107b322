"""Who may come in: keys and logins, listed, made and ended by an administrator of all."""

from __future__ import annotations

from typing import Any

import msgspec
from fastapi import APIRouter, Request
from starlette.responses import Response

from filemill.model.errors import NotFound
from filemill.ports.clock import SystemClock
from filemill.ports.units import parse_duration
from filemill.queries import KeyList, Queries, SessionList
from filemill.service import acts, replies
from filemill.service.access_shapes import key_row, session_row
from filemill.telemetry.wording import utc
from filemill.web.answering import json, told
from filemill.web.errors import ApiError
from filemill.web.given import KeyNames, Logins, NewKey
from filemill.web.identifying import Admin
from filemill.web.keyed import KeyedRoute
from filemill.web.scopes import must_be_whole
from filemill.web.state import state_of

router = APIRouter(tags=["access"], route_class=KeyedRoute)
_UNTOLD = b""
"""In the place of a hash: it leaves the server in no answer."""


@router.get("/keys", summary="Keys, and what they allow")
async def keys(request: Request, principal: Admin) -> Response:
    """Every key there ever was, the oldest first; never a key itself."""
    must_be_whole(principal)

    def found(queries: Queries) -> KeyList:
        each = queries.keys()
        return KeyList(tuple(msgspec.structs.replace(key, hash=_UNTOLD) for key in each))

    return told(request, await state_of(request).read(found, principal), _keys)


def _keys(found: KeyList) -> dict[str, Any]:
    now = SystemClock().wall_ns()
    items = [key_row(each, now) for each in found.items]
    return {"schema": "filemill.keys/1", "items": items, "next": None}


@router.post("/keys", status_code=201, summary="Make a key")
async def create(request: Request, principal: Admin, given: NewKey) -> Response:
    """The answer has the key, this once: only its hash is kept."""
    must_be_whole(principal)
    state = state_of(request)
    _must_be_there("source", given.sources, [each.name for each in state.opening.sources])
    _must_be_there("pipeline", given.pipelines, state.opening.pipelines)
    act = acts.CreateKey(
        name=given.name,
        roles=tuple(given.roles),
        sources=tuple(given.sources),
        pipelines=tuple(given.pipelines),
        expires_ns=_end_of(given.expires),
        reason=given.reason,
    )
    made = await state.channel.ask(act, principal.name, replies.KeyMade)
    document = {
        "schema": "filemill.key/1",
        "key": made.key,
        "id": made.id,
        "name": act.name,
        "roles": act.roles,
        "sources": act.sources,
        "pipelines": act.pipelines,
        "expires_at": utc(act.expires_ns or 0) or None,
    }
    return json(document, 201, {"cache-control": "no-store"})


@router.post("/keys/revoke", summary="Put keys out of force")
async def revoke(request: Request, principal: Admin, given: KeyNames) -> Response:
    """At once and for good. `moved` is false for one that was revoked already."""
    must_be_whole(principal)
    state = state_of(request)
    act = acts.RevokeKeys(keys=tuple(given.keys), reason=given.reason)

    def known(queries: Queries) -> dict[str, str]:
        return {each.id: each.name for each in queries.keys()}  # noqa: SIM118 -- no dict

    names = await state.read(known, principal)
    _must_be_known("key", given.keys, names, "GET /keys")
    done = await state.channel.ask(act, principal.name, replies.Done)
    items = [
        {"id": each, "name": names[each], "moved": moved}
        for each, moved in zip(given.keys, done.moved, strict=True)
    ]
    return json({"schema": "filemill.revoked/1", "items": items})


@router.get("/sessions", summary="Browsers that are logged in")
async def sessions(request: Request, principal: Admin) -> Response:
    """Those that were not ended and whose time is not over, the oldest first."""
    must_be_whole(principal)
    now = SystemClock().wall_ns()

    def found(queries: Queries) -> SessionList:
        live = [each for each in queries.sessions() if each.expires_ns > now]
        return SessionList(tuple(msgspec.structs.replace(each, hash=_UNTOLD) for each in live))

    return told(request, await state_of(request).read(found, principal), _sessions)


def _sessions(found: SessionList) -> dict[str, Any]:
    items = [session_row(each) for each in found.items]
    return {"schema": "filemill.sessions/1", "items": items, "next": None}


@router.post("/sessions/end", summary="Log browsers out")
async def end(request: Request, principal: Admin, given: Logins) -> Response:
    """At once. `moved` is false for one that was ended already."""
    must_be_whole(principal)
    state = state_of(request)

    def known(queries: Queries) -> dict[str, str]:
        return {each.id: each.principal for each in queries.sessions()}

    names = await state.read(known, principal)
    _must_be_known("session", given.sessions, names, "GET /sessions")
    act = acts.EndSessions(sessions=tuple(given.sessions), reason=given.reason)
    done = await state.channel.ask(act, principal.name, replies.Done)
    items = [
        {"id": each, "principal": names[each], "moved": moved}
        for each, moved in zip(given.sessions, done.moved, strict=True)
    ]
    return json({"schema": "filemill.sessions-ended/1", "items": items})


def _end_of(span: str) -> int | None:
    """When something ends that is good for so long; None: never.

    Raises:
        ApiError: 422, it is no length of time.
    """
    if not span:
        return None
    try:
        return SystemClock().wall_ns() + int(parse_duration(span) * 1e9)
    except (ValueError, OverflowError) as error:
        raise ApiError(422, f"expires: {error}", help="such as 12h or 90d") from error


def _must_be_there(kind: str, words: list[str], known: tuple[str, ...] | list[str]) -> None:
    for word in words:
        if word not in known:
            raise ApiError(422, f"no {kind} `{word}`", help=f"there are: {', '.join(known)}")


def _must_be_known(kind: str, words: list[str], known: dict[str, str], where: str) -> None:
    for word in words:
        if word not in known:
            raise NotFound(f"no {kind} has the id `{word}`", help=where)
