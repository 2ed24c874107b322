"""A file as it is sent: to where, with which tags, and under the key by which the server knows it again."""

from __future__ import annotations

import base64
import hashlib
import os
from typing import Any

import msgspec

from filemill.client.connection import Connection
from filemill.client.files import Sendable
from filemill.model.errors import UsageError


class Entrance(msgspec.Struct, frozen=True):
    """A source that takes what is sent."""

    source: str
    path: str
    max_size: int | None = None


class Parcel(msgspec.Struct, frozen=True):
    """One file, ready to go."""

    file: Sendable
    digest: bytes
    entrance: Entrance
    tags: tuple[str, ...] = ()
    salt: str = ""
    """What makes it another file than one that was sent before."""

    @property
    def key(self) -> str:
        """The Idempotency-Key: the same file sent again in the same way is the same file, from whichever machine."""
        words = (self.entrance.source, self.salt, *sorted(self.tags))
        said = b"\0".join((self.file.name, self.digest, *map(os.fsencode, words)))
        return f"filemill-{hashlib.sha256(said).hexdigest()}"

    @property
    def digest_header(self) -> str:
        """The digest as Content-Digest and Repr-Digest have it (RFC 9530)."""
        return f"sha-256=:{base64.b64encode(self.digest).decode('ascii')}:"


def entrance_of(connection: Connection, source: str) -> Entrance:
    """The source of that name; without a name the only one, or the one at /upload.

    Raises:
        UsageError: there is no such source.
        FilemillError: as the server says, or it does not answer.
    """
    items: list[dict[str, Any]] = connection.document("/sources")["items"]
    there = [
        Entrance(str(each["source"]), str(each["path"]), each.get("max_size"))
        for each in items
        if each.get("path")
    ]
    fitting = [each for each in there if source in ("", each.source)]
    if len(fitting) > 1:
        fitting = [each for each in fitting if each.path == "/upload"]
    if len(fitting) == 1:
        return fitting[0]
    names = ", ".join(each.source for each in there)
    if not names:
        raise UsageError(
            "no source there takes what is sent", help="one is `sources: {upload: {http: /upload}}`"
        )
    if source:
        raise UsageError(f"no source `{source}` takes what is sent", help=f"there are: {names}")
    raise UsageError("for which source are these files?", help=f"--source: {names}")
