"""Logging a browser in and out: by a link from the console, with a key, at an identity provider."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from typing import TYPE_CHECKING, Annotated
from urllib.parse import parse_qsl, urlencode

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import RedirectResponse, Response

from filemill.model.access import Principal, Right
from filemill.model.errors import NotFound
from filemill.web import cookies, pages
from filemill.web.answering import json
from filemill.web.errors import ApiError
from filemill.web.guarding import address_of
from filemill.web.identifying import Needs, entered, note_denied
from filemill.web.noting import STRANGER
from filemill.web.sessions import KEY, OIDC, Entered
from filemill.web.state import State, state_of

if TYPE_CHECKING:
    from filemill.service.provider import Provider

router = APIRouter(tags=["login"])
LOGIN, LINK, WITH_KEY, OUT = "/login", "/login/link", "/login/key", "/logout"
AT_PROVIDER, BACK = "/login/oidc", "/login/oidc/done"
OPEN = (LOGIN, LINK, WITH_KEY, AT_PROVIDER, BACK, OUT)
"""Paths that ask for no right: they are how somebody comes by one, or gives it up."""
LASTS = 600
"""Seconds that a login elsewhere may take."""
_FORM = "application/x-www-form-urlencoded"
_MOST_FIELDS = 8
_LONGEST = 4096
"""Signs of what a provider hands back."""

Anybody = Annotated[Principal, Depends(Needs(*Right))]


@router.get("/session", summary="Who you are")
async def session(request: Request, principal: Anybody) -> Response:
    """Your name, roles, rights and scope; in a browser also the `csrf` that must come along as X-CSRF-Token."""
    secret = ""
    if request.headers.get("authorization") is None:
        secret = cookies.session_of(request, state_of(request).opening)
    told = {
        "principal": principal.name,
        "roles": list(principal.roles),
        "rights": sorted(principal.rights),
        "sources": list(principal.sources),
        "pipelines": list(principal.pipelines),
        "csrf": cookies.csrf_token(secret) if secret else None,
    }
    return json({"schema": "filemill.session/1", **told})


@router.get(LOGIN, summary="The ways to log a browser in")
async def login(request: Request) -> Response:
    """A page: the ways in; for whoever is in, the way out."""
    state = state_of(request)
    try:
        found = await entered(request)
    except ApiError:
        return pages.ask_to_log_in(oidc=_provider(state) is not None)
    csrf = cookies.csrf_token(found.secret)
    may = found.principal.may(Right.VIEW_META)
    return pages.already_in(found.principal.name, csrf, docs=may)


@router.get(LINK, summary="Where a link of `filemill open` leads")
async def follow_link(t: Annotated[str, Query(max_length=128)] = "") -> Response:
    """A page with one button."""
    return pages.confirm_link(t)


@router.post(LINK, summary="Log in by a link")
async def log_in_by_link(request: Request) -> Response:
    """Form field `t`, which `filemill open` prints; it counts once and for two minutes."""
    form = await _form(request)
    state, address = state_of(request), address_of(request.scope)
    state.limits.may_try(address)
    try:
        found = await state.sessions.enter_by_link(form.get("t", ""), address)
    except NotFound as error:
        state.limits.failed(address)
        note_denied(request, STRANGER, error.message)
        return pages.refuse(401, error.message, error.help)
    return await _welcome(request, found)


@router.post(WITH_KEY, summary="Log in with a key")
async def log_in_with_key(request: Request) -> Response:
    """Form field `key`. The session has the key's rights and ends with it."""
    form = await _form(request)
    state, address = state_of(request), address_of(request.scope)
    given = form.get("key", "").strip()
    # Its id stands behind the prefix; what has none is nobody's account.
    account = given.split("_")[1][:20] if given.count("_") > 1 else ""
    state.limits.may_try(address)
    if account:
        state.limits.may_try(f"key {account}", "with this id came")
    principal = await state.key_owner(given)
    if principal is None:
        state.limits.failed(address)
        if account:
            state.limits.failed(f"key {account}")
        note_denied(request, STRANGER, "no such key")
        return pages.refuse(
            401, "no such key, or it is over or revoked", "filemill keys create makes one"
        )
    return await _welcome(request, await state.sessions.enter(principal, KEY, address))


@router.get(AT_PROVIDER, summary="Log in at the identity provider")
async def go_to_provider(request: Request) -> Response:
    """To the provider, and from there back here (authorization code, PKCE)."""
    state = state_of(request)
    provider = _provider_or_nothing(state)
    from filemill.service.provider import Unreachable  # noqa: PLC0415 -- loaded where there is one

    try:
        endpoints = await provider.endpoints()
    except Unreachable:
        return _away()
    seed = f"{int(time.monotonic())}.{cookies.new_secret()}"
    verifier = _derived(state, seed, "verifier")
    asked = {
        "response_type": "code",
        "client_id": provider.plan.client_id,
        "redirect_uri": _back(request, state),
        "scope": " ".join(provider.plan.scopes),
        "state": _derived(state, seed, "state"),
        "nonce": _derived(state, seed, "nonce"),
        "code_challenge": _text(hashlib.sha256(verifier.encode()).digest()),
        "code_challenge_method": "S256",
    }
    there = endpoints.authorization_endpoint
    answer = RedirectResponse(f"{there}{'&' if '?' in there else '?'}{urlencode(asked)}", 303)
    answer.headers["set-cookie"] = cookies.keeping_login(seed, state.opening, LASTS)
    return answer


