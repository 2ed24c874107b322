"""Kept input: what a run's next attempt needs to begin at the step where the last one ended, as one file.

What stands in it is either the file as that step was given it, or the batches of records in the order in which they
came, each with all that a batch has: the records' own bytes, numbers, lines, tags, added columns and typed views.
Behind that stands what the steps before it found out and counted: how the file is laid out, what columns functions
made, bad records, each step's counts. So an attempt that begins here makes, byte for byte, what one that begins with
the file makes.

    pieces, one behind the other    the file's bytes; or Arrow IPC streams, one a batch
    `Told`, as msgpack
    length of `Told`, 8 bytes, little endian
    MAGIC

It is written once, renamed into content when it is whole, and never changed. No pickle: it may lie there for months.
"""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import io
import os
import struct
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, BinaryIO

import msgspec
import polars as pl

from filemill.model.errors import PermanentError
from filemill.model.runs import BadRecord, Captured, KeptInput, StepCount
from filemill.records.batch import Batch
from filemill.records.functions import load
from filemill.records.layout import Layout

if TYPE_CHECKING:
    from filemill.engine.chain import Node

MAGIC = b"filemill input 1"
_LENGTH = struct.Struct("<Q")
_PACK = msgspec.msgpack.Encoder().encode
_COPY = 1 << 20
FROM_START = "redrive it from the start: `filemill dead redrive ID --from start`"


class InputUnusable(PermanentError):
    """What is kept of a run is no beginning for the pipeline as it is now."""


class TooBig(Exception):
    """It would take more bytes than it may."""


class Unwritable(Exception):
    """The disk is full or failing; the text says how."""


class Piece(msgspec.Struct, frozen=True):
    """One batch: where its bytes are, and what they do not say themselves.

    Batches of one `group` came of one batch of the reader, or, with number -1, of what steps held back to the end.
    """

    start: int
    length: int
    group: int
    layout: Layout
    own: dict[int, tuple[str, ...]] = {}
    also: tuple[str, ...] = ()


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What the steps before found out and counted."""

    step: str
    """The step to begin at."""
    before: str
    """Digest of the steps before it (see `digest_of`)."""
    asked: str
    """The step at which the run ended."""
    relative: bytes
    size: int
    """Of the file as it stands there, in bytes."""
    changed: bool
    tags: tuple[str, ...]
    pieces: tuple[Piece, ...] | None = None
    """None: it is the file."""
    layout: Layout | None = None
    """How the file was laid out that was read; None: none was read, or it had none."""
    columns: dict[str, tuple[str, ...]] = {}
    """By step: the columns that functions gave the file's csv records."""
    within: int = 0
    """Records in the pieces."""
    steps: tuple[StepCount, ...] = ()
    records: int = 0
    """Records that the file had."""
    blank: int = 0
    bad: tuple[BadRecord, ...] = ()
    bad_total: int = 0
    bad_by_step: dict[str, int] = {}
    tracebacks: dict[str, str] = {}


_TOLD = msgspec.msgpack.Decoder(Told)


def digest_of(nodes: Sequence[Node]) -> str:
    """Tells apart steps that may make something else of the same file; how long and how often they try does not.

    Of a function its own text counts, not what it calls: one that was mended makes other records than those that are
    kept, and one beside which another was mended does not.
    """
    plain = [
        (
            node.plan.id,
            node.plan.uses,
            node.plan.options,
            node.plan.guard.text if node.plan.guard else "",
            _source(node.function) if node.function else "",
        )
        for node in nodes
    ]
    return hashlib.sha256(_PACK(plain)).hexdigest()


def _source(function: str) -> str:
    try:
        return inspect.getsource(load(function).call)
    except (OSError, TypeError):
        return ""  # made at run time, or compiled: there is no text


