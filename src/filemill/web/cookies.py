"""The cookie of a browser that is logged in, and when it counts: only for requests that a page of ours made.

A browser sends its cookies along with whatever any page has it ask for. So a cookie counts only where the browser says
that the request comes from here (`Sec-Fetch-Site`, `Origin`), and whatever may change something needs a token, too,
that no other page can know. The cookie is not for scripts, and under TLS it is bound to this very host by its name.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets

from fastapi import Request

from filemill.service.face_frames import Opening

CSRF_HEADER = "x-csrf-token"
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
_LONGEST = 128
_SESSION, _LOGIN = "filemill", "filemill-login"


def new_secret() -> str:
    """256 bits of chance, as a cookie may hold them."""
    return secrets.token_urlsafe(32)


def session_name(opening: Opening) -> str:
    """The name of the cookie that holds a session's secret."""
    return _name(_SESSION, opening)


def session_of(request: Request, opening: Opening) -> str:
    """The session's secret that a request carries; empty for none."""
    return _carried(request, session_name(opening))


def login_of(request: Request, opening: Opening) -> str:
    """The secret of a login that is under way elsewhere; empty for none."""
    return _carried(request, _name(_LOGIN, opening))


def keeping_session(secret: str, opening: Opening) -> str:
    """The header that gives a browser its session, until it ends; the ledger says how long it counts."""
    return _set(_SESSION, secret, opening, "")


def keeping_login(secret: str, opening: Opening, seconds: int) -> str:
    """The header that binds a login elsewhere to this browser."""
    return _set(_LOGIN, secret, opening, f"; Max-Age={seconds}")


def forgetting_session(opening: Opening) -> str:
    """The header that takes it away."""
    return _set(_SESSION, "", opening, "; Max-Age=0")


def forgetting_login(opening: Opening) -> str:
    """The header that takes it away."""
    return _set(_LOGIN, "", opening, "; Max-Age=0")


def csrf_token(secret: str) -> str:
    """What proves that a page of ours asks, for a session: it follows from the cookie, which no page can read."""
    digest = hmac.digest(secret.encode(), b"filemill csrf", hashlib.sha256)
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def is_csrf_token(given: str, secret: str) -> bool:
    """Compare in constant time."""
    return hmac.compare_digest(given.encode(), csrf_token(secret).encode())


def own_origin(request: Request, opening: Opening) -> str:
    """How browsers name where this request was sent to; its host is one of ours, the guard saw to it."""
    scheme = "https" if opening.is_private else "http"
    return f"{scheme}://{request.headers.get('host', '').lower()}"


def is_from_here(request: Request, opening: Opening) -> bool:
    """Say whether a page of ours made this request; a safe one may also come from a person who typed it in."""
    safe = request.method in SAFE_METHODS
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is not None and site != "same-origin" and not (safe and site == "none"):
        return False
    if origin is not None and origin != own_origin(request, opening):
        return False
    # A browser that says neither is an old one: what it asks to have changed is not done.
    return safe or site is not None or origin is not None


def _name(name: str, opening: Opening) -> str:
    # Cookies know no ports: two servers on one machine must not take each other's.
    return f"{'__Host-' if opening.is_private else ''}{name}-{opening.port}"


def _carried(request: Request, name: str) -> str:
    found = request.cookies.get(name, "")
    return found if len(found) <= _LONGEST and found.isascii() else ""


def _set(name: str, value: str, opening: Opening, more: str) -> str:
    secure = "; Secure" if opening.is_private else ""
    return f"{_name(name, opening)}={value}; Path=/; HttpOnly; SameSite=Lax{secure}{more}"
