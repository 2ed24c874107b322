"""A worker's allocators keep what a chunk freed for the next one, unless somebody else has set them."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys

import pytest

PROGRAM = """
import os, resource, sys, time
from filemill.engine.allocating import kept_memory, give_back

before = dict(os.environ)
if sys.argv[1] == "kept":
    with kept_memory():
        import polars as pl
else:
    import polars as pl
    before = dict(os.environ)
assert dict(os.environ) == before, "steps would see it"

def faults(block):
    [block() for _ in range(4)]  # the first time takes the memory
    was = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(3):
        time.sleep(1)  # as long as a chunk may wait for the next
        [block() for _ in range(4)]
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - was

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

print(faults(lambda: b"x" * (12 << 20)))
print(faults(lambda: pl.repeat(1, 1_500_000, dtype=pl.Int64, eager=True)))
held = [b"x" * (12 << 20) for _ in range(4)]
del held
full = resident()
give_back()
print(full - resident())
"""
_glibc = pytest.mark.skipif(
    not hasattr(ctypes.CDLL(None), "mallopt"), reason="another C library than glibc"
)


def run(how: str, **environment: str) -> tuple[int, int, int]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, how],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    ours, polars, given_back = map(int, done.stdout.split())
    return ours, polars, given_back


@_glibc
def test_the_next_chunk_gets_the_pages_of_the_last() -> None:
    # What jemalloc keeps goes back with time, so how much it is depends on how busy the machine is.
    ours, _, given_back = run("kept")

    # Twelve blocks of 12 MiB are 36,864 pages, which the kernel would have to hand out anew.
    assert ours < 3_000
    assert given_back > 30 << 20, "a worker that waits holds no chunk's memory"


@_glibc
def test_whoever_has_set_the_allocators_is_not_overruled() -> None:
    ours, polars, _ = run(
        "kept", MALLOC_MMAP_THRESHOLD_="65536", _RJEM_MALLOC_CONF="dirty_decay_ms:0"
    )

    assert ours > 20_000
    assert polars > 20_000
