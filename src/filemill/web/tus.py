"""The words of tus 1.0, the protocol of uploads in parts: what its headers say, and how they are written."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence
from email.utils import formatdate

import msgspec
from starlette.requests import Request

from filemill.model.access import Principal
from filemill.model.uploads import PartialUpload
from filemill.service.face_frames import Entrance
from filemill.web.errors import ApiError

VERSION = "1.0.0"
EXTENSIONS = (
    "creation",
    "creation-with-upload",
    "creation-defer-length",
    "checksum",
    "expiration",
    "termination",
)
ALGORITHMS = ("sha256", "sha1")
OFFSET_STREAM = "application/offset+octet-stream"
_MOST_LENGTH = (1 << 63) - 1


class Metadata(msgspec.Struct, frozen=True):
    """What `Upload-Metadata` says of a file."""

    filename: bytes = b""
    source: str = ""
    tags: tuple[str, ...] = ()


class Checksum:
    """What the bytes of one request must hash to."""

    def __init__(self, header: str) -> None:
        """Read `Upload-Checksum`.

        Raises:
            ApiError: 400, it cannot be read, or its algorithm is not known.
        """
        algorithm, _, text = header.partition(" ")
        if algorithm not in ALGORITHMS:
            raise ApiError(
                400, f"Upload-Checksum is of {' or '.join(ALGORITHMS)}", code="bad-checksum"
            )
        self._wanted = _base64(text, "Upload-Checksum")
        self._hash = hashlib.new(algorithm, usedforsecurity=False)

    def add(self, data: bytes) -> None:
        """Hash the next bytes."""
        self._hash.update(data)

    def verify(self) -> None:
        """Compare.

        Raises:
            ApiError: 460, what came is something else.
        """
        if not hmac.compare_digest(self._hash.digest(), self._wanted):
            raise ApiError(460, "what came has another checksum", help="send this part again")


def check_version(request: Request) -> None:
    """See that the client speaks this version.

    Raises:
        ApiError: 412, it does not.
    """
    if request.headers.get("tus-resumable", "") != VERSION:
        raise ApiError(
            412,
            f"this needs the header Tus-Resumable: {VERSION}",
            help="uploads in parts are for tus clients, such as tus-js-client",
            headers={"tus-version": VERSION},
        )


def abilities(entrances: Sequence[Entrance]) -> dict[str, str]:
    """The headers that say what is spoken here."""
    headers = {
        "tus-resumable": VERSION,
        "tus-version": VERSION,
        "tus-extension": ",".join(EXTENSIONS),
        "tus-checksum-algorithm": ",".join(ALGORITHMS),
    }
    sizes = [each.max_size for each in entrances]
    if sizes and all(sizes):
        headers["tus-max-size"] = str(max(sizes))
    return headers


def standing(upload: PartialUpload) -> dict[str, str]:
    """The headers that say how far an upload is."""
    headers = {"upload-offset": str(upload.offset)}
    if upload.length is None:
        headers["upload-defer-length"] = "1"
    else:
        headers["upload-length"] = str(upload.length)
    if upload.taken:
        headers["filemill-file"] = f"/files/{upload.file}"
    else:
        headers["upload-expires"] = formatdate(upload.expires_ns / 1e9, usegmt=True)
    return headers


def length_of(request: Request) -> int | None:
    """The length that a request declares; None when it says that it will say so later.

    Raises:
        ApiError: 400, neither or both.
    """
    later = request.headers.get("upload-defer-length")
    if later is not None and (later != "1" or "upload-length" in request.headers):
        raise ApiError(400, "Upload-Defer-Length is 1, and then there is no Upload-Length")
    return None if later is not None else number_of(request, "upload-length")


def number_of(request: Request, header: str) -> int:
    """A header that is a whole number.

    Raises:
        ApiError: 400, it is none.
    """
    text = request.headers.get(header, "")
    if not (text.isascii() and text.isdigit()) or len(text) > 19 or int(text) > _MOST_LENGTH:
        raise ApiError(400, f"this needs the header {header.title()} with a number")
    return int(text)


def metadata_of(header: str) -> Metadata:
    """What `Upload-Metadata` says.

    Raises:
        ApiError: 400, it cannot be read.
    """
    found: dict[str, bytes] = {}
    for pair in filter(None, (each.strip() for each in header.split(","))):
        key, _, value = pair.partition(" ")
        if key in found:
            raise ApiError(400, f"Upload-Metadata has `{key[:60]}` twice", code="bad-metadata")
        found[key] = _base64(value.strip(), "Upload-Metadata")
    return Metadata(
        filename=found.get("filename", b""),
        source=found.get("source", b"").decode("utf-8", "replace"),
        tags=tuple(found.get("tag", b"").decode("utf-8", "replace").replace(",", " ").split()),
    )


def entrance_of(entrances: Sequence[Entrance], source: str, principal: Principal) -> Entrance:
    """The source that an upload is for: the named one, else the only one, else the one at /upload.

    Raises:
        ApiError: 422, there is no such source; 403, it is not the principal's.
    """
    fitting = [each for each in entrances if each.source == source] if source else list(entrances)
    if len(fitting) > 1:
        fitting = [each for each in entrances if each.path == "/upload"]
    if len(fitting) != 1:
        names = ", ".join(each.source for each in entrances)
        raise ApiError(
            422,
            f"no source `{source[:60]}` takes what is sent"
            if source
            else "for which source is it?",
            help=f"say `source` in Upload-Metadata: {names}"
            if names
            else "configure one: {http: /upload}",
            code="no-source",
        )
    if principal.sources and fitting[0].source not in principal.sources:
        raise ApiError(403, "this key is not for this source")
    return fitting[0]


def _base64(text: str, header: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as error:
        raise ApiError(400, f"{header} has something that is no base64") from error
