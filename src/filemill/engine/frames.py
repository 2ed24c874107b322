"""The frames between server and worker: msgpack, each behind a 4-byte big-endian length.

One socket pair a worker, one job at a time on it. A frame carries a batch: many files to inspect, many
runs of one pipeline, or chunks of one file. No pickle: a worker runs strangers' code and parses strangers' bytes.
"""

from __future__ import annotations

import struct
from typing import Any, Protocol

import msgspec

from filemill.engine.chunks import ChunkDone, Cut
from filemill.engine.states import Carried
from filemill.model.files import Facts, FileRef
from filemill.model.plan import Plan
from filemill.model.runs import Captured, RunOrder, RunResult
from filemill.model.trials import Trial, TrialOrder
from filemill.ports.describe import Answers, Question
from filemill.ports.scanner import Scanned
from filemill.ports.sink import Joined, SealedUp
from filemill.records.layout import Hints
from filemill.routing.explaining import Explanation

_LENGTH = struct.Struct(">I")
MAX_FRAME = 256 << 20


class Setup(msgspec.Struct, frozen=True, tag="setup"):
    """Server: the plan to serve. Sent first: a worker serves one revision from start to end."""

    plan: Plan
    identity: str = ""
    """What opens encrypted content; it is in no environment, file or log of the worker's."""


class Inspect(msgspec.Struct, frozen=True, tag="inspect"):
    """Server: find these files' facts and tags."""

    job: int
    files: tuple[FileRef, ...]


class Scan(msgspec.Struct, frozen=True, tag="scan"):
    """Server: have these files judged by the plan's scanners; nothing else of them is looked at."""

    job: int
    files: tuple[FileRef, ...]


class Execute(msgspec.Struct, frozen=True, tag="execute"):
    """Server: run these; all are of one pipeline and revision."""

    job: int
    orders: tuple[RunOrder, ...]


class CutUp(msgspec.Struct, frozen=True, tag="cut"):
    """Server: say where the chunks of this big file end."""

    job: int
    order: RunOrder
    state: bytes = b""
    """Where an earlier attempt stood, as the ledger has it: with encryption only a worker can read it."""


class ExecuteChunk(msgspec.Struct, frozen=True, tag="chunk"):
    """Server: work on the chunk that the order names, knowing what earlier chunks found out."""

    job: int
    order: RunOrder
    hints: Hints
    state: Carried | None = None
    """Where steps that see the whole file stood at the end of the chunk before."""


class SealUp(msgspec.Struct, frozen=True, tag="seal_up"):
    """Server: encrypt this output of a big file, whose parts are joined, for who reads it."""

    job: int
    order: RunOrder
    joined: Joined


class Keep(msgspec.Struct, frozen=True, tag="keep"):
    """Server: these runs wait for a person; keep what each needs to begin at the step where it ended."""

    job: int
    orders: tuple[RunOrder, ...]
    steps: tuple[str, ...]
    """The step of each."""


class Ask(msgspec.Struct, frozen=True, tag="ask"):
    """Server: answer about users' code and expressions."""

    job: int
    question: Question


class Explain(msgspec.Struct, frozen=True, tag="explain"):
    """Server: say how this file would be tagged and routed."""

    job: int
    file: FileRef


class Try(msgspec.Struct, frozen=True, tag="try"):
    """Server: take this file through its pipeline and tell what stands after each step."""

    job: int
    trial: TrialOrder


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """Worker: it serves the plan it was sent."""

    pid: int
    revision: int


class Inspected(msgspec.Struct, frozen=True, tag="inspected"):
    """Worker: facts, in the order asked."""

    job: int
    facts: tuple[Facts, ...]
    resident: int = 0
    """Bytes of memory the worker holds now: decides recycling."""
    spent: bool = False
    """Steps left so many threads, children or descriptors open that a new worker should take over."""


class Judged(msgspec.Struct, frozen=True, tag="judged"):
    """Worker: what the scanners said, in the order asked."""

    job: int
    files: tuple[Scanned, ...]
    resident: int = 0


class Executed(msgspec.Struct, frozen=True, tag="executed"):
    """Worker: results, in the order asked; every staged output among them is synced."""

    job: int
    results: tuple[RunResult, ...]
    resident: int = 0
    spent: bool = False