class InputWriter:
    """Writes one kept input, of at most `limit` bytes. A context manager: what is not `finish`ed is removed."""

    def __init__(self, path: bytes, limit: int) -> None:
        self.path = path
        self.records = 0
        self.size = 0
        self._limit = limit
        self._pieces: list[Piece] = []
        self._group = 0
        self._out: BinaryIO | None = None
        with _writing():
            self._out = open(path, "wb", opener=_private)  # noqa: SIM115 -- closed by `finish`

    def take(self, batches: Sequence[Batch], *, last: bool = False) -> None:
        """Keep what came of one batch of the reader; with `last`, of what steps held back.

        Raises:
            TooBig: the limit is reached.
            Unwritable: the disk is full or failing.
        """
        for batch in batches:
            packed = io.BytesIO()
            batch.frame.write_ipc_stream(packed, compression="zstd")
            start = self.size
            self._write(packed.getbuffer())
            self.records += len(batch)
            self._pieces.append(
                Piece(
                    start,
                    self.size - start,
                    -1 if last else self._group,
                    batch.layout,
                    dict(batch.own),
                    batch.also,
                )
            )
        self._group += 1

    def take_file(self, path: bytes) -> None:
        """Keep a file's bytes.

        Raises:
            TooBig: the limit is reached.
            Unwritable: the disk is full or failing.
            OSError: the file cannot be read.
        """
        with open(path, "rb") as source:
            if os.fstat(source.fileno()).st_size > self._limit:
                raise TooBig
            while piece := source.read(_COPY):
                self._write(piece)

    def pieces(self) -> tuple[Piece, ...]:
        """What was taken of records so far."""
        return tuple(self._pieces)

    def finish(self, told: Told) -> None:
        """Write what the steps found out, and close. What is at `path` is whole then, but not synced."""
        packed = _PACK(told)
        self._write(packed + _LENGTH.pack(len(packed)) + MAGIC)
        out, self._out = self._out, None
        if out is not None:
            with _writing():
                out.close()

    def abandon(self) -> None:
        """Remove it, unless it is finished."""
        if self._out is not None:
            with contextlib.suppress(OSError):
                self._out.close()
            with contextlib.suppress(OSError):
                os.unlink(self.path)  # noqa: TID251 -- scratch: it can be made again from the file

    def _write(self, data: bytes | memoryview) -> None:
        assert self._out is not None, "it is finished"  # noqa: S101
        self.size += len(data)
        if self.size > self._limit:
            raise TooBig
        with _writing():
            self._out.write(data)


class InputReader:
    """A kept input, opened. `told` says all but the pieces."""

    def __init__(self, path: bytes) -> None:
        """Raises InputUnusable: it is gone, or not what was written."""
        self._path = path
        try:
            with open(path, "rb") as source:
                end = source.seek(0, os.SEEK_END)
                tail = _LENGTH.size + len(MAGIC)
                source.seek(max(0, end - tail))
                head = source.read(tail)
                if head[_LENGTH.size :] != MAGIC:
                    raise InputUnusable("what was kept of the run is damaged", help=FROM_START)
                (length,) = _LENGTH.unpack(head[: _LENGTH.size])
                self._size = end
                self._body = end - tail - length
                source.seek(max(0, self._body))
                self.told: Told = _TOLD.decode(source.read(length))
        except FileNotFoundError as error:
            raise InputUnusable("what was kept of the run is gone", help=FROM_START) from error
        except msgspec.MsgspecError as error:
            raise InputUnusable("what was kept of the run is damaged", help=FROM_START) from error

    def as_captured(self, run: str) -> Captured:
        """It, as what is kept of a run that ended where it began: nothing new."""
        return Captured(run, KeptInput(self.told.step, self._size, self.told.within))

    def groups(self, tags: Sequence[frozenset[str]]) -> Iterator[tuple[list[Batch], bool]]:
        """The batches of each group, and whether they are those that steps held back to the end.

        `tags` are those of the only order's file.
        """
        with open(self._path, "rb") as source:
            waiting: list[Batch] = []
            group: int | None = None
            for piece in self.told.pieces or ():
                if group is not None and piece.group != group:
                    yield waiting, group < 0
                    waiting = []
                group = piece.group
                source.seek(piece.start)
                frame = pl.read_ipc_stream(io.BytesIO(source.read(piece.length)))
                batch = Batch(frame, piece.layout, tags)
                batch.own, batch.also = dict(piece.own), piece.also
                waiting.append(batch)
            if group is not None:
                yield waiting, group < 0

    def copy_file(self, folder: str) -> bytes:
        """The file, in a work folder; answers its path.

        Raises:
            OSError: the disk is full or failing.
        """
        path = os.path.join(os.fsencode(folder), b"input")
        with open(self._path, "rb") as source, open(path, "wb", opener=_private) as out:
            left = self._body
            while piece := source.read(min(left, _COPY)):
                out.write(piece)
                left -= len(piece)
        return path


@contextlib.contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Unwritable(error.strerror or str(error)) from error


def _private(path: str | bytes, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
