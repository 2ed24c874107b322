"""Uploads that come in parts: what is remembered of one between its first byte and its last."""

from __future__ import annotations

import msgspec


class PartialUpload(msgspec.Struct, frozen=True, kw_only=True):
    """One upload that may be gone on with: its first `offset` bytes are on the disk, and no power cut loses them."""

    file: str
    """Its id, which the file will have as well; the name of its bytes in the folder of uploads."""
    principal: str
    """Who began it, and who alone may go on."""
    key: str = ""
    """Under which whoever saw no answer finds it again; empty for none."""
    source: str
    relative: bytes
    tags: tuple[str, ...] = ()
    offset: int = 0
    length: int | None = None
    """Of the whole; None while nobody has said it."""
    digest: str = ""
    """sha256 that the whole must have, hex; empty for any."""
    at_ns: int
    expires_ns: int
    """When it is removed, unless more comes before."""
    taken: bool = False
    """It came whole, and is a file now."""
