"""Moving settled files into content: the steps of a claim group that touch the disk, for a worker thread.

Three ways, all ending with bytes in content that are proven to be the version the ledger has noted:

- ADOPT: rename into content. The usual one: same file system, one link.
- GRAB: rename to `<root>/.filemill/claimed/`, copy, and unlink after the commit. For files on another
  file system than content (rename cannot), for hard links (adopted, they could still be written by another name), and
  for all where content is encrypted.
- COPY: copy and leave the original (`claim: copy`, `after: keep`, files named on the command line).

After the move nobody can open the file by its name any more, so looking again (identity, lease) settles
whether a writer slipped in; if one did, the file is put back under its name.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from enum import Enum

from filemill.durable import Durable
from filemill.intake.looking import FILE, MACHINE_ERRORS, Folders, identity_of, lease_of
from filemill.intake.settle import Lease, Waiting
from filemill.model.files import Claim
from filemill.ports.content import Content
from filemill.ports.source import SourceSettings

CLAIMED_FOLDER = b".filemill/claimed"
_NAME_MAX = 255


class Way(Enum):
    """How a file's bytes come into content."""

    ADOPT = "adopt"
    GRAB = "grab"
    COPY = "copy"


class End(Enum):
    """What became of one file of a claim group."""

    TAKEN = "taken"
    KNOWN = "known"
    """This version of it was taken before."""
    VANISHED = "vanished"
    CHANGED = "changed"
    """A writer slipped in; it is where it was and settles again."""
    REFUSED = "refused"
    TROUBLE = "trouble"
    """The machine failed; it is where it was."""
    STUCK = "stuck"
    """It could not even be put back: its row stays CLAIMING and the next start tries again."""


class Taking:
    """One file on its way through a claim group."""

    __slots__ = (
        "claim",
        "end",
        "error",
        "held_at",
        "reason",
        "refusal",
        "root",
        "settings",
        "taken_ns",
        "waiting",
        "way",
    )

    def __init__(
        self,
        claim: Claim,
        way: Way,
        settings: SourceSettings,
        waiting: Waiting | None = None,
        refusal: str = "",
    ) -> None:
        self.claim = claim
        self.way = way
        self.settings = settings
        self.root = settings.root
        self.waiting = waiting
        self.refusal = refusal
        """Why it will be rejected once it is in the ledger; empty for a file that is accepted."""
        self.end: End | None = None
        self.reason = ""
        self.error: OSError | None = None
        self.taken_ns = 0
        """When it was acknowledged, by the wall clock."""
        self.held_at = b""
        """GRAB: where the original is until the commit."""


