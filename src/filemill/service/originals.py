"""The bytes that are kept, for those who only read: originals, and single records of them.

What is encrypted is opened with the identity at hand, into memory of this process and nowhere else.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, BinaryIO

from filemill.encryption.age import Opener, key_in
from filemill.encryption.texts import is_closed
from filemill.model.errors import NotFound
from filemill.model.runs import BadRecord, RecordForm
from filemill.service.encrypting import is_ours, opener_of, plain_file, scratch_of

if TYPE_CHECKING:
    from filemill.queries import RunHistory

_PIECE = 1 << 20


class Originals:
    """Content of a data directory, opened for reading only; works beside a running server."""

    def __init__(self, data: str) -> None:
        self._data = data
        self._root = os.path.join(os.fsencode(data), b"content")
        self._opener: Opener | None = None
        self._plain: tuple[str, int] | None = None
        """The content that was opened last, and the memory that it is in: records are asked for one by one."""

    def path(self, reference: str) -> bytes:
        """Where the bytes of this content reference are, or were."""
        return os.path.join(self._root, reference.encode())

    def kept(self, reference: str) -> bool:
        """Say whether the bytes are still there."""
        return bool(reference) and os.path.isfile(self.path(reference))

    def open(self, reference: str) -> BinaryIO:
        """The bytes, from their beginning.

        Raises:
            NotFound: they are gone.
            UsageError: they are encrypted, and there is no identity at hand.
            WrongKey: they are encrypted for others.
            Corrupt: they are not what was encrypted.
            OSError: they cannot be read.
        """
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            if key_in(reference):
                return os.fdopen(os.dup(self._decrypted(reference, flags)), "rb", buffering=0)
            return os.fdopen(os.open(self.path(reference), flags), "rb", buffering=0)
        except FileNotFoundError as error:
            raise NotFound(
                "the original is not kept any more",
                help="`after: delete` and `after: keep` let go of it when every run of the file is done",
            ) from error

    def _decrypted(self, reference: str, flags: int) -> int:
        """A descriptor of the plain bytes, at their beginning; it stays this object's."""
        if self._plain is not None and self._plain[0] == reference:
            os.lseek(self._plain[1], 0, os.SEEK_SET)
            return self._plain[1]
        if self._opener is None:
            self._opener = opener_of(self._data)
        with open(os.open(self.path(reference), flags), "rb") as source:
            memory = os.memfd_create("content", os.MFD_CLOEXEC)
            try:
                with open(memory, "wb", _PIECE, closefd=False) as out:
                    ours = is_ours(self._data, key_in(reference))
                    self._opener.stream(source, out, ours=ours)
            except BaseException:
                os.close(memory)
                raise
        if self._plain is not None:
            os.close(self._plain[1])
        self._plain = reference, memory
        os.lseek(memory, 0, os.SEEK_SET)
        return memory

    @contextlib.contextmanager
    def opened(self, reference: str) -> Iterator[tuple[BinaryIO, int]]:
        """The bytes, and how many they are.

        Raises:
            NotFound: they are gone.
            OSError: they cannot be read.
        """
        with self.open(reference) as file:
            yield file, os.fstat(file.fileno()).st_size

    @contextlib.contextmanager
    def input(self, run: RunHistory) -> Iterator[tuple[BinaryIO, int]]:
        """What is kept of a run as a file that people can read, and how many of its bytes count.

        Raises:
            NotFound: nothing is.
            PermanentError: it is damaged.
            OSError: it cannot be read, or there is no room to write records.
        """
        from filemill.service.kept_inputs import opened  # noqa: PLC0415

        if not run.input:
            raise NotFound(f"nothing is kept of run {run.summary.run}")
        with (
            plain_file(self._data, self.path(run.input)) as path,
            opened(path, scratch_of(self._data)) as given,
        ):
            yield given

    def scratch(self, reference: str) -> str | None:
        """Where a copy of this content may lie for a moment: in memory, if it is encrypted; None: anywhere.

        Raises:
            UsageError: there is no such place.
            SystemFault: it cannot be told.
        """
        del reference
        return scratch_of(self._data)

    def piece(self, reference: str, start: int, end: int, limit: int) -> bytes:
        """The bytes from `start` to `end`, at most `limit` of them.

        Raises:
            NotFound: they are gone.
            OSError: they cannot be read.
        """
        with self.open(reference) as file:
            return os.pread(file.fileno(), max(0, min(end - start, limit)), start)


def pieces(source: BinaryIO, start: int = 0, end: int | None = None) -> Iterator[bytes]:
    """A file's bytes from `start` to `end` (None: its own), a MiB at a time."""
    at = start
    while end is None or at < end:
        size = _PIECE if end is None else min(_PIECE, end - at)
        piece = os.pread(source.fileno(), size, at)
        if not piece:
            return
        yield piece
        at += len(piece)


def why_not_alone(bad: Sequence[BadRecord], form: RecordForm | None) -> str:
    """Why these records cannot be taken out of their file; empty when they can."""
    if not bad:
        return "no record of it is bad: it failed as a whole"
    if form is None:
        return "how its records stand in the file was not noted"
    if is_closed(form.opens):
        return "what stands before its records is encrypted, and can be read only where the identity is"
    if not form.original:
        return "a step changed the file before it was read, so its records are not in the original as they were read"
    if all(each.end <= each.start for each in bad):
        return f"{form.format} has no bytes of its own for a record"
    return ""


def alone(source: BinaryIO, bad: Sequence[BadRecord], form: RecordForm) -> Iterator[bytes]:
    """A file of these records only, each as it stands in `source`, in the form that its reader reads.

    `why_not_alone` says nothing against it.
    """
    ending = b"\r\n" if form.crlf else b"\n"
    if form.format == "json":
        yield from _array(source, bad, form)
        return
    if form.opens:
        yield form.opens.encode() + ending
    for each in bad:
        yield from pieces(source, each.start, each.end)
        yield ending


def _array(source: BinaryIO, bad: Sequence[BadRecord], form: RecordForm) -> Iterator[bytes]:
    """JSON: what opens the array, the elements with commas between them, what closes it."""
    yield form.opens.encode()
    for number, each in enumerate(bad):
        if number:
            yield b","
        if form.opens:
            yield b"\n"
        yield from pieces(source, each.start, each.end)
    yield (b"\n" if form.opens else b"") + form.closes.encode() + b"\n"
