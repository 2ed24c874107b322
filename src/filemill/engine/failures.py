"""From an exception in a worker to a Failure the engine can act on and a person can read."""

from __future__ import annotations

import errno
import os
import tempfile

from polars.exceptions import PanicException

from filemill.engine.chain import StepTrouble
from filemill.engine.ends import OWN
from filemill.engine.work import measure
from filemill.model.errors import (
    CrashError,
    FailureKind,
    FilemillError,
    Reject,
    SystemFault,
    TransientError,
)
from filemill.model.fingerprint import fingerprint
from filemill.model.runs import Failure
from filemill.records.tracebacks import user_traceback

FAILS: tuple[type[BaseException], ...] = (*OWN, PanicException)
"""What a run can end by: a step that makes Polars panic fails like any other."""
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})
_LITTLE = 32 << 20
"""Bytes: where less is free on the data directory's disk, a step that found no room is not to blame for it."""
_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO})


def failure_of(error: BaseException, pipeline: str, step: str) -> Failure:
    """What went wrong at `step`, classified by the error's class."""
    if isinstance(error, StepTrouble):
        step, error = error.step, error.cause
    raised, error = error, _machines(error)
    message = error.message if isinstance(error, FilemillError) else str(error)
    name = type(raised).__name__
    traceback = (
        "" if isinstance(raised, FilemillError) and not raised.__cause__ else user_traceback(raised)
    )
    group = error.fingerprint if isinstance(error, Reject) else None
    return Failure(
        kind=kind_of(error),
        step=step,
        error=name,
        message=message or name,
        help=error.help if isinstance(error, FilemillError) else "",
        traceback=traceback,
        retry_after=error.retry_after if isinstance(error, TransientError) else None,
        fingerprint=group or fingerprint(pipeline, step, name, message, traceback),
        sink=error.sink if isinstance(error, SystemFault) else "",
    )


def kind_of(error: BaseException) -> FailureKind:
    """What the engine does about it: an OSError with an errno, a time-out or a connection may mend itself."""
    if isinstance(error, FilemillError):
        return error.kind
    if isinstance(error, TimeoutError | ConnectionError):
        return FailureKind.TRANSIENT
    if isinstance(error, OSError) and error.errno is not None:
        return FailureKind.TRANSIENT
    return FailureKind.PERMANENT


def _machines(error: BaseException) -> BaseException:
    """The error, or in its place what it says of the machine: no memory, no disk."""
    if isinstance(error, MemoryError):
        return CrashError(
            f"out of memory{f': {error}' if str(error) else ''}",
            help="`worker_memory` says how much a worker may hold: raise it, or let the step hold less at once",
        )
    if isinstance(error, SystemFault):
        return error
    cause = error if isinstance(error, OSError) else error.__cause__
    if not isinstance(cause, OSError) or cause.errno not in _NO_ROOM:
        return error
    used, free = measure(os.fsencode(tempfile.gettempdir()), _LITTLE)
    if free >= _LITTLE:
        return error  # another disk than ours, or it is over already
    if used > min(_LITTLE, free):
        return CrashError(
            "the step filled the disk: what it wrote is in its work folder",
            help="let it write less, or give the data directory a bigger disk",
        )
    return SystemFault(
        f"no space left for the work folders of steps: {cause.strerror}",
        help="free some space; work goes on by itself, and no attempt is spent meanwhile",
    )


def disk_fault(error: OSError, sink: str) -> SystemFault | None:
    """The machine's fault behind an error while staging, if it is one."""
    if error.errno not in _DISK:
        return None
    return SystemFault(
        f"sink `{sink}`: {error.strerror or error}",
        help="make room on the disk, or look at its health; work goes on by itself then",
        sink=sink,
    )
