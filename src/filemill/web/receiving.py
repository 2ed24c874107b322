"""Writing what is sent: straight to `<data>/uploads`, counted, hashed and judged while it comes.

Nothing here is promised. What was not handed over to the server is removed, here or by its next start.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import errno
import fnmatch
import hashlib
import os
import re
from collections.abc import Sequence

import anyio.to_thread

from filemill.encryption.age import Sealer
from filemill.encryption.pieces import Pieces
from filemill.intake.limits import media_by_name
from filemill.intake.uploaded import FOLDER, staged_name
from filemill.ports.units import format_size
from filemill.routing.sniffing import HEAD, sniff
from filemill.service.face_frames import Entrance
from filemill.web.errors import ApiError

PIECE = 512 << 10
"""Bytes that are gathered before they are written, in a thread, while the next ones come."""
_DIGEST = re.compile(r"(?:^|,\s*)sha-256=:([A-Za-z0-9+/=]+):")
_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")


def proper_name(name: bytes) -> bytes:
    """The last part of a name as it was sent.

    Raises:
        ApiError: 422, no file may be called so.
    """
    last = re.split(rb"[/\\]", name)[-1].strip(b" ")
    if not last or last in (b".", b"..") or _CONTROL.search(last):
        raise ApiError(422, "a file needs a name, without control characters", code="bad-name")
    if last.startswith(b"."):
        raise ApiError(422, "hidden names, which begin with a dot, are not taken", code="bad-name")
    if len(last) > 255:
        raise ApiError(422, "the name has more than 255 bytes", code="bad-name")
    return last


def wanted_digest(header: str) -> bytes | None:
    """The sha-256 of a Content-Digest header (RFC 9530); None if it names none.

    Raises:
        ApiError: 400, it cannot be read.
    """
    if not header:
        return None
    match = _DIGEST.search(header)
    if match is None:
        raise ApiError(400, "Content-Digest is read as sha-256=:BASE64:", code="bad-digest")
    try:
        digest = base64.b64decode(match[1], validate=True)
    except ValueError:
        digest = b""
    if len(digest) != 32:
        raise ApiError(400, "the sha-256 of Content-Digest has 32 bytes", code="bad-digest")
    return digest


class Receiving:
    """One file on its way in."""

    def __init__(
        self,
        data: str,
        file: str,
        name: bytes,
        entrance: Entrance,
        sealer: Sealer | None = None,
        *,
        path: bytes = b"",
    ) -> None:
        """`sealer` has all of it written as ciphertext; size and digest are of what came.

        `path` is where, if not in the folder of uploads.
        """
        self.file = file
        self.name = name
        self.size = 0
        self._entrance = entrance
        self._hash = hashlib.sha256()
        self._buffer = bytearray()
        self._head = b""
        self._pieces = Pieces(sealer.data) if sealer is not None else None
        key = sealer.key if sealer is not None else ""
        self._path = path or os.path.join(os.fsencode(data), FOLDER, staged_name(file, key))
        self._descriptor = -1
        self._stored = 0
        self._writing: asyncio.Future[None] | None = None
        judge_name(name, entrance.types)

    @property
    def digest(self) -> str:
        """sha256 of what came, hex."""
        return self._hash.hexdigest()

    @property
    def stored(self) -> int:
        """Bytes on the disk, where they are encrypted; else -1."""
        return -1 if self._pieces is None else self._stored

    def begin(self) -> None:
        """Make the file.

        Raises:
            ApiError: 409, the same upload is on its way already.
        """
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            self._descriptor = os.open(self._path, flags, 0o600)
        except FileExistsError as error:
            raise ApiError(
                409,
                "an upload with this Idempotency-Key is on its way",
                headers={"retry-after": "1"},
            ) from error
        except OSError as error:
            raise of_disk(error) from error

    async def write(self, data: bytes) -> None:
        """Take the next bytes.

        Raises:
            ApiError: 413, too many; 415, of a type that is not taken; 507, the disk is full.
        """
        self.size += len(data)
        judge_size(self.size, self._entrance)
        before = len(self._head)
        if before < HEAD:
            self._head += data[: HEAD - before]
            if len(self._head) == HEAD:
                self._judge()
        self._buffer += data
        if len(self._buffer) >= PIECE:
            piece, self._buffer = self._buffer, bytearray()
            await self._written()
            self._writing = asyncio.ensure_future(anyio.to_thread.run_sync(self._put, piece))

    async def finish(self, digest: bytes | None) -> None:
        """Everything came.

        Raises:
            ApiError: 415, of a type that is not taken; 422, its digest is another; 507, the disk is full.
        """
        if len(self._head) < HEAD:
            self._judge()
        await self._written()
        piece, self._buffer = self._buffer, bytearray()
        if self._pieces is None:
            self._put(piece)
        else:
            await anyio.to_thread.run_sync(self._put_last, self._pieces, bytes(piece))
        self._close()
        if digest is not None and digest != self._hash.digest():
            raise ApiError(
                422, "what came has another digest than Content-Digest says", code="bad-digest"
            )

    async def drop(self) -> None:
        """Remove it, if it is there. Idempotent."""
        with contextlib.suppress(ApiError):  # whatever it was, nobody wants these bytes any more
            await self._written()
        self._close()
        with contextlib.suppress(FileNotFoundError):  # taken, or never made
            os.unlink(self._path)  # noqa: TID251 -- nothing was promised of it

    async def _written(self) -> None:
        """Return when the piece that is being written is written."""
        writing, self._writing = self._writing, None
        if writing is not None:
            await writing

    def _put(self, piece: bytearray) -> None:
        self._hash.update(piece)
        self._write(piece if self._pieces is None else self._pieces.add(bytes(piece)))

    def _put_last(self, pieces: Pieces, piece: bytes) -> None:
        self._hash.update(piece)
        self._write(pieces.end(piece))

    def _write(self, data: bytes | bytearray) -> None:
        view = memoryview(data)
        try:
            while view:
                count = os.write(self._descriptor, view)
                view, self._stored = view[count:], self._stored + count
        except OSError as error:
            raise of_disk(error) from error

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def _judge(self) -> None:
        judge_content(self._head, self.name, self._entrance.types)


def is_judged_by_content(name: bytes, types: Sequence[str]) -> bool:
    """Say whether the first bytes of a file of that name decide on it: its name alone does not let it in."""
    return any("/" in each for each in types) and not _named(name, types)


def judge_content(head: bytes, name: bytes, types: Sequence[str]) -> None:
    """By what is in it: `types` that are media types hold for name and content both.

    Raises:
        ApiError: 415, it is not taken.
    """
    if not is_judged_by_content(name, types):
        return
    media_types = [each for each in types if "/" in each]
    media = sniff(head, name).media
    if not any(fnmatch.fnmatchcase(media, each.lower()) for each in media_types):
        raise ApiError(415, f"its content is {media}; taken are {', '.join(types)}")


def judge_name(name: bytes, types: Sequence[str]) -> None:
    """By what it is called.

    Raises:
        ApiError: 415, it is not taken.
    """
    if why := _refused_name(name, types):
        raise ApiError(415, why)


def judge_size(size: int, entrance: Entrance) -> None:
    """By how large it is.

    Raises:
        ApiError: 413, it is too large.
    """
    if entrance.max_size and size > entrance.max_size:
        raise ApiError(413, f"{entrance.source} takes up to {format_size(entrance.max_size)}")


def _refused_name(name: bytes, types: Sequence[str]) -> str:
    """Why a file of that name is not taken; empty when it is."""
    media = media_by_name(name.decode("utf-8", "replace").lower())
    if not types or _named(name, types):
        return ""
    if any("/" in each and fnmatch.fnmatchcase(media, each.lower()) for each in types):
        return ""
    return f"its name says {media}; taken are {', '.join(types)}"


def _named(name: bytes, types: Sequence[str]) -> bool:
    """Say whether one of the patterns of names holds."""
    text = name.decode("utf-8", "replace").lower()
    return any("/" not in each and fnmatch.fnmatchcase(text, each.lower()) for each in types)


def of_disk(error: OSError) -> ApiError:
    """The answer that an error of the disk is."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ApiError(507, "the disk is full", code="no-room", help="ask again later")
    return ApiError(503, "the upload cannot be kept", code="system")
