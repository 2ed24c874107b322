"""What the kernel says of processes: who is below whom, what they hold. Linux; elsewhere nothing is known.

Imports nothing heavy: the keeper of each worker lives with this module alone.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time

_SWEEP_LIMIT = 2.0
"""Seconds after which processes that cannot be killed (another user's, or stuck in the kernel) are left."""


def children_of(pid: int) -> list[int]:
    """Processes whose parent this one is now; empty when it is gone or nobody can tell."""
    found: list[int] = []
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return found
    for thread in threads:
        with (
            contextlib.suppress(OSError),
            open(f"/proc/{pid}/task/{thread}/children", "rb") as file,
        ):
            found += map(int, file.read().split())
    return found


def descendants_of(pid: int) -> list[int]:
    """All processes below this one, parents before their children."""
    found = children_of(pid)
    for each in found:
        found += children_of(each)
    return found


def is_alive(pid: int) -> bool:
    """Say whether a process still runs; one that ended and was not yet reaped does not."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The name stands in parentheses and may hold anything.
            return file.read().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    except (OSError, IndexError):
        return False


def memory_of(pid: int) -> int:
    """Bytes of memory that a process holds for itself: what files back, and the kernel can drop, is not counted."""
    held = 0
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            for line in file:
                if line.startswith((b"RssAnon:", b"RssShmem:")):
                    held += int(line.split()[1]) << 10
    except (OSError, ValueError, IndexError):
        return 0
    return held


def end_strays(keeper: int) -> None:
    """End what the job of this worker left behind as daemons.

    That is everything in another session than the worker's (`setsid`), and everything whose parent is gone, so that it
    fell to the keeper. A child that stays in the worker's session, such as a pool that a module keeps, may stay.
    """
    ends = time.monotonic() + _SWEEP_LIMIT
    while strays := _strays(keeper):
        for pid in strays:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > ends:
            return
        time.sleep(0.001)


def has_children() -> bool:
    """Say whether this process has any child, ended or not: one system call, where looking into /proc takes dozens."""
    if not hasattr(os, "waitid"):
        return True
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _strays(keeper: int) -> list[int]:
    me, session = os.getpid(), os.getsid(0)
    orphans = [pid for pid in children_of(keeper) if pid != me]
    found = orphans + [below for pid in orphans for below in descendants_of(pid)]
    for pid in descendants_of(me) if has_children() else ():
        with contextlib.suppress(OSError):
            if os.getsid(pid) != session:
                found.append(pid)
    return [pid for pid in found if is_alive(pid)]
