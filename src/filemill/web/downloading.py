"""Bytes that go out: originals and outputs, never through a link, never as something that a browser would show.

This is the one place from which they leave; what is encrypted leaves by `opened`, the others are files.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import MutableMapping
from typing import Any

from starlette.responses import FileResponse
from starlette.types import Receive, Scope, Send

from filemill.web.errors import ApiError

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_RANGE = re.compile(r"bytes=(?:(\d{1,18})-(\d{0,18})|-(\d{1,18}))\Z")
HEADERS = {
    "x-content-type-options": "nosniff",
    "content-security-policy": "sandbox; default-src 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


def open_below(root: bytes, relative: bytes) -> int:
    """A descriptor of a regular file below `root`; no part of the way to it is a link.

    Raises:
        ApiError: 404, there is none.
    """
    parts = [part for part in relative.split(b"/") if part not in {b"", b"."}]
    if not parts or b".." in parts:
        raise _gone()
    try:
        folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for part in parts[:-1]:
                inner = os.open(part, _FOLDER, dir_fd=folder)
                os.close(folder)
                folder = inner
            found = os.open(parts[-1], _FILE, dir_fd=folder)
        finally:
            os.close(folder)
    except OSError as error:
        if error.errno in {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO}:
            raise _gone() from error
        raise ApiError(503, "it cannot be read", code="system") from error
    if not stat.S_ISREG(os.fstat(found).st_mode):
        os.close(found)
        raise _gone()
    return found


def _gone() -> ApiError:
    return ApiError(404, "its bytes are not kept any more", code="gone")


class Download(FileResponse):
    """The bytes behind a descriptor, which it closes; `name` is what they are saved as."""

    def __init__(self, descriptor: int, name: str) -> None:
        self._descriptor = descriptor
        super().__init__(
            f"/proc/self/fd/{descriptor}",
            headers=HEADERS,
            media_type="application/octet-stream",
            filename=os.path.basename(name) or "file",
            stat_result=os.fstat(descriptor),
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send them, or the one range of them that is asked for."""
        try:
            await super().__call__(self._ranged(scope), receive, send)
        finally:
            os.close(self._descriptor)

    def _ranged(self, scope: Scope) -> MutableMapping[str, Any]:
        """The request with a range that can be answered, or with none: whoever asks for several gets all."""
        asked = [value for name, value in scope["headers"] if name == b"range"]
        if not asked:
            return scope
        size = self.stat_result.st_size if self.stat_result else 0
        if range_of(asked[0].decode("latin-1"), size) is None:
            return {**scope, "headers": [h for h in scope["headers"] if h[0] != b"range"]}
        return scope


def range_of(asked: str, size: int) -> tuple[int, int] | None:
    """From where to where of so many bytes a `Range` asks; None for all of them, as also for several ranges.

    Raises:
        ApiError: 416, there are no such bytes.
    """
    match = _RANGE.match(asked.replace(" ", ""))
    if match is None or (match[2] and int(match[1]) > int(match[2])):
        return None
    if (match[1] and int(match[1]) >= size) or (match[3] and not int(match[3])) or not size:
        raise ApiError(
            416,
            f"it has {size} bytes",
            code="range",
            headers={"content-range": f"bytes */{size}"},
        )
    if match[3]:
        return max(0, size - int(match[3])), size
    return int(match[1]), min(size, int(match[2]) + 1) if match[2] else size
