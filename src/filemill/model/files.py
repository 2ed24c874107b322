"""Values about files: what arrived, where its bytes are, and what inspection found."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

SCANNED = "scan"
"""The attribute that says what scanners said of a file."""
INFECTED = "infected: "
"""How that begins where one of them found something."""


def was_infected(attributes: Mapping[str, str]) -> bool:
    """Say whether a scanner found something in a file of these attributes, and no person let it go on since."""
    return attributes.get(SCANNED, "").startswith(INFECTED)


class Identity(msgspec.Struct, frozen=True):
    """What the file system says of one version of one file; equal identities are the same bytes."""

    device: int
    inode: int
    size: int
    mtime_ns: int

    def is_version(self, other: Identity) -> bool:
        """Say whether both are the same version of one file, whatever number its device had.

        Device numbers are given anew at each start of the machine: what the ledger noted before may name another.
        """
        return (self.inode, self.size, self.mtime_ns) == (other.inode, other.size, other.mtime_ns)


class Claim(msgspec.Struct, frozen=True):
    """A settled file about to be taken into content."""

    file: str
    """The new file's id."""
    source: str
    path: bytes
    """Absolute path where it was found. Names are bytes."""
    relative: bytes
    """Path below the source's root; its last part is the file's name."""
    identity: Identity
    content: str
    """The content reference its bytes will have."""
    claimed_ns: int
    """Wall time, nanoseconds since the epoch, UTC."""
    tags: tuple[str, ...] = ()
    """The source's tags."""
    how: str = "rename"
    """`rename` moves the inode into content, `copy` leaves the original in place."""
    priority: int = 0
    parent: str | None = None
    """The file that it was emitted from, if it was."""
    depth: int = 0
    """How many files it was emitted through."""
    after: str = "archive"
    """`archive`, `delete` or `keep`: what becomes of the bytes when every run is done."""
    again: bool = False
    """Taken even when this version of this path is known already (`--again`)."""
    principal: str = ""
    """Who sent it, as the audit knows them; empty: it was found, or taken by a command."""

    def taken(self, path: bytes) -> FileRef:
        """The acknowledged file as workers see it; its content is at `path`, absolute."""
        return FileRef(
            file=self.file,
            path=path,
            relative=self.relative,
            size=self.identity.size,
            source=self.source,
            arrived_ns=self.claimed_ns,
            tags=self.tags,
            depth=self.depth,
        )


class FileRef(msgspec.Struct, frozen=True):
    """What a worker needs to know of an acknowledged file; no handle, no payload."""

    file: str
    path: bytes
    """Absolute path of its content, to be opened for reading only."""
    relative: bytes
    size: int
    source: str
    arrived_ns: int
    tags: tuple[str, ...] = ()
    attributes: dict[str, str] = msgspec.field(default_factory=dict)
    digest: str = ""
    """sha256, hex; empty until inspected."""
    media: str = ""
    """Media type by content, such as `text/csv`; empty until inspected."""
    depth: int = 0
    """How many files it was emitted through: 0 for one that a source took."""
    changed: bool = False
    """True once a step put another file in its place: digest, media and id are those of what arrived."""

    @property
    def name(self) -> bytes:
        """The last part of its path below the source."""
        return self.relative.rsplit(b"/", 1)[-1]

    def replaced(self, path: bytes, size: int, name: bytes | None = None) -> FileRef:
        """The same file with these bytes in place of its own, under another `name` in the same folder if given."""
        folder, slash, own = self.relative.rpartition(b"/")
        relative = folder + slash + (own if name is None else name)
        return msgspec.structs.replace(self, path=path, relative=relative, size=size, changed=True)


class TagHit(msgspec.Struct, frozen=True):
    """One tag a file got and why: `rule` is a tag rule's name or `source`."""

    tag: str
    rule: str
    why: str


class Facts(msgspec.Struct, frozen=True):
    """What inspection found in one file's bytes, or why they could not be inspected."""

    file: str
    digest: str = ""
    media: str = ""
    header: tuple[str, ...] = ()
    tags: tuple[TagHit, ...] = ()
    attributes: dict[str, str] = msgspec.field(default_factory=dict)
    refused: str = ""
    """Why it is rejected or quarantined; empty when it is not."""
    unsafe: bool = False
    """With `refused`: quarantined rather than rejected."""
    error: str = ""
    """Why inspection itself failed (a read error); the file stays ingested and is tried again."""
    fault: bool = False
    """With `error`: it is the machine's, and no try is counted."""
    help: str = ""
    """With `fault`: what to do about it."""
