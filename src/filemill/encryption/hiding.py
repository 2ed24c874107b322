"""A process whose memory is its own: no core file, and nobody of the same user looks into it."""

from __future__ import annotations

import ctypes
import os
import resource

from filemill.model.errors import SystemFault

_PR_SET_DUMPABLE = 4


def hide_memory() -> None:
    """From here on nobody reads this process's memory but root, and it leaves no core file."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise SystemFault(f"prctl: {os.strerror(ctypes.get_errno())}")
