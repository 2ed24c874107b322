"""Measuring how a file system syncs: small files made durable abreast and by syncfs, a few times, in turns."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable

from filemill.durable.costs import Costs, Measurement
from filemill.durable.mounts import mount_of
from filemill.durable.syncing import sync_abreast, sync_each, sync_file_system

SCRATCH = b"syncing"
"""The folder that is made, in a place that is ours alone, and removed."""
FILES = 8
ROUNDS = 7
BUDGET_NS = 60_000_000
"""No further round when syncs took as long; the first one is never cut off."""
LONGEST_NS = 500_000_000
"""The same with the making of files: a disk may be slow at that alone."""
LEAST_NS = 1_000
_SIZE = 4_096


def measure(place: bytes, at_ns: int, scratch: bytes = SCRATCH) -> Measurement:
    """Measure in a folder that is made in `place` and removed; one that a kill left there must be swept first.

    Raises:
        OSError: nothing can be made or synced there.
    """
    mine = place + b"/" + scratch
    os.mkdir(mine, 0o700)
    try:
        costs = _costs(mine)
    finally:
        sweep(place, scratch)
    mount = mount_of(place)
    told = "" if mount is None else mount.told
    return Measurement(os.fsdecode(place), told, os.uname().release, at_ns, costs)


def sweep(place: bytes, scratch: bytes = SCRATCH) -> None:
    """Remove what a measurement that was killed left in `place`. Raises OSError."""
    mine = place + b"/" + scratch
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(mine):
            os.unlink(mine + b"/" + name)  # noqa: TID251 -- scratch: nothing of it need be durable
        os.rmdir(mine)


def _costs(folder: bytes) -> Costs:
    one, many, whole = [], [], []
    began, spent = time.monotonic_ns(), 0
    for number in range(ROUNDS):
        one.append(_timed(sync_each, _make(folder, b"a%d" % number, 1), folder))
        many.append(_timed(sync_abreast, _make(folder, b"b%d" % number, FILES), folder))
        _make(folder, b"c%d" % number, FILES)
        whole.append(_timed(lambda *_: sync_file_system(folder), [], folder))
        spent += one[-1] + many[-1] + whole[-1]
        if spent >= BUDGET_NS or time.monotonic_ns() - began >= LONGEST_NS:
            break
    # Low ones of each: what else the machine does in these milliseconds only ever adds.
    lone, group, all_ = (sorted(each)[len(each) // 4] for each in (one, many, whole))
    return Costs(lone, max((group - lone) // (FILES - 1), LEAST_NS), all_)


def _make(folder: bytes, name: bytes, count: int) -> list[bytes]:
    paths = [folder + b"/" + name + b"-%d" % number for number in range(count)]
    for path in paths:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(descriptor, "wb") as file:
            file.write(os.urandom(_SIZE))
    return paths


def _timed(
    sync: Callable[[list[bytes], list[bytes]], None], files: list[bytes], folder: bytes
) -> int:
    began = time.monotonic_ns()
    sync(files, [folder])
    return time.monotonic_ns() - began