class CutDone(msgspec.Struct, frozen=True, tag="cut_done"):
    """Worker: how a file is cut."""

    job: int
    cut: Cut


class ChunkExecuted(msgspec.Struct, frozen=True, tag="chunk_executed"):
    """Worker: what a chunk came to."""

    job: int
    done: ChunkDone
    resident: int = 0
    spent: bool = False


class SealDone(msgspec.Struct, frozen=True, tag="seal_done"):
    """Worker: it is encrypted, not yet synced; or why not."""

    job: int
    done: SealedUp | None = None
    why: str = ""
    damaged: bool = False
    """What was joined is not what was sealed."""


class Kept(msgspec.Struct, frozen=True, tag="kept"):
    """Worker: what it kept of each run, in the order asked."""

    job: int
    captured: tuple[Captured, ...]
    resident: int = 0
    spent: bool = False


class Answered(msgspec.Struct, frozen=True, tag="answered"):
    """Worker: answers to an Ask."""

    job: int
    answers: Answers


class Explained(msgspec.Struct, frozen=True, tag="explained"):
    """Worker: the answer to an Explain."""

    job: int
    explanation: Explanation


class Tried(msgspec.Struct, frozen=True, tag="tried"):
    """Worker: the answer to a Try."""

    job: int
    trial: Trial


class Broken(msgspec.Struct, frozen=True, tag="broken"):
    """Worker: it could not set up or read a frame; it exits next."""

    error: str
    help: str = ""


ToWorker = (
    Setup | Inspect | Scan | Execute | CutUp | ExecuteChunk | SealUp | Keep | Ask | Explain | Try
)
FromWorker = (
    Ready
    | Inspected
    | Judged
    | Executed
    | CutDone
    | ChunkExecuted
    | SealDone
    | Kept
    | Answered
    | Explained
    | Tried
    | Broken
)

_ENCODER = msgspec.msgpack.Encoder()
_TO_WORKER: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(ToWorker)
_FROM_WORKER: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(FromWorker)


class FrameError(Exception):
    """Bytes that are no frame: the peer is broken and must go."""


class _Receives(Protocol):
    def recv_into(self, buffer: memoryview, /) -> int: ...


def pack(message: ToWorker | FromWorker) -> bytes:
    """One frame, length included.

    Raises:
        FrameError: it is larger than any peer accepts.
    """
    body = _ENCODER.encode(message)
    if len(body) > MAX_FRAME:
        raise FrameError(f"a frame of {len(body)} bytes")
    return _LENGTH.pack(len(body)) + body


def body_length(header: bytes) -> int:
    """How many bytes follow a 4-byte header.

    Raises:
        FrameError: more than any frame may have.
    """
    (length,) = _LENGTH.unpack(header)
    if length > MAX_FRAME:
        raise FrameError(f"a frame of {length} bytes")
    return int(length)


def unpack_to_worker(body: bytes | bytearray) -> ToWorker:
    """Decode what a server sent; FrameError if it is no such frame."""
    return _decode(_TO_WORKER, body)  # type: ignore[no-any-return]


def unpack_from_worker(body: bytes | bytearray) -> FromWorker:
    """Decode what a worker sent; FrameError if it is no such frame."""
    return _decode(_FROM_WORKER, body)  # type: ignore[no-any-return]


def _decode(decoder: msgspec.msgpack.Decoder[Any], body: bytes | bytearray) -> Any:
    try:
        return decoder.decode(body)
    except msgspec.MsgspecError as error:
        raise FrameError(str(error)) from error


def receive(connection: _Receives) -> bytearray | None:
    """Read one frame's body from a blocking socket; None at an orderly end."""
    header = _receive_exactly(connection, _LENGTH.size)
    if header is None:
        return None
    body = _receive_exactly(connection, body_length(bytes(header)))
    if body is None:
        raise FrameError("the socket closed inside a frame")
    return body


def _receive_exactly(connection: _Receives, length: int) -> bytearray | None:
    buffer = bytearray(length)
    view = memoryview(buffer)
    done = 0
    while done < length:
        count = connection.recv_into(view[done:])
        if count == 0:
            if done == 0:
                return None
            raise FrameError("the socket closed inside a frame")
        done += count
    return buffer