@router.get(BACK, summary="Where the identity provider sends browsers back")
async def come_back(
    request: Request,
    *,
    code: Annotated[str, Query(max_length=_LONGEST)] = "",
    given: Annotated[str, Query(alias="state", max_length=_LONGEST)] = "",
    issuer: Annotated[str, Query(alias="iss", max_length=_LONGEST)] = "",
    error: Annotated[str, Query(max_length=_LONGEST)] = "",
) -> Response:
    """Change the code for who somebody is, and log the browser in."""
    state = state_of(request)
    provider = _provider_or_nothing(state)
    seed = cookies.login_of(request, state.opening)
    if not seed or not _is_begun(state, seed, given):
        note_denied(request, STRANGER, "a login that was not begun in this browser")
        why = "this login was not begun in this browser, or too long ago"
        return pages.refuse(400, why, "begin again")
    if error or (issuer and issuer != provider.plan.issuer):
        why = (
            f"the identity provider refuses: {error[:100]}" if error else "another provider answers"
        )
        note_denied(request, STRANGER, why)
        return pages.refuse(403, why, "begin again, or ask whoever runs the provider")
    answer = await _come_in(request, provider, code, seed)
    answer.headers.append("set-cookie", cookies.forgetting_login(state.opening))
    return answer


@router.post(OUT, summary="Log out")
async def log_out(request: Request) -> Response:
    """Form field `csrf`, or X-CSRF-Token: what GET /session tells. The session ends at once."""
    form = await _form(request)
    state = state_of(request)
    secret = cookies.session_of(request, state.opening)
    found = await state.session_owner(secret) if secret else None
    if found is not None:
        given = request.headers.get(cookies.CSRF_HEADER) or form.get("csrf", "")
        if not cookies.is_csrf_token(given, secret):
            note_denied(request, found.principal.name, "no CSRF token")
            raise ApiError(403, "nothing proves that this was meant", code="csrf")
        await state.sessions.leave(found)
    answer = RedirectResponse(LOGIN, 303)
    answer.headers["set-cookie"] = cookies.forgetting_session(state.opening)
    return answer


async def _come_in(request: Request, provider: Provider, code: str, seed: str) -> Response:
    from filemill.identity.tokens import Unfit  # noqa: PLC0415 -- as above
    from filemill.service.provider import Unreachable  # noqa: PLC0415

    state, address = state_of(request), address_of(request.scope)
    state.limits.may_try(address)
    try:
        principal = await provider.redeem(
            code,
            verifier=_derived(state, seed, "verifier"),
            nonce=_derived(state, seed, "nonce"),
            redirect=_back(request, state),
        )
    except Unfit as error:
        state.limits.failed(address)
        note_denied(request, STRANGER, str(error)[:200])
        return pages.refuse(
            401, "the identity provider does not vouch for this login", "begin again"
        )
    except Unreachable:
        return _away()
    if not principal.rights:
        note_denied(request, principal.name, "no role")
        return pages.refuse(
            403,
            "the identity provider knows you, but nothing that it says gives you a role here",
            "whoever runs this server maps its claims to roles: `web: {oidc: {roles: ...}}`",
        )
    found = await state.sessions.enter(principal, OIDC, address)
    return await _welcome(request, found, from_elsewhere=True)


async def _welcome(request: Request, found: Entered, *, from_elsewhere: bool = False) -> Response:
    """Into the session; the one before it in this browser ends."""
    state = state_of(request)
    former = cookies.session_of(request, state.opening)
    if former and (old := await state.session_owner(former)) is not None:
        await state.sessions.leave(old)
    place = "/docs" if found.principal.may(Right.VIEW_META) else LOGIN
    # Behind a redirect from another site a browser would say that this site did not ask.
    answer = pages.lead_on(place) if from_elsewhere else RedirectResponse(place, 303)
    answer.headers.append("set-cookie", cookies.keeping_session(found.secret, state.opening))
    return answer


async def _form(request: Request) -> dict[str, str]:
    """The fields of a form that a page of ours sent.

    Raises:
        ApiError: 403, another page did; 415, it is no form; 400, it cannot be read.
    """
    if not cookies.is_from_here(request, state_of(request).opening):
        note_denied(request, STRANGER, "another page asks")
        raise ApiError(
            403, "another page asks for this", help=f"begin at {LOGIN}", code="cross-origin"
        )
    body = await request.body()
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if body and kind != _FORM:
        raise ApiError(415, f"this takes a form: {_FORM}")
    try:
        fields = parse_qsl(
            body.decode("ascii"), strict_parsing=bool(body), max_num_fields=_MOST_FIELDS
        )
    except ValueError as error:
        raise ApiError(400, "the form cannot be read") from error
    return dict(fields)


def _provider(state: State) -> Provider | None:
    """The provider, if browsers log in there."""
    provider = state.provider
    return provider if provider is not None and provider.plan.client_id else None


def _provider_or_nothing(state: State) -> Provider:
    provider = _provider(state)
    if provider is None:
        raise ApiError(404, "nobody logs in elsewhere", help="`web: {oidc: {client_id: ...}}`")
    return provider


def _away() -> Response:
    why = "the identity provider does not answer"
    return pages.refuse(503, why, "try again soon; keys and `filemill open` go on meanwhile")


def _back(request: Request, state: State) -> str:
    return cookies.own_origin(request, state.opening) + BACK


def _is_begun(state: State, seed: str, given: str) -> bool:
    """Say whether this process began that login, in this browser, and not too long ago."""
    same = hmac.compare_digest(given.encode(), _derived(state, seed, "state").encode())
    began = seed.partition(".")[0]
    return same and began.isdecimal() and time.monotonic() - int(began) <= LASTS


def _derived(state: State, seed: str, what: str) -> str:
    """What of a login elsewhere must be known again: it follows from the browser's cookie, and nothing is kept."""
    return _text(hmac.digest(state.login_key, f"{what} {seed}".encode(), hashlib.sha256))


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
