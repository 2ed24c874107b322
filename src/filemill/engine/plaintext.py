"""Content in a worker's hands: where it is decrypted, for how long, and who may look.

Readers of records take the bytes of a file from any place; of content that is sealed in pieces they are given them
where it lies, piece by piece, so that a big file is never plain as a whole and is worked on in chunks as any other.

Archives and users' steps want a file with a path that they can map and seek in. What they work on is decrypted into the
worker's work folder, which with encryption is in memory (tmpfs, 0700), and goes when the work on it is done. A file
that the workspace can never hold fails; one that it cannot hold now waits.

Only workers have the identity. It came in the frame that set them up, and no other process may read their memory or
find it in a core file.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence

import msgspec

from filemill.encryption.age import Corrupt, Opener, Sealer, Writes, WrongKey, key_in
from filemill.encryption.pieces import MAGIC
from filemill.encryption.reading import Index, SealedBytes
from filemill.model.errors import PermanentError, SystemFault, UsageError
from filemill.model.files import FileRef
from filemill.model.plan import EncryptionPlan, Plan
from filemill.model.runs import RunOrder
from filemill.ports.step import Opened
from filemill.ports.units import format_size
from filemill.records.plain import PlainBytes

_PIECE = 1 << 20
_WITHOUT = "`encryption: identity:` says where it is; `filemill encryption status` looks at it"


class Plaintext:
    """Opens content, and seals what comes of it, under one plan.

    Raises:
        UsageError: the identity is none, or belongs to no recipient, or the package is not installed.
    """

    def __init__(self, plan: Plan, encryption: EncryptionPlan, identity: str) -> None:
        self.data = plan.data
        self._root = os.path.join(os.fsencode(os.path.abspath(plan.data)), b"content/")
        self.sealer = Sealer(encryption.recipients)
        if not identity:
            raise UsageError("content is encrypted, and there is no identity", help=_WITHOUT)
        self._opener = Opener(identity)
        check_pair(self._opener, encryption.recipients)
        self._made = 0
        self._known: tuple[bytes, Index] | None = None
        """The pieces of the content that was opened by place last: the next chunk is of the same."""

    def is_sealed(self, path: bytes) -> bool:
        """Say whether this is the path of encrypted content."""
        return path.startswith(self._root) and key_in(os.fsdecode(path)) != ""

    def is_in_pieces(self, path: bytes) -> bool:
        """Say whether `open` reads the content at this path; not what is sealed in one stream, or gone."""
        if not self.is_sealed(path):
            return False
        try:
            with open(path, "rb", buffering=0) as sealed:
                return sealed.read(len(MAGIC)) == MAGIC
        except FileNotFoundError:
            return False

    def open(self, path: bytes) -> Opened:
        """The plain bytes of the file at this path, by place: of content in pieces, and of whatever is plain.

        Raises:
            Corrupt: content is not what was sealed. Reading raises it, too, and `WrongKey`.
            OSError: it cannot be opened.
        """
        return self._pieces(path) if self.is_sealed(path) else PlainBytes(path)

    def _pieces(self, path: bytes) -> SealedBytes:
        known = self._known[1] if self._known is not None and self._known[0] == path else None
        opened = self._opener.by_place(path, ours=self._is_ours(path), known=known)
        assert opened is not None, "only what is in pieces is opened so"  # noqa: S101
        self._known = (path, opened.index)
        return opened

    def pour(self, path: bytes, out: Writes) -> None:
        """Write the plain bytes of the file at this path, as they are opened.

        Raises:
            WrongKey: content is sealed for others (the machine's trouble).
            Corrupt: content is not what was sealed.
            OSError: it cannot be read, or `out` not written.
        """
        with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW), "rb") as source:
            if self.is_sealed(path):
                self._opener.stream(source, out, ours=self._is_ours(path))
                return
            while piece := source.read(_PIECE):
                out.write(piece)

    def unseal(self, path: bytes, out: Writes) -> None:
        """Write the plain bytes of what is sealed at this path, wherever it is; raises as `pour`."""
        with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW), "rb") as source:
            self._opener.stream(source, out, ours=True)

    def size_of(self, path: bytes) -> int:
        """How many plain bytes there are, of what `open` opens; raises as it does."""
        if not self.is_sealed(path):
            return os.stat(path).st_size
        with contextlib.closing(self._pieces(path)) as opened:
            return opened.index.size

    def small(self, sealed: bytes) -> bytes | None:
        """Small bytes that were sealed here; None: they do not open, or not any more."""
        try:
            return self._opener.data(sealed, ours=False)
        except (WrongKey, Corrupt):
            return None

    @contextlib.contextmanager
    def orders(
        self, orders: Sequence[RunOrder], *, by_place: bool = False
    ) -> Iterator[list[RunOrder]]:
        """The orders with paths of plain bytes, which are there as long as the block runs.

        `by_place`: whoever gets them takes the bytes of files from `open`, so that what is in pieces stays as it is.

        Raises:
            WrongKey: content is sealed for others (the machine's trouble).
            Corrupt: content is not what was sealed.
            PermanentError: it is more than the workspace can ever hold.
            SystemFault: it is more than the workspace holds now.
        """
        with self._files() as files:
            made = []
            for order in orders:
                path = order.file.path
                if not (by_place and self.is_in_pieces(path)):
                    path = files.plain(path)
                file = msgspec.structs.replace(order.file, path=path)
                kept = files.plain(order.input) if order.input else b""
                made.append(msgspec.structs.replace(order, file=file, input=kept))
            yield made

    @contextlib.contextmanager
    def file(self, file: FileRef) -> Iterator[FileRef]:
        """The same of one file."""
        with self._files() as files:
            yield msgspec.structs.replace(file, path=files.plain(file.path))

    @contextlib.contextmanager
    def _files(self) -> Iterator[_Files]:
        files = _Files(self)
        try:
            yield files
        finally:
            files.remove()

    def seal(self, plain: bytes, path: bytes) -> None:
        """Encrypt the file at `plain` into a new one at `path`, and remove it.

        Raises:
            OSError: the disk is full or failing.
        """
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        with open(plain, "rb") as source, open(os.open(path, flags, 0o600), "wb") as out:
            self.sealer.stream(source, out)
        os.unlink(plain)  # noqa: TID251 -- scratch: what counts is what is sealed

    def open_into(self, path: bytes, target: bytes) -> None:
        """Decrypt the content at `path` into a new file; raises as `orders`, and FileNotFoundError where it is gone."""
        size = os.stat(path).st_size
        room = os.statvfs(os.path.dirname(target))
        if size > room.f_blocks * room.f_frsize:
            raise PermanentError(
                f"the file is larger ({format_size(size)}) than the workspace, where encrypted content is worked on",
                help="give `encryption: workspace:` a larger tmpfs, and redrive it",
            )
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        with open(path, "rb") as source, open(os.open(target, flags, 0o600), "wb", _PIECE) as out:
            if size > room.f_bavail * room.f_frsize:
                raise SystemFault(
                    "the workspace has no room for the plain bytes of a file",
                    help="give `encryption: workspace:` a larger tmpfs; work goes on by itself",
                )
            self._opener.stream(source, out, ours=self._is_ours(path))

    def _is_ours(self, path: bytes) -> bool:
        return key_in(os.fsdecode(path)) == self.sealer.key

    def target(self) -> bytes:
        """Where the next plain file goes."""
        self._made += 1
        return os.path.join(os.fsencode(tempfile.gettempdir()), b"in-hand-%d" % self._made)


class _Files:
    """Plain files of one block."""

    def __init__(self, plaintext: Plaintext) -> None:
        self._plaintext = plaintext
        self._made: list[bytes] = []

    def plain(self, path: bytes) -> bytes:
        """The path of the same bytes, plain; content that is not encrypted stays where it is."""
        if not self._plaintext.is_sealed(path):
            return path
        target = self._plaintext.target()
        self._made.append(target)
        try:
            self._plaintext.open_into(path, target)
        except FileNotFoundError:
            return path  # who needs it finds that it is gone, and says so
        return target

    def remove(self) -> None:
        """Let go of all of them."""
        for path in self._made:
            with contextlib.suppress(OSError):
                os.unlink(path)  # noqa: TID251 -- scratch: it can be decrypted again


def reading_of(plaintext: Plaintext | None) -> Callable[[bytes], Opened]:
    """How the bytes of files are come by: as they look, or with encryption through who opens them."""
    return PlainBytes if plaintext is None else plaintext.open


def check_pair(opener: Opener, recipients: Sequence[str]) -> None:
    """Refuse an identity with which nothing could be read that is encrypted from now on.

    Raises:
        UsageError: it belongs to none of the recipients.
    """
    if not set(opener.recipients) & set(recipients):
        raise UsageError(
            "the identity belongs to none of the `recipients`: what is encrypted now could not be read",
            help=f"add {opener.recipients[0]} to `encryption: recipients:`, or give the identity of one of them",
        )
