"""The age format by `pyrage`: streams in bounded memory, for several recipients, readable by `age` and `rage`.

What is sealed says for whom by its key: eight letters of the digest of its recipients, which stand in the content's
reference. So a content that does not open tells apart two things that the format itself cannot: it is of other keys
than those at hand (the machine's trouble, nothing of the file's), or of these and damaged (the file's, for good).

`pyrage` is imported only where something is sealed or opened.
"""

from __future__ import annotations

import functools
import hashlib
import io
import os
import re
from collections.abc import Sequence
from types import ModuleType
from typing import Any, BinaryIO, Protocol

from filemill.encryption.pieces import FRAME, MAGIC, MOST, PIECE, Pieces, sealed_length
from filemill.encryption.reading import Cut, Index, SealedBytes, index_of
from filemill.model.errors import PermanentError, SystemFault, UsageError

SUFFIX = ".age"
"""Ends the references, and the names of outputs, that are sealed."""
_KEY = re.compile(r"\.([0-9a-f]{8})\.age\Z")
HEADER = 64 << 10
"""Bytes in which the header of anything sealed here ends."""
_NONCE, _TAG, _CHUNK = 16, 16, 64 << 10
_NO_KEY = "No matching keys found"
_IDENTITY = "AGE-SECRET-KEY-"


class Reads(Protocol):
    """Where bytes come from."""

    def read(self, size: int = ..., /) -> bytes:
        """At most so many."""
        ...


class Writes(Protocol):
    """Where bytes go to."""

    def write(self, data: bytes, /) -> int:
        """Take some, and say how many."""
        ...

    def flush(self) -> None:
        """Take what waits."""
        ...


class WrongKey(SystemFault):
    """None of the identities at hand opens it."""


class Corrupt(PermanentError):
    """It was sealed for an identity at hand, and is not what was sealed."""


def key_of(recipients: Sequence[str]) -> str:
    """Eight letters that tell apart for whom something is sealed."""
    return hashlib.sha256("\n".join(sorted(recipients)).encode()).hexdigest()[:8]


def sealed_name(name: str, key: str) -> str:
    """The name of something that is sealed with this key."""
    return f"{name}.{key}{SUFFIX}"


def key_in(name: str) -> str:
    """The key that a name or reference says it is sealed with; empty: it is not sealed."""
    found = _KEY.search(name)
    return found[1] if found else ""


