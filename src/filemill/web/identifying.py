"""Who asks: from a request's credential to a principal. No credential, no principal, and so no right.

The credential is a key or a token in `Authorization`; only where there is no such header at all, the cookie of a
browser that is logged in, and that only for requests that a page of ours makes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import Depends, Request

from filemill.model.access import Principal, Right
from filemill.web import cookies
from filemill.web.errors import ApiError
from filemill.web.guarding import address_of
from filemill.web.local_key import is_it
from filemill.web.noting import STRANGER
from filemill.web.sessions import Entered
from filemill.web.state import State, state_of

if TYPE_CHECKING:
    from filemill.service.provider import Provider

CHALLENGE = {"www-authenticate": 'Bearer realm="filemill"'}
HOW = "send `Authorization: Bearer KEY` (`filemill keys create NAME --role ROLE` makes one); browsers: /login"


async def principal_of(request: Request) -> Principal:
    """Whom the request comes from.

    Raises:
        ApiError: 401, it names nobody; 429, there are too many.
    """
    state = state_of(request)
    header = request.headers.get("authorization")
    if header is None:
        return _counted(request, (await entered(request)).principal)
    scheme, _, given = header.partition(" ")
    if scheme.lower() != "bearer" or not given.strip():
        raise ApiError(401, "this needs a key", help=HOW, headers=CHALLENGE)
    address = address_of(request.scope)
    state.limits.may_try(address)
    found = await _known(state, given.strip())
    if found is None:
        state.limits.failed(address)
        state.notes.note(STRANGER, "denied", request.url.path[:200], address=address)
        raise ApiError(401, "no such key, or it is over or revoked", help=HOW, headers=CHALLENGE)
    return _counted(request, found)


def _counted(request: Request, found: Principal) -> Principal:
    state_of(request).limits.request("principal", found.name)
    request.scope["filemill.principal"] = found
    return found


async def entered(request: Request) -> Entered:
    """The session that a browser is in, if this request may use it.

    Raises:
        ApiError: 401, there is none that counts here; 403, it may change something and has no token.
    """
    state = state_of(request)
    secret = cookies.session_of(request, state.opening)
    found = None
    if secret and cookies.is_from_here(request, state.opening):
        # Whoever is asked about once more, as by a stream that goes on, does nothing by that.
        again = "filemill.principal" in request.scope
        found = await state.session_owner(secret, used=not again)
    if found is None:
        raise ApiError(401, "this needs a key", help=HOW, headers=CHALLENGE)
    if request.method not in cookies.SAFE_METHODS:
        given = request.headers.get(cookies.CSRF_HEADER, "")
        if not cookies.is_csrf_token(given, secret):
            note_denied(request, found.principal.name, "no CSRF token")
            raise ApiError(
                403,
                "this may change something, and nothing proves that it was meant",
                help="send the `csrf` that GET /session tells as X-CSRF-Token",
                code="csrf",
            )
    return found


def note_denied(request: Request, who: str, why: str = "") -> None:
    """Have the audit know that a door was shut to somebody."""
    what = f"{request.method} {request.url.path[:200]}"
    detail = {"why": why} if why else {}
    state_of(request).notes.note(who, "denied", what, address=address_of(request.scope), **detail)


async def _known(state: State, given: str) -> Principal | None:
    if is_it(given, state.local_key):
        return Principal(name="local", roles=("admin",))
    if state.provider is not None and given.count(".") == 2:
        return await _vouched_for(state.provider, given)
    return await state.key_owner(given)


async def _vouched_for(provider: Provider, given: str) -> Principal | None:
    # Loaded where there is one.
    from filemill.identity.tokens import Unfit  # noqa: PLC0415
    from filemill.service.provider import Unreachable  # noqa: PLC0415

    try:
        return await provider.owner(given)
    except Unfit:
        return None
    except Unreachable as error:
        raise ApiError(
            503,
            "the identity provider does not answer: whose token this is cannot be told now",
            help="ask again soon; keys, and tokens that it signed as before, go on meanwhile",
        ) from error


class Needs:
    """A dependency: the principal, which has at least one of these rights; it sees no more than its scope.

    Raises:
        ApiError: 401 without a principal, 403 where it may not.
    """

    def __init__(self, *rights: Right) -> None:
        self.rights = rights

    async def __call__(self, request: Request) -> Principal:
        """Whom the request comes from. In the event loop: in a thread it would cost more than all else."""
        if request.scope.get("filemill.passed") is self:
            # Its route has asked already, before it read the body.
            passed: Principal = request.scope["filemill.principal"]
            return passed
        principal = await principal_of(request)
        if not any(principal.may(right) for right in self.rights):
            names = " or ".join(f"`{right}`" for right in self.rights)
            raise ApiError(403, f"this needs the right {names}", help="ask for a key with it")
        request.scope["filemill.passed"] = self
        return principal


Uploader = Annotated[Principal, Depends(Needs(Right.UPLOAD))]
MetaViewer = Annotated[Principal, Depends(Needs(Right.VIEW_META))]
OwnViewer = Annotated[Principal, Depends(Needs(Right.VIEW_META, Right.UPLOAD))]
ContentViewer = Annotated[Principal, Depends(Needs(Right.VIEW_CONTENT))]
Operator = Annotated[Principal, Depends(Needs(Right.OPERATE))]
Releaser = Annotated[Principal, Depends(Needs(Right.OPERATE, Right.RELEASE_UNSAFE))]
Admin = Annotated[Principal, Depends(Needs(Right.ADMINISTER))]
Scraper = Annotated[Principal, Depends(Needs(Right.SCRAPE, Right.VIEW_META))]
