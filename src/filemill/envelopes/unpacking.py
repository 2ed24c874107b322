"""Starts the process that walks an archive, and looks at everything it says before it counts."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import subprocess
import sys

import msgspec

from filemill.envelopes.compression import Damaged, OverBudget
from filemill.envelopes.entries import Limits, Refused, entry_path
from filemill.envelopes.walking import MANIFEST, Listed, Manifest
from filemill.model.errors import PermanentError, TransientError

_ERRORS: dict[str, type[PermanentError]] = {
    each.__name__: each for each in (Damaged, OverBudget, Refused)
}
_ENVIRONMENT = ("PATH", "PYTHONPATH", "PYTHONHOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH")
_LONGEST = 64 << 20
"""Most bytes of a manifest that is read."""


def unpack(archive: bytes, folder: str, limits: Limits) -> list[tuple[bytes, bytes]]:
    """Unpack into the empty `folder`; (path of a file in it, path in the archive) of each entry, in order.

    Raises:
        Damaged, Refused, OverBudget: as the archive deserves; nothing of it is to be used.
        OSError: of the machine, such as a full disk.
        TransientError: the process was lost.
    """
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
    source = os.open(archive, flags)
    try:
        code = _walk(source, folder, limits)
    finally:
        os.close(source)
    if code:
        raise _lost(code)
    manifest = _manifest(folder)
    if manifest.errno:
        raise OSError(manifest.errno, os.strerror(manifest.errno), folder)
    if manifest.error:
        raise _ERRORS.get(manifest.error, PermanentError)(manifest.message, help=manifest.help)
    return _proven(folder, manifest.entries, limits)


def _walk(source: int, folder: str, limits: Limits) -> int:
    """Run the walk to its end; its exit code."""
    process = subprocess.Popen(
        [
            *(sys.executable, "-P", "-m", "filemill.envelopes.walking"),
            str(source),
            msgspec.json.encode(limits).decode(),
            str(os.getpid()),
        ],
        cwd=folder,
        env={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
        stdin=subprocess.DEVNULL,
        pass_fds=(source,),
    )
    try:
        return process.wait()
    finally:
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            process.wait()


def _lost(code: int) -> Exception:
    if -code == signal.SIGXCPU:
        return OverBudget(
            "unpacking took more time on the CPU than its size allows",
            help="it may be a bomb; if it is right, raise `max_size` of this step",
        )
    if -code == signal.SIGXFSZ:
        return OverBudget(
            "an entry unpacks to more than the archive may hold",
            help="if that is right, raise `max_size` of this step",
        )
    said = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    return TransientError(
        f"the process that unpacks was lost ({said})", help="it is tried again; was memory short?"
    )


def _manifest(folder: str) -> Manifest:
    path = os.path.join(folder, MANIFEST)
    if os.lstat(path).st_size > _LONGEST:
        raise OverBudget(
            "the list of entries is too long", help="lower the number of entries, or their names"
        )
    with open(path, "rb") as file:
        return msgspec.msgpack.decode(file.read(), type=Manifest)


def _proven(folder: str, listed: tuple[Listed, ...], limits: Limits) -> list[tuple[bytes, bytes]]:
    """What was listed, once it is seen to be so."""
    found = []
    total = 0
    for number, each in enumerate(listed):
        path = os.path.join(os.fsencode(folder), str(number).encode())
        status = os.lstat(path)
        total += status.st_size
        as_said = each.number == number and each.size == status.st_size
        if not (as_said and stat.S_ISREG(status.st_mode) and status.st_nlink == 1):
            raise Refused("the unpacked files are not as listed", help="report this archive")
        if not each.path or entry_path(each.path) != each.path:
            raise Refused("an unpacked file has an impossible name", help="report this archive")
        found.append((path, each.path))
    if total > limits.size or len(found) > limits.entries:
        raise OverBudget("more was unpacked than is allowed", help="report this archive")
    return found