class Mover:
    """Moves claim groups. Thread-safe: it keeps nothing between calls."""

    def __init__(self, content: Content, durable: Durable) -> None:
        self._content = content
        self._durable = durable

    def move(
        self,
        takings: Sequence[Taking],
        folders: Folders,
        moved_all: Callable[[], object] | None = None,
    ) -> None:
        """Move each file into content and make the group durable; files that stay behind get their `end`.

        `moved_all` is called between the two, unless one stays behind.
        """
        ways = {Way.ADOPT: self._adopt, Way.GRAB: self._grab, Way.COPY: self._copy}
        for taking in takings:
            try:
                ways[taking.way](taking, folders)
            except OSError as error:
                fail(taking, error)
        moved = [each for each in takings if each.end is None]
        if not moved:
            return
        if moved_all is not None and len(moved) == len(takings):
            moved_all()
        left: set[bytes] = set()
        try:
            for each in moved:
                if each.way is not Way.COPY:
                    left.add(os.path.dirname(folders.path(each.root, each.claim.relative)))
                if each.held_at:
                    left.add(os.path.dirname(each.held_at))
            self._content.sync([each.claim.content for each in moved], left)
        except OSError as error:
            # Whether these bytes are on the disk is unknown, so none of the group counts.
            for each in moved:
                self._undo(each, folders, End.TROUBLE)
                each.error = error

    def let_go(self, takings: Sequence[Taking]) -> None:
        """Remove the originals of grabbed files, after the commit that acknowledged them.

        One that cannot be removed gets its `error`; the next start removes it.
        """
        for taking in takings:
            if taking.held_at:
                try:
                    self._durable.unlink(taking.held_at)
                except FileNotFoundError:
                    continue
                except OSError as error:
                    taking.error = error

    def put_back(self, now_at: bytes, root: bytes, relative: bytes, folders: Folders) -> None:
        """Move a file back under its name, or beside it as `name-2` when that was taken meanwhile; durably.

        Raises:
            OSError: it could not be put back (or not durably); it is at `now_at` or under its name.
        """
        try:
            home = folders.path(root, relative)
        except FileNotFoundError:
            self._durable.make_directory(os.path.dirname(root + b"/" + relative))
            home = folders.path(root, relative)
        folder, name = os.path.split(home)
        attempt = 1
        while True:
            try:
                self._durable.rename(now_at, home)
                break
            except FileExistsError:
                attempt += 1
                home = folder + b"/" + other_name(name, attempt)
        self._durable.prove_names([os.path.dirname(root + b"/" + relative)])
        self._durable.sync_directory(folder)
        self._durable.sync_directory(os.path.dirname(now_at))

    def _adopt(self, taking: Taking, folders: Folders) -> None:
        claim = taking.claim
        try:
            self._content.adopt(folders.path(taking.root, claim.relative), claim.content)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            taking.way = Way.GRAB
            self._grab(taking, folders)
            return
        try:
            whole = _is_whole(self._content.path(claim.content), claim)
        except OSError as error:
            taking.error = error
            self._undo(taking, folders, End.TROUBLE)
            return
        if not whole:
            self._undo(taking, folders, End.CHANGED)

    def _grab(self, taking: Taking, folders: Folders) -> None:
        claim, root = taking.claim, taking.root
        name = claimed_name(claim.content)
        try:
            folders.get(root, CLAIMED_FOLDER)
        except FileNotFoundError:
            self._durable.make_directory(root + b"/" + CLAIMED_FOLDER, 0o700)
        held_at = folders.path(root, CLAIMED_FOLDER + b"/" + name)
        try:
            self._durable.rename(folders.path(root, claim.relative), held_at)
        except OSError as error:
            if error.errno == errno.EXDEV:
                taking.end = End.REFUSED
                taking.reason = (
                    "on another file system than its source's folder: make that a source"
                )
                return
            raise
        taking.held_at = root + b"/" + CLAIMED_FOLDER + b"/" + name
        try:
            whole = self._pour(held_at, claim)
        except OSError as error:
            taking.error = error
            self._undo(taking, folders, End.TROUBLE)
            return
        if not whole:
            self._undo(taking, folders, End.CHANGED)

    def _copy(self, taking: Taking, folders: Folders) -> None:
        claim = taking.claim
        try:
            if not self._pour(folders.path(taking.root, claim.relative), claim):
                taking.end = End.CHANGED
        except OSError as error:
            fail(taking, error)
        if taking.end is not None and self._content.exists(claim.content):
            self._undo(taking, folders, taking.end)

    def _pour(self, path: bytes, claim: Claim) -> bool:
        """Copy into content; False when the file is not, or did not stay, the noted version."""
        with open(os.open(path, FILE), "rb", buffering=0) as file:
            if identity_of(os.fstat(file.fileno())) != claim.identity:
                return False
            size = self._content.copy(file, claim.content)
            return (
                identity_of(os.fstat(file.fileno())) == claim.identity
                and size == claim.identity.size
                and lease_of(file.fileno()) is not Lease.BUSY
            )

    def _undo(self, taking: Taking, folders: Folders, end: End) -> None:
        """Bring a moved file back to where it was and take its copy out of content."""
        claim = taking.claim
        now_at = {Way.ADOPT: self._content.path(claim.content), Way.GRAB: taking.held_at}
        taking.end = end
        try:
            if taking.way in now_at:
                self.put_back(now_at[taking.way], taking.root, claim.relative, folders)
            if taking.way is not Way.ADOPT:
                self._content.delete([claim.content], durable=True)
        except OSError as error:
            taking.end, taking.error = End.STUCK, error
        taking.held_at = b""


def claimed_name(reference: str) -> bytes:
    """The name a grabbed file has until its commit: its content reference, so that a restart can ask for it."""
    return reference.replace("/", ".").encode()


def other_name(name: bytes, attempt: int) -> bytes:
    """`a.csv`, 2 -> `a-2.csv`, cut so that it fits in a folder."""
    stem, dot, ending = name.rpartition(b".")
    if not stem:
        stem, dot, ending = name, b"", b""
    tail = b"-%d%b%b" % (attempt, dot, ending[:100])
    return stem[: _NAME_MAX - len(tail)] + tail


def fail(taking: Taking, error: OSError) -> None:
    """Note what an error means for a file that was not moved."""
    taking.error = error
    if error.errno == errno.ENOENT:
        taking.end = End.VANISHED
    elif error.errno in MACHINE_ERRORS:
        taking.end = End.TROUBLE
    else:
        taking.end = End.REFUSED
        taking.reason = f"cannot be taken: {os.strerror(error.errno or 0)}"


def _is_whole(path: bytes, claim: Claim) -> bool:
    """Say whether what was moved is the noted version and nobody writes it (any more)."""
    descriptor = os.open(path, FILE)
    try:
        return (
            identity_of(os.fstat(descriptor)) == claim.identity
            and lease_of(descriptor) is not Lease.BUSY
        )
    finally:
        os.close(descriptor)
