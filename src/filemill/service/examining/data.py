"""The data directory: a local disk that syncs, private, with room, and its ledger."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from filemill.durable import Durable
from filemill.durable.probing import probe_folder, sync_seconds
from filemill.ledgers.sqlite.lock import holder_of
from filemill.ledgers.sqlite.opening import refuse_network_filesystem
from filemill.ledgers.sqlite.reserve import Reserve, reserve_size
from filemill.model.errors import FilemillError, NotFound, UsageError
from filemill.model.plan import Plan
from filemill.ports.examining import Finding, Level
from filemill.ports.units import format_size
from filemill.service.encrypting import look
from filemill.service.reading import open_queries
from filemill.service.restoring import BEFORE, UNFINISHED

_SPARE, _LEAST = 1 << 30, 100 << 20
_SLOW = 0.05


def examine_data(plan: Plan, durable: Durable) -> list[Finding]:
    """Everything about the data directory; it is tried, beside a running server too, and left as it was."""
    return [Finding(level, "data", what, remedy) for level, what, remedy in _found(plan, durable)]


_Found = tuple[Level, str, str]


def _found(plan: Plan, durable: Durable) -> Iterator[_Found]:
    there = nearest(plan.data)
    try:
        refuse_network_filesystem(there)
    except FilemillError as error:
        yield Level.PROBLEM, error.message, error.help
    yield _room(there)
    yield from _beside(plan.data)
    if there != plan.data:
        if os.path.lexists(plan.data) or not os.access(there, os.W_OK | os.X_OK):
            what = f"{plan.data} cannot be made in {there}"
            yield Level.PROBLEM, what, "name another with `data:` or FILEMILL_DATA_DIR"
            return
        yield Level.OK, f"{plan.data} is made at the start", ""
        return
    yield _mode(plan.data)
    yield from _encryption(plan)
    yield _tried(plan, durable)
    yield _ledger(plan.data)
    yield from _reserve(plan)


def _encryption(plan: Plan) -> Iterator[_Found]:
    if plan.encryption is None:
        return
    seen = look(plan)
    if seen.trouble:
        yield Level.PROBLEM, seen.trouble, seen.help
        return
    count = len(seen.recipients)
    told = f"content is encrypted for {count} recipient{'s' if count > 1 else ''}"
    readable = "names, tags, attributes, sizes, digests and the configuration stay readable"
    yield Level.OK, f"{told}; {readable}", ""
    if seen.other or seen.plain:
        what = f"{seen.other} contents are encrypted for former recipients, {seen.plain} are plain"
        yield (
            Level.WARNING,
            f"{what}: from before",
            "`filemill encryption rotate` encrypts them anew; keep former identities until then",
        )
    plain = [sink.name for sink in plan.sinks if not sink.options.get("encrypt")]
    if plain:
        what = f"outputs of {', '.join(plain)} are plain, also while they are staged in `.filemill`"
        yield Level.WARNING, what, "`encrypt: age1...` in the sink, where they may not be"
    if _swaps():
        yield (
            Level.WARNING,
            "this machine swaps: plain bytes of files in hand may come to a disk",
            "encrypt the swap space, or turn it off",
        )


def _swaps() -> bool:
    try:
        with open("/proc/swaps", encoding="ascii", errors="replace") as swaps:
            return len(swaps.readlines()) > 1
    except OSError:
        return False


def _room(folder: str) -> _Found:
    disk = os.statvfs(folder)
    free = disk.f_bavail * disk.f_frsize
    told = f"{free / 1e9:.1f} GB free on its disk"
    if disk.f_files and disk.f_favail < 1_000:
        return Level.PROBLEM, f"only {disk.f_favail:,} more files fit on its disk", "free inodes"
    if free < _LEAST:
        return Level.PROBLEM, told, "free some: files wait in their sources until there is room"
    if free < _SPARE:
        return Level.WARNING, told, "every file waits there until it is done: make room"
    return Level.OK, told, ""


def _beside(data: str) -> Iterator[_Found]:
    """What restores left: the directory that was there before, and what a restore that was killed had made."""
    parent, name = os.path.split(data)
    try:
        beside = sorted(os.listdir(parent))
    except (
        OSError
    ):  # not made yet, or not ours to list: then no restore of this user made any there
        return
    for each in beside:
        path = os.path.join(parent, each)
        if each.startswith(f"{name}{UNFINISHED}"):
            what = f"{path} is of a restore that is at work now, or was killed"
            yield Level.WARNING, what, "when none is at work: remove it, the backup has all of it"
        elif each.startswith(f"{name}{BEFORE}"):
            what = f"{path} is what was here before a restore, or of one that was killed"
            yield Level.OK, f"{what}: remove it when you are sure", ""


def _mode(data: str) -> _Found:
    status = os.stat(data)
    mode = stat.S_IMODE(status.st_mode)
    if mode & 0o077:
        what = f"{data} has mode {mode:04o}: other users can look into files that wait there"
        return Level.WARNING, what, f"chmod 700 {data}"
    if status.st_uid != os.geteuid():
        what = f"{data} belongs to another user (uid {status.st_uid})"
        return Level.WARNING, what, "run filemill as the user that it belongs to"
    return Level.OK, f"{data} is this user's alone (mode {mode:04o})", ""


def _tried(plan: Plan, durable: Durable) -> _Found:
    try:
        with probe_folder(os.fsencode(plan.data)) as probe:
            took = sync_seconds(probe, durable)
    except OSError as error:
        remedy = "it must be a writable local folder on a healthy disk"
        return Level.PROBLEM, f"{plan.data} cannot be written: {error.strerror}", remedy
    if not durable.sync:
        what = (
            "nothing is synced (`durability: process`): a power cut may lose what was acknowledged"
        )
        return Level.WARNING, what, "remove `durability: process` where that matters"
    told = f"a sync takes {took * 1000:.1f} ms: what is acknowledged outlives a power cut"
    if took > _SLOW:
        return Level.WARNING, told, "a slow disk limits how many files a second are taken"
    return Level.OK, told, ""


def _ledger(data: str) -> _Found:
    try:
        with open_queries(data) as queries:
            total = queries.status().total
    except NotFound:
        return Level.OK, "nothing has run here yet", ""
    except UsageError as error:  # of another version
        return Level.WARNING, error.message, error.help
    except FilemillError as error:
        return Level.PROBLEM, error.message, error.help
    pid = holder_of(data)
    by = f"process {pid} works on it" if pid else "no server runs"
    return Level.OK, f"the ledger knows {total:,} files; {by}", ""


def _reserve(plan: Plan) -> Iterator[_Found]:
    """Whether the ledger has room of its own on a full disk."""
    wanted = reserve_size(plan.data, plan.reserve)
    if not wanted:
        what = "no room is kept for the ledger (`reserve: 0`)"
        yield (
            Level.WARNING,
            what,
            "on a full disk what runs cannot come to its end: remove `reserve: 0`",
        )
        return
    if Reserve(plan.data).size:
        told = f"{format_size(wanted)} are kept for the ledger, for when the disk is full"
        yield Level.OK, told, ""
    elif os.path.exists(os.path.join(plan.data, "ledger.db")) and holder_of(plan.data):
        what = (
            "the room that is kept for the ledger is given up: the disk is full, nothing new begins"
        )
        remedy = f"free {format_size(2 * wanted)} or more; work goes on by itself"
        yield Level.PROBLEM, what, remedy


def nearest(path: str) -> str:
    """`path`, or the folder above it that is there."""
    while not os.path.isdir(path):
        path = os.path.dirname(path) or "/"
    return path
