"""Fingerprints that group dead letters: same pipeline, step, error and masked message, same group."""

from __future__ import annotations

import hashlib
import re

import msgspec

VERSION = "v1"
_MASKS = (
    # What Python says of a value that it could not read: the value differs, the cause does not.
    (
        re.compile(
            r"(could not convert string to \w+|invalid literal for \w+\(\) with base \d+|Invalid isoformat string"
            r"|time data)(:?) (?:'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")"
        ),
        r"\1\2 <value>",
    ),
    (re.compile(r"'(?:/|\./)[^']*'|(?<![\w.])/[\w./-]+"), "<path>"),
    (re.compile(r"\b[0-9a-f]{8,}\b|\b[a-z2-7]{13}\b(?=\W|$)"), "<id>"),
    (re.compile(r"\d+"), "<n>"),
)
_FRAME = re.compile(r'File "([^"]+)", line \d+, in (\S+)')


def mask(message: str) -> str:
    """The message with paths, ids and digits replaced, so that equal troubles read equal."""
    for pattern, word in _MASKS:
        message = pattern.sub(word, message)
    return message[:500]


def own_frames(traceback: str) -> tuple[str, ...]:
    """`file:function` of the traceback's frames in the user's code, outermost first."""
    return tuple(
        f"{path.rsplit('/', 1)[-1]}:{function}"
        for path, function in _FRAME.findall(traceback)
        if "site-packages" not in path and "/filemill/" not in path and "/lib/python" not in path
    )


class Parts(msgspec.Struct, frozen=True):
    """What a `v1:` fingerprint is made of, and nothing else."""

    pipeline: str
    step: str
    error: str
    frames: tuple[str, ...]
    message: str
    """Masked."""

    def fingerprint(self) -> str:
        """`v1:` and 12 hex digits of sha256 over the parts."""
        parts = (self.pipeline, self.step, self.error, *self.frames, self.message)
        described = "\0".join(parts).encode("utf-8", "backslashreplace")
        return f"{VERSION}:" + hashlib.sha256(described).hexdigest()[:12]


def parts_of(pipeline: str, step: str, error: str, message: str, traceback: str = "") -> Parts:
    """What counts of a failure when it is grouped."""
    return Parts(pipeline, step, error, own_frames(traceback), mask(message))


def fingerprint(pipeline: str, step: str, error: str, message: str, traceback: str = "") -> str:
    """The `v1:` group of a failure: 12 hex digits of sha256 over its masked description."""
    return parts_of(pipeline, step, error, message, traceback).fingerprint()
