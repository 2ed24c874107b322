"""The instance lock: one server, or one writing command, per data directory."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from filemill.model.errors import Busy


class InstanceLock:
    """An flock on `<data>/lock`, held as long as this process lives or until `release`.

    The kernel drops it with the process, however that ends, so a lock file left behind means nothing. The file
    holds the owner's pid, to tell people who it is.
    """

    def __init__(self, data: str) -> None:
        self.path = os.path.join(data, "lock")
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock, at once or not at all.

        Raises:
            Busy: another process holds it; the message names its pid.
        """
        if self._descriptor is not None:
            return
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
        except BlockingIOError:
            holder = _pid_in(descriptor)
            os.close(descriptor)
            raise Busy(
                f"the data directory {os.path.dirname(self.path)} is in use by {holder}",
                help="stop that process first, or use another data directory",
            ) from None
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor

    def release(self) -> None:
        """Give the lock back. Idempotent."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()


@contextlib.contextmanager
def references_stay(data: str, *, but_ours: bool = False) -> Iterator[None]:
    """While the block runs no content gets another reference: whoever copies what the ledger names relies on it.

    Any number may rely on it at once; `but_ours`: nobody does, and only the caller gives other references.

    Raises:
        Busy: the other is being done.
        OSError: the data directory cannot be written.
    """
    path = os.path.join(data, "references.lock")
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        if but_ours:
            raise
        yield  # where nothing can be written nothing gets another name
        return
    try:
        _must_have(descriptor, but_ours=but_ours)
        yield
    finally:
        os.close(descriptor)


def _must_have(descriptor: int, *, but_ours: bool) -> None:
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_EX if but_ours else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Busy(
            "a backup is being made, or another command encrypts content anew"
            if but_ours
            else "content is being encrypted anew (`filemill encryption rotate`)",
            help="do it again when that is done",
        ) from None


def holder_of(data: str) -> int | None:
    """The pid of the process that holds a data directory's lock now; None when nobody does.

    0 when somebody does whose pid is not yet written.
    """
    try:
        descriptor = os.open(os.path.join(data, "lock"), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        text = os.pread(descriptor, 32, 0).strip()
        return int(text) if text.isdigit() else 0
    else:
        return None
    finally:
        os.close(descriptor)


def _pid_in(descriptor: int) -> str:
    text = os.pread(descriptor, 32, 0).strip()
    return f"process {int(text)}" if text.isdigit() else "another process"
