"""Who asks: from a request's credential to a principal. No credential, no principal, and so no right."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from filemill.model.access import Principal, Right
from filemill.web.errors import ApiError
from filemill.web.guarding import address_of
from filemill.web.local_key import is_it
from filemill.web.noting import STRANGER
from filemill.web.state import State, state_of

CHALLENGE = {"www-authenticate": 'Bearer realm="filemill"'}
HOW = "send `Authorization: Bearer KEY`; `filemill keys create NAME --role ROLE` makes a key"


async def principal_of(request: Request) -> Principal:
    """Whom the request comes from.

    Raises:
        ApiError: 401, it names nobody; 429, there are too many.
    """
    state = state_of(request)
    header = request.headers.get("authorization", "")
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
    state.limits.request("principal", found.name)
    request.scope["filemill.principal"] = found
    return found


async def _known(state: State, given: str) -> Principal | None:
    if is_it(given, state.local_key):
        return Principal(name="local", roles=("admin",))
    return await state.key_owner(given)


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
