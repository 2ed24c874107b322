"""The identity provider over the network: where it is told to answer, the keys it signs with, codes changed for tokens.

Its keys are fetched once and kept. A token whose key is not known has them fetched again, though not more often than
every few seconds, whoever asks; every hour they are fetched anew, so that a key which the provider takes back counts no
more. While it does not answer, the keys that are known go on.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import ssl
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlsplit

import httpx2
import jwt
import msgspec

from filemill.config.certificates import client_context
from filemill.identity import tokens
from filemill.identity.tokens import Unfit
from filemill.model.access import Principal
from filemill.model.errors import UsageError
from filemill.model.plan import LOOPBACK, OidcPlan

AGAIN = 5.0
"""Seconds between two tries to fetch its keys."""
ANEW = 3600.0
"""Seconds after which keys are fetched again though all is known."""
PATIENCE = 10.0
"""Seconds in which it must have answered."""
MOST = 1 << 20
"""Bytes of an answer."""
WELL_KNOWN = "/.well-known/openid-configuration"
_BASIC, _POST = "client_secret_basic", "client_secret_post"


class Unreachable(Exception):
    """It does not answer, or not as a provider does."""


class Endpoints(msgspec.Struct, frozen=True):
    """Where it answers what."""

    issuer: str
    jwks_uri: str
    authorization_endpoint: str = ""
    token_endpoint: str = ""
    token_endpoint_auth_methods_supported: tuple[str, ...] = (_BASIC,)


class Tokens(msgspec.Struct, frozen=True):
    """What it gives for a code."""

    id_token: str = ""
    access_token: str = ""


class Provider:
    """One per process, in its event loop. `monotonic` is the clock that pauses go by."""

    def __init__(self, plan: OidcPlan, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.plan = plan
        self._monotonic = monotonic
        self._client: httpx2.AsyncClient | None = None
        self._endpoints: Endpoints | None = None
        self._keys: tokens.Keys = {}
        self._one = asyncio.Lock()
        self._tried: float | None = None
        self._fetched = 0.0
        self._why = ""
        self._renewing: asyncio.Task[None] | None = None

    async def owner(self, text: str) -> Principal:
        """Whom an access token lets in, with whatever rights it gives: maybe none.

        Raises:
            Unfit: nobody.
            Unreachable: that cannot be told now.
        """
        return tokens.principal_of(
            await self._verified(text, self.plan.audience, tokens.ACCESS), self.plan
        )

    @property
    def keys(self) -> int:
        """How many of its keys are known."""
        return len({kid for kid, _ in self._keys})

    async def aclose(self) -> None:
        """Ask no more. Idempotent."""
        if self._renewing is not None:
            self._renewing.cancel()
        if self._client is not None:
            await self._client.aclose()

    async def endpoints(self) -> Endpoints:
        """Where it answers.

        Raises:
            Unreachable: it does not say.
        """
        if self._endpoints is None:
            await self._refresh()
        if self._endpoints is None:
            raise Unreachable(self._why or "it did not answer a moment ago")
        return self._endpoints

    async def redeem(self, code: str, *, verifier: str, nonce: str, redirect: str) -> Principal:
        """Whom the code of a login lets in.

        Raises:
            Unfit: nobody.
            Unreachable: that cannot be told now.
        """
        given = await self._exchange(code, verifier, redirect)
        claims = await self._verified(given.id_token, self.plan.client_id, tokens.ID)
        if not hmac.compare_digest(str(claims.get("nonce", "")).encode(), nonce.encode()):
            raise Unfit("the identity token is not of this login")
        if claims.get("azp", self.plan.client_id) != self.plan.client_id:
            raise Unfit("the identity token was given to somebody else")
        # Many providers tell roles and groups in the access token only.
        return tokens.principal_of(await self._more(given, claims) | claims, self.plan)

    async def _more(self, given: Tokens, claims: dict[str, Any]) -> dict[str, Any]:
        try:
            found = await self._verified(given.access_token, self.plan.audience, tokens.ACCESS)
        except Unfit:  # opaque, or for another audience: it tells nothing
            return {}
        return found if found["sub"] == claims["sub"] else {}

    async def _verified(self, text: str, audience: str, use: str) -> dict[str, Any]:
        if not tokens.could_be(text):
            raise Unfit("it is no token")
        key = await self._key(tokens.told(text))
        return tokens.verified(text, key, issuer=self.plan.issuer, audience=audience, use=use)

    async def _key(self, told: tokens.Told) -> jwt.PyJWK:
        wanted = (told.kid, told.algorithm)
        if (found := self._keys.get(wanted)) is not None:
            old = self._monotonic() - self._fetched > ANEW and self._may_try()
            if old and (self._renewing is None or self._renewing.done()):
                self._renewing = asyncio.create_task(self._refresh(), name="provider's keys")
            return found
        await self._refresh()
        if (found := self._keys.get(wanted)) is not None:
            return found
        if self._why:
            raise Unreachable(self._why)
        raise Unfit("the provider has no such key")

    def _may_try(self) -> bool:
        return self._tried is None or self._monotonic() - self._tried > AGAIN

    async def _refresh(self) -> None:
        """Fetch where it answers and its keys, unless that was tried a moment ago."""
        async with self._one:
            if not self._may_try():
                return
            self._tried = self._monotonic()
            try:
                endpoints = await self._discovered()
                keys = tokens.keys_of(await self._ask("GET", endpoints.jwks_uri))
            except (Unreachable, tokens.NoKeys) as error:
                self._why = str(error)
                return
            self._endpoints, self._keys, self._why = endpoints, keys, ""
            self._fetched = self._monotonic()

    async def _discovered(self) -> Endpoints:
        issuer = self.plan.issuer
        told = await self._ask("GET", issuer.rstrip("/") + WELL_KNOWN)
        try:
            found = msgspec.convert(told, Endpoints)
        except msgspec.ValidationError as error:
            raise Unreachable(f"it describes itself wrongly: {error}") from error
        if found.issuer != issuer:
            raise Unreachable(f"it calls itself {found.issuer[:200]}, not {issuer}")
        for url in (found.jwks_uri, found.authorization_endpoint, found.token_endpoint):
            self._must_be_safe(url)
        return found

    def _must_be_safe(self, url: str) -> None:
        """Nothing that it names may be asked less safely than itself."""
        try:
            parts = urlsplit(url)
        except ValueError as error:
            raise Unreachable("it names an address that is none") from error
        local = parts.hostname in LOOPBACK and urlsplit(self.plan.issuer).scheme == "http"
        if url and parts.scheme != "https" and not (local and parts.scheme == "http"):
            raise Unreachable(f"it wants to be asked at {url[:200]}, without TLS")

    async def _exchange(self, code: str, verifier: str, redirect: str) -> Tokens:
        endpoints = await self.endpoints()
        plan = self.plan
        fields = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect,
            "code_verifier": verifier,
        }
        credentials: tuple[str, str] | None = None
        if not plan.client_secret:
            fields["client_id"] = plan.client_id
        elif _BASIC in endpoints.token_endpoint_auth_methods_supported:
            credentials = (quote(plan.client_id, safe=""), quote(plan.client_secret, safe=""))
        else:
            fields |= {"client_id": plan.client_id, "client_secret": plan.client_secret}
        told = await self._ask("POST", endpoints.token_endpoint, data=fields, auth=credentials)
        try:
            return msgspec.convert(told, Tokens)
        except msgspec.ValidationError as error:
            raise Unreachable(f"its tokens cannot be read: {error}") from error

    async def _ask(self, method: str, url: str, **more: Any) -> Any:
        """The JSON that it answers.

        Raises:
            Unfit: it refuses what it is asked.
            Unreachable: it does not answer, or not with JSON.
        """
        body = b""
        try:
            if self._client is None:
                self._client = await asyncio.to_thread(self._made)
            async with (
                asyncio.timeout(PATIENCE),
                self._client.stream(method, url, **more) as answer,
            ):
                async for piece in answer.aiter_bytes():
                    body += piece
                    if len(body) > MOST:
                        raise Unreachable(f"{url} answers without end")
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, UsageError) as error:
            raise Unreachable(f"{url}: {str(error) or type(error).__name__}") from error
        if method == "POST" and 400 <= answer.status_code < 500:
            raise Unfit(f"the provider refuses the code: {answer.status_code}")
        if answer.status_code != 200:
            raise Unreachable(f"{url} answered {answer.status_code}")
        try:
            return json.loads(body)
        except (ValueError, RecursionError) as error:
            raise Unreachable(f"{url} answered no JSON") from error

    def _made(self) -> httpx2.AsyncClient:
        """In a thread: reading authorities takes a while."""
        verify: ssl.SSLContext | bool = client_context(self.plan.ca) if self.plan.ca else True
        return httpx2.AsyncClient(
            verify=verify,
            follow_redirects=False,
            timeout=PATIENCE / 2,
            headers={"accept": "application/json", "user-agent": "filemill"},
        )
