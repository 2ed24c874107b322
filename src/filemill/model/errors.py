"""The one tree of errors. Each class tells the engine what to do and the person what to do.

| class       | the engine                                             | spends an attempt |
|-------------|--------------------------------------------------------|-------------------|
| Transient   | tries again after a jittered delay                     | yes               |
| Permanent   | makes it a dead letter at once                         | yes               |
| Crash       | tries again at most twice, alone, then a dead letter   | yes               |
| System      | stops leasing (of a sink: what writes there) until the cause is gone | no  |
| Interrupted | queues it again (its own, higher limit)                | no                |
"""

from __future__ import annotations

import os
from enum import StrEnum


class FailureKind(StrEnum):
    """What a failure makes the engine do with a run."""

    TRANSIENT = "transient"
    PERMANENT = "permanent"
    CRASH = "crash"
    SYSTEM = "system"
    INTERRUPTED = "interrupted"


class FilemillError(Exception):
    """Anything filemill raises on purpose. `help` says what a person can do about it."""

    kind: FailureKind = FailureKind.PERMANENT
    help: str = ""

    def __init__(self, message: str, *, help: str = "") -> None:  # noqa: A002 -- the word users read
        super().__init__(message)
        self.message = message
        if help:
            self.help = help


class TransientError(FilemillError):
    """It may work next time: I/O, a network, a busy server. `retry_after` is in seconds."""

    kind = FailureKind.TRANSIENT

    def __init__(self, message: str, *, retry_after: float | None = None, help: str = "") -> None:  # noqa: A002
        super().__init__(message, help=help)
        self.retry_after = retry_after


class PermanentError(FilemillError):
    """It will fail the same way every time: bad data, a refused file, a wrong option."""

    kind = FailureKind.PERMANENT


class CrashError(FilemillError):
    """The worker died, ran out of memory or missed its deadline while the run was announced."""

    kind = FailureKind.CRASH


class SystemFault(FilemillError):
    """The machine, not the file: disk full, ledger unreachable. Nothing is charged for it.

    `sink` names the one whose place it is, if it is one's.
    """

    kind = FailureKind.SYSTEM

    def __init__(self, message: str, *, help: str = "", sink: str = "") -> None:  # noqa: A002
        super().__init__(message, help=help)
        self.sink = sink


class NoRoom(SystemFault):
    """The disk has no room for more files; those that are taken go on."""


class LedgerSyncError(SystemFault):
    """A sync of the ledger failed: what was written is unknown, so the server must end and recover."""


class LedgerDamaged(LedgerSyncError):
    """The ledger's file is not what was written: the server must end, and a person must restore a backup."""


class NotFound(PermanentError):
    """There is no such file, run, content or step."""


class Busy(FilemillError):
    """Another process holds the data directory (exit code 75)."""


class QueueFull(Busy):
    """As many files are taken as may wait: ask again in a moment."""


class UsageError(FilemillError):
    """A command line, path or configuration that cannot be acted on (exit code 2)."""


def plainly(error: BaseException) -> str:
    """What went wrong, in words: an OSError without its number (`No space left on device: /srv/out`)."""
    if not isinstance(error, OSError) or not error.strerror:
        return str(error)
    names = [os.fsdecode(name) for name in (error.filename, error.filename2) if _is_path(name)]
    return ": ".join([error.strerror, " -> ".join(names)] if names else [error.strerror])


def _is_path(name: object) -> bool:
    return isinstance(name, str | bytes) and bool(name)


class Reject(PermanentError):
    """Raised by a step: this record (or file) is bad and no retry will mend it."""

    def __init__(self, message: str, *, fingerprint: str | None = None, help: str = "") -> None:  # noqa: A002
        super().__init__(message, help=help)
        self.fingerprint = fingerprint


class Retry(TransientError):
    """Raised by a step: try again, after `after` seconds if given."""

    def __init__(
        self, message: str = "the step asked for a retry", *, after: float | None = None
    ) -> None:
        super().__init__(message, retry_after=after)
