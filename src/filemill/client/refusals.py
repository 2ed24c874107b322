"""A server's errors, read from their one JSON shape into the one tree: a command ends as it does without HTTP."""

from __future__ import annotations

import ssl
from typing import Any

import msgspec

from filemill.model import errors


class BadConfiguration(errors.PermanentError):
    """What lies on the server's disk is none that can be taken."""


_OF_CODE: dict[str, type[errors.FilemillError]] = {
    "not-found": errors.NotFound,
    "conflict": errors.NotFound,  # it is there, but in another state than was meant
    "no-room": errors.NoRoom,
    "queue-full": errors.QueueFull,
    "too-many": errors.QueueFull,
    "busy": errors.Busy,
    "try-again": errors.SystemFault,
    "system": errors.SystemFault,
    "down": errors.Busy,
    "defect": errors.SystemFault,
    "refused": errors.PermanentError,
    "bad-configuration": BadConfiguration,
}
_LONGEST = 2_000


class Said(msgspec.Struct, frozen=True):
    """What an answer that is no success says."""

    code: str = ""
    message: str = ""
    help: str = ""


class _Body(msgspec.Struct, frozen=True):
    error: Said


def said(body: bytes) -> Said:
    """What the body says; empty words where it is not the one shape (a proxy's own page)."""
    try:
        return msgspec.json.decode(body, type=_Body).error
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return Said()


def refusal(status: int, body: bytes, url: str) -> errors.FilemillError:
    """The error that an answer is."""
    found = said(body)
    if not found.code:
        return errors.SystemFault(
            f"{url} answers {status}, and not as filemill does",
            help="is it this server's URL? a proxy before it may have answered",
        )
    kind = _OF_CODE.get(found.code, errors.UsageError if status < 500 else errors.SystemFault)
    return kind(found.message[:_LONGEST], help=found.help[:_LONGEST])


def lost(error: Exception, url: str) -> errors.FilemillError:
    """The error that an answer is which did not come."""
    trust = _cause(error, ssl.SSLCertVerificationError)
    if trust is not None:
        return errors.UsageError(
            f"the certificate of {url} is not trusted: {trust.verify_message}",
            help="--ca FILE (FILEMILL_CA) names the certificate of the authority that signed it",
        )
    if (tls := _cause(error, ssl.SSLError)) is not None:
        return errors.UsageError(
            f"{url} does not speak TLS as it should: {tls.reason or tls}",
            help="does it serve https? is it this port?",
        )
    words = str(error) or type(error).__name__
    return errors.Busy(
        f"{url} does not answer: {words}", help="does it run? is it this URL? then ask again"
    )


def _cause(error: BaseException | None, kind: Any) -> Any:
    """The error of that kind which led to this one; None when none did."""
    while error is not None:
        if isinstance(error, kind):
            return error
        error = error.__cause__ or error.__context__
    return None
