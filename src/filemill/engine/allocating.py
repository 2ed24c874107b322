"""How a worker's allocators are set: they keep what was freed for what is asked for next.

A chunk of a big file is a few blocks of some megabytes, asked for and freed again and again. As they come, both
allocators of a worker (the C library's for Python's bytes, jemalloc for Polars) hand blocks of that size back to the
kernel at once, and the kernel zeroes each page anew when the next chunk touches it: half of all processor time. Kept,
the same pages serve every chunk. What lies idle for `_IDLE_MS` goes back all the same.

Whoever sets an allocator in the environment knows better, and is not overruled. What is set here is no part of the
environment that steps see.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_OWN_MAPPING = 32 << 20
"""Blocks from here on are mappings of their own. The highest value that glibc takes."""
_KEPT_ON_TOP = 256 << 20
"""Free bytes at the end of the heap that are not given back."""
_GLIBC = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_", "GLIBC_TUNABLES")
_JEMALLOC = "_RJEM_MALLOC_CONF"
_IDLE_MS = 10_000
_SETTINGS = f"narenas:1,oversize_threshold:0,dirty_decay_ms:{_IDLE_MS},muzzy_decay_ms:0"
"""One arena, since one thread at a time computes; large blocks are kept as small ones are (by default they go back at
once)."""


@contextlib.contextmanager
def kept_memory() -> Iterator[None]:
    """Set the allocators; Polars, whose own reads the environment when it is loaded, is imported inside."""
    if not any(name in os.environ for name in _GLIBC):
        _set_glibc()
    given = os.environ.get(_JEMALLOC)
    if given is None:
        os.environ[_JEMALLOC] = _SETTINGS
    try:
        yield
    finally:  # Polars writes settings of its own beside ours
        if given is None:
            del os.environ[_JEMALLOC]
        else:
            os.environ[_JEMALLOC] = given


def give_back() -> None:
    """Hand to the kernel what the C library keeps free: a big file is done, or a run came to the limit of memory."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _set_glibc() -> None:
    """Other C libraries have no such knobs, and are left as they are."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _OWN_MAPPING)
        mallopt(_M_TRIM_THRESHOLD, _KEPT_ON_TOP)
