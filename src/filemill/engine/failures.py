"""From an exception in a worker to a Failure the engine can act on and a person can read."""

from __future__ import annotations

import errno

from polars.exceptions import PanicException

from filemill.engine.chain import StepTrouble
from filemill.model.errors import FailureKind, FilemillError, Reject, SystemFault, TransientError
from filemill.model.fingerprint import fingerprint
from filemill.model.runs import Failure
from filemill.records.functions import user_traceback

FAILS: tuple[type[BaseException], ...] = (Exception, SystemExit, PanicException)
"""What a run can end by: a step that calls `sys.exit` or makes Polars panic fails like any other."""
_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO})


def failure_of(error: BaseException, pipeline: str, step: str) -> Failure:
    """What went wrong at `step`, classified by the error's class."""
    if isinstance(error, StepTrouble):
        step, error = error.step, error.cause
    message = error.message if isinstance(error, FilemillError) else str(error)
    name = type(error).__name__
    traceback = (
        "" if isinstance(error, FilemillError) and not error.__cause__ else user_traceback(error)
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
    )


def kind_of(error: BaseException) -> FailureKind:
    """What the engine does about it: an OSError with an errno, a time-out or a connection may mend itself."""
    if isinstance(error, FilemillError):
        return error.kind
    if isinstance(error, MemoryError):
        return FailureKind.CRASH
    if isinstance(error, TimeoutError | ConnectionError):
        return FailureKind.TRANSIENT
    if isinstance(error, OSError) and error.errno is not None:
        return FailureKind.TRANSIENT
    return FailureKind.PERMANENT


def disk_fault(error: OSError, sink: str) -> SystemFault | None:
    """The machine's fault behind an error while staging, if it is one."""
    if error.errno not in _DISK:
        return None
    return SystemFault(
        f"sink `{sink}`: {error.strerror or error}",
        help="make room on the disk, or look at its health; work goes on by itself then",
    )
