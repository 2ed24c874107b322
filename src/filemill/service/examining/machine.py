"""The machine: versions, limits, packages, the clock."""

from __future__ import annotations

import ctypes
import os
import platform
import re
import resource
from collections.abc import Iterator
from importlib import metadata

from filemill.durable.actions import IS_LINUX
from filemill.ledgers.sqlite.opening import library_version
from filemill.ports.clock import Clock
from filemill.ports.examining import Finding, Level

_FILES = 1_024
_WATCHES, _INSTANCES = 8_192, 64
_BUILT = 1_735_689_600
"""A clock before this (the year 2025) was never set."""
_TIME_ERROR = 5
_EXTRA = re.compile(r"""^([\w.-]+).*;.*\bextra\s*==\s*['"]([\w-]+)['"]""")


def examine_machine(clock: Clock) -> list[Finding]:
    """Everything about the machine that does not depend on a configuration."""
    found = [*_versions(), _open_files(), *_inotify(), *_packages(), _clock(clock)]
    return [Finding(level, "machine", what, remedy) for level, what, remedy in found]


_Found = tuple[Level, str, str]


def _versions() -> Iterator[_Found]:
    system = f"{platform.system()} {platform.release()}"
    if IS_LINUX:
        yield Level.OK, f"{system}, {platform.machine()}, {os.cpu_count()} processors", ""
    else:
        what = f"{system}: no inotify, no leases, no rename that refuses to replace"
        yield Level.WARNING, what, "run it on Linux for what the README promises"
    sqlite, apsw = library_version()
    yield Level.OK, f"Python {platform.python_version()}, SQLite {sqlite} (apsw {apsw})", ""


def _open_files() -> _Found:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < _FILES:
        remedy = f"ulimit -n {_FILES} before the start, or LimitNOFILE={_FILES} in the unit"
        return Level.WARNING, f"only {soft:,} open files are allowed (hard limit {hard:,})", remedy
    return (
        Level.OK,
        f"{soft:,} open files are allowed" if soft >= 0 else "any number of open files",
        "",
    )


def _inotify() -> Iterator[_Found]:
    if not IS_LINUX:
        return
    limits = {name: _number(name) for name in ("watches", "instances")}
    if None in limits.values():
        yield Level.WARNING, "the limits of inotify cannot be read", "is /proc mounted?"
        return
    least = {"watches": _WATCHES, "instances": _INSTANCES}
    told = ", ".join(f"{limits[name]:,} {name}" for name in limits)
    for name, limit in limits.items():
        if limit is not None and limit < least[name]:
            remedy = f"sysctl fs.inotify.max_user_{name}={least[name] * 8}   (each watched folder takes a watch)"
            yield Level.WARNING, f"inotify allows this user only {told}", remedy
            return
    yield Level.OK, f"inotify allows this user {told}", ""


def _number(name: str) -> int | None:
    try:
        with open(f"/proc/sys/fs/inotify/max_user_{name}", encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):
        return None


def _packages() -> Iterator[_Found]:
    """Optional packages, as this distribution names them."""
    missing: dict[str, list[str]] = {}
    for requirement in metadata.requires("filemill") or ():
        named = _EXTRA.match(requirement)
        if named is None:
            continue
        try:
            metadata.version(named[1])
        except metadata.PackageNotFoundError:
            missing.setdefault(named[2], []).append(named[1])
    for extra, packages in missing.items():
        what = f"not installed, and needed only by what uses it: {', '.join(packages)}"
        yield Level.OK, what, f"pip install 'filemill[{extra}]'"
    if not missing:
        yield Level.OK, "every package that this version can use is installed", ""


def _clock(clock: Clock) -> _Found:
    if clock.wall_ns() < _BUILT * 10**9:
        return Level.PROBLEM, "the clock stands in the past", "set it, and keep it by NTP"
    libc = ctypes.CDLL(None, use_errno=True)
    adjust = getattr(libc, "adjtimex", None)
    # The first word of struct timex, `modes`, is 0: nothing is set, the state is told.
    if adjust is not None and adjust(ctypes.create_string_buffer(512)) == _TIME_ERROR:
        what = "the clock is not kept by a time service"
        remedy = "switch one on (timedatectl set-ntp true); in a container it is the host's"
        return Level.WARNING, what, remedy
    return Level.OK, "the clock is set" + (" and kept by a time service" if adjust else ""), ""