def sealed_size(sealed: BinaryIO, plain: int) -> int:
    """How many bytes this file must have to be so many plain ones, sealed; -1: it cannot be."""
    head = os.pread(sealed.fileno(), HEADER, 0)
    if head.startswith(MAGIC):
        return sealed_length(sealed.fileno(), plain)
    mac = head.find(b"\n--- ")
    end = head.find(b"\n", mac + 1)
    if mac < 0 or end < 0:
        return -1
    return end + 1 + _NONCE + plain + _TAG * max(1, -(-plain // _CHUNK))


class Sealer:
    """Seals for recipients; holds no secret. Thread-safe.

    Raises:
        UsageError: the package is not installed, or a recipient is none.
    """

    def __init__(self, recipients: Sequence[str]) -> None:
        age = library()
        self.key = key_of(recipients)
        self._recipients = [_recipient(age, text) for text in recipients]
        self._age: Any = age

    def stream(self, source: Reads, out: Writes) -> int:
        """Seal all that `source` has into `out`; answers how many bytes it had.

        Raises:
            OSError: one of them failed.
        """
        counting = _Watched(source)
        target = _Watched(out)
        try:
            self._age.encrypt_io(counting, target, self._recipients)
        except (self._age.EncryptError, OSError) as error:
            raise counting.error or target.error or OSError(str(error)) from error
        _must_have_worked(counting, target)
        return counting.count

    def content(self, source: Reads, out: Writes) -> int:
        """Seal as `stream` does, but so that what is longer than a piece can be read from any place (`pieces`).

        Raises:
            OSError: one of them failed.
        """
        pieces, target = Pieces(self.data), _Watched(out)
        piece = _exactly(source, PIECE)
        while more := _exactly(source, PIECE):
            target.write(pieces.add(piece))
            piece = more
        target.write(pieces.end(piece))
        target.flush()
        return pieces.plain

    def data(self, plain: bytes) -> bytes:
        """Small bytes, sealed."""
        sealed: bytes = self._age.encrypt(plain, self._recipients)
        return sealed


class Opener:
    """Opens what was sealed for one of these identities.

    `identities` is the text of an identity file: lines of `AGE-SECRET-KEY-1...`; lines that begin with `#` are none.

    Raises:
        UsageError: the package is not installed, or the text is no identity. It is never quoted.
    """

    def __init__(self, identities: str) -> None:
        age = library()
        self._age: Any = age
        self._identities: list[Any] = []
        for line in identities.splitlines():
            text = line.strip()
            if not text or text.startswith("#"):
                continue
            try:
                self._identities.append(age.x25519.Identity.from_str(text))
            except age.IdentityError:
                raise UsageError(
                    "the identity is not one that age makes",
                    help=f"it has lines that begin with {_IDENTITY}: `filemill encryption init` makes one",
                ) from None
        if not self._identities:
            raise UsageError(
                "the identity is empty", help="`filemill encryption init` makes a new one"
            )

    @property
    def recipients(self) -> tuple[str, ...]:
        """Those that have what they seal opened by these."""
        return tuple(str(each.to_public()) for each in self._identities)

    def stream(self, source: Reads, out: Writes, *, ours: bool) -> None:
        """Open all that `source` has into `out`. `ours`: it says that it is sealed for one of these identities.

        Raises:
            WrongKey: it is sealed for others.
            Corrupt: it is not what was sealed.
            OSError: one of them failed.
        """
        head = _exactly(source, len(MAGIC))
        if head == MAGIC:
            self._pieces(source, _Watched(out), ours=ours)
            return
        reading, writing = _Watched(source, head), _Watched(out)
        try:
            self._age.decrypt_io(reading, writing, self._identities)
        except (self._age.DecryptError, OSError) as error:
            # What is damaged beyond its header comes as an OSError, too; one of a stream's own is kept there.
            if failed := (reading.error or writing.error):
                raise failed from error
            raise refusal(str(error), ours=ours) from error
        _must_have_worked(reading, writing)

    def data(self, sealed: bytes, *, ours: bool) -> bytes:
        """Small bytes, opened; raises as `stream`."""
        out = io.BytesIO()
        self.stream(io.BytesIO(sealed), out, ours=ours)
        return out.getvalue()

    def by_place(
        self, path: bytes, *, ours: bool, known: Index | None = None
    ) -> SealedBytes | None:
        """The plain bytes of the file at `path`, from any place; None: it was sealed in one stream.

        `known` is where its pieces are, if somebody has looked already.

        Raises:
            Corrupt: it is not what was sealed. Reading raises it, too, and `WrongKey`.
            OSError: it cannot be read.
        """
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            index = known or index_of(descriptor)
            if index is None:
                return None
            opened, descriptor = descriptor, -1
            unseal = functools.partial(self._piece, ours=ours)
            return SealedBytes(opened, index, unseal)
        except Cut as error:
            raise refusal("cut", ours=True) from error
        finally:
            if descriptor >= 0:
                os.close(descriptor)

    def _pieces(self, source: Reads, out: _Watched, *, ours: bool) -> None:
        """Open what was sealed piece by piece."""
        while True:
            header = _exactly(source, FRAME.size)
            if len(header) < FRAME.size:
                raise refusal("cut", ours=True)
            place, length, sealed = FRAME.unpack(header)
            if place != out.count or sealed > MOST:
                raise refusal("not in this order", ours=True)
            if not sealed:
                if length or source.read(1):
                    raise refusal("it goes on behind its end", ours=True)
                out.flush()
                return
            body = _exactly(source, sealed)
            out.write(self._piece(body, length, ours=ours))

    def _piece(self, sealed: bytes, length: int, *, ours: bool) -> bytes:
        """The plain bytes of one piece."""
        try:
            plain: bytes = self._age.decrypt(sealed, self._identities)
        except self._age.DecryptError as error:
            raise refusal(str(error), ours=ours) from error
        if len(plain) != length:
            raise refusal("another size", ours=True)
        return plain


def refusal(said: str, *, ours: bool) -> WrongKey | Corrupt:
    """What it means that something does not open."""
    if said == _NO_KEY and not ours:
        return WrongKey(
            "content is encrypted for another identity than the one at hand",
            help="add that identity's line to the identity file (`encryption: identity:`); work waits and goes on then",
        )
    return Corrupt(
        "content is corrupt: it is not what was encrypted",
        help="put it back from a backup (`filemill restore`) and redrive it, or drop the file again; "
        "`filemill verify` looks at all of it",
    )


def make_identity() -> tuple[str, str]:
    """A new identity and its recipient.

    Raises:
        UsageError: the package is not installed.
    """
    made = library().x25519.Identity.generate()
    return str(made), str(made.to_public())


def check_recipient(text: str) -> str:
    """The recipient as it is written.

    Raises:
        UsageError: it is none, or the package is not installed.
    """
    _recipient(library(), text)
    return text


def library() -> ModuleType:
    """The package `pyrage`.

    Raises:
        UsageError: it is not installed.
    """
    try:
        import pyrage  # noqa: PLC0415 -- only where something is sealed or opened
    except ImportError as error:
        raise UsageError(
            "encryption is not installed", help="pip install 'filemill[encryption]'"
        ) from error
    module: ModuleType = pyrage
    return module


def _recipient(age: Any, text: str) -> Any:
    if text.startswith(_IDENTITY):
        raise UsageError(
            "this is an identity, not a recipient: it is secret",
            help="write the `age1...` that `filemill encryption init` printed",
        )
    try:
        return age.x25519.Recipient.from_str(text)
    except age.RecipientError:
        raise UsageError(
            f"`{text}` is not a recipient",
            help="write age1..., as `filemill encryption init` or `age-keygen` prints it",
        ) from None


def _exactly(source: Reads, size: int) -> bytes:
    """So many bytes; fewer at the end."""
    found = source.read(size)
    while len(found) < size and (more := source.read(size - len(found))):
        found += more
    return found


def _must_have_worked(*streams: _Watched) -> None:
    """Raise what failed in a stream: pyrage says nothing of an error in its last write."""
    for stream in streams:
        if stream.error is not None:
            raise stream.error


class _Watched:
    """A stream as pyrage uses it: counted, and what fails in it is kept, which pyrage turns into text."""

    def __init__(self, stream: Any, head: bytes = b"") -> None:
        """`head` was read from it already, and comes first."""
        self._stream = stream
        self._head = head
        self.count = 0
        self.error: OSError | None = None

    def read(self, size: int = -1) -> bytes:
        if head := self._head:
            some = len(head) if size < 0 else size
            self._head = head[some:]
            self.count += len(head[:some])
            return head[:some]
        try:
            piece: bytes = self._stream.read(size)
        except OSError as error:
            self.error = error
            raise
        self.count += len(piece)
        return piece

    def write(self, piece: bytes) -> int:
        try:
            view = memoryview(piece)
            while view:  # a stream without a buffer may take less
                view = view[self._stream.write(view) :]
        except OSError as error:
            self.error = error
            raise
        self.count += len(piece)
        return len(piece)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            self.error = error
            raise
