"""The certificate of HTTP: how long it lasts, and who can read its key."""

from __future__ import annotations

import os
import stat

from filemill.model.plan import WebPlan
from filemill.ports.clock import Clock
from filemill.ports.examining import Finding, Level

ABOUT = "certificate"
SOON = 14
"""Days before its end from which on it is warned of."""


def examine_certificate(web: WebPlan, clock: Clock) -> list[Finding]:
    """What is found; nothing where TLS is not served. A file that cannot be read is the configuration's problem."""
    if not web.port or web.tls is None:
        return []
    from cryptography import x509  # noqa: PLC0415 -- heavy, and TLS is seldom

    with open(web.tls.cert, "rb") as file:
        end = x509.load_pem_x509_certificates(file.read())[0].not_valid_after_utc
    return [_lasting(end.timestamp() - clock.wall_ns() / 1e9), *_readable(web.tls.key)]


def _lasting(seconds: float) -> Finding:
    days = int(seconds // 86400)
    values: dict[str, str | int | None] = {"days": days}
    renew = "renew it; a running server takes the new files by itself"
    if seconds <= 0:
        return Finding(Level.PROBLEM, ABOUT, "it is over: clients refuse it", renew, values)
    if days < SOON:
        return Finding(Level.WARNING, ABOUT, f"it ends in {days} days", renew, values)
    return Finding(Level.OK, ABOUT, f"it lasts {days} days", values=values)


def _readable(key: str) -> list[Finding]:
    mode = stat.S_IMODE(os.stat(key).st_mode)
    if mode & 0o077:
        what = f"others may read its key, {key}"
        return [Finding(Level.WARNING, ABOUT, what, f"chmod 600 {key}")]
    return []
