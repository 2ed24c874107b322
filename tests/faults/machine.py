"""A machine whose power can be cut: three disks with a volatile write cache, all of which stop at the same instant.

The disks are ext4 file systems on loop devices whose files lie on one more ext4, the *carrier*. What a disk was told to
flush is synced in the carrier; what it was only told to write waits in the carrier's page cache. The cut is
`FS_IOC_SHUTDOWN` without a flush of the log, on the carrier: one call, atomic for all disks at once. It loses what the
programs had not synced (as it never reached a disk) *and* what a disk had taken and not flushed (as a real disk's cache
does); nothing of either leaks into what is mounted afterwards. Copying the image of a mounted file system instead
would mix moments: a copy takes time, and no order of writes holds within it; `recorded.py` has disks that can do it.

The journals of the disks commit by themselves only every five minutes, so that nothing is made durable by chance.
Disks are attached in another order after each cut, as after a real one: device numbers change.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import struct
import subprocess
import time
from pathlib import Path

from program import signal_tree

MEGABYTE = 1 << 20
DISKS = {"data": 96, "far": 32, "sinks": 96}
"""Name and size in MB of each disk."""
SHUTDOWN = 0x8004587D  # FS_IOC_SHUTDOWN
WITHOUT_FLUSH = 2  # FS_SHUTDOWN_FLAGS_NOLOGFLUSH
OPTIONS = "commit=300,noauto_da_alloc"
MAKE = (
    "mkfs.ext4",
    "-q",
    "-F",
    "-b",
    "4096",
    "-i",
    "4096",
    "-E",
    "lazy_itable_init=0,lazy_journal_init=0",
)


class CannotBeBuilt(Exception):
    """Such a machine cannot be made here; the text says why."""


class Machine:
    """Disks under `place`, mounted at `place/<name>`. `on` before use; `off` at the end, whatever happened."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self._carrier = place / "carrier"
        self._file = _roomy(place) / f"filemill-disk-{os.getpid()}-{time.monotonic_ns()}"
        self._loops: dict[str, str] = {}
        self._order = list(DISKS)

    def build(self) -> None:
        """Make the disks, and cut them once to see whether that can be done here.

        Raises:
            CannotBeBuilt: not root, no loop devices, no ext4, or no such call.
        """
        needs_tools()
        self._carrier.mkdir(parents=True)
        try:
            with open(self._file, "wb") as file:
                file.truncate((sum(DISKS.values()) + 64) * MEGABYTE)
            run(*MAKE, self._file)
            self._attach("carrier", self._file, "commit=300")
            for name, size in DISKS.items():
                (self.place / name).mkdir()
                # Written through, so that a later write changes no extents: it takes place in the disk's cache, or not.
                with open(self._carrier / name, "wb") as file:
                    file.writelines(bytes(MEGABYTE) for _ in range(size))
                run(*MAKE, self._carrier / name)
            self.sync("carrier")
            self.on(carrier=False)
            self.cut()
        except (OSError, subprocess.CalledProcessError) as error:
            said = getattr(error, "stderr", b"") or b""
            self.off()
            raise CannotBeBuilt(f"{error} {said.decode(errors='replace').strip()}") from error
        self.on()

    def on(self, *, carrier: bool = True) -> None:
        """Attach and mount; journals are replayed."""
        if carrier:
            self._attach("carrier", self._file, "commit=300")
        self._order.append(self._order.pop(0))
        for name in self._order:
            self._attach(name, self._carrier / name, OPTIONS)

    def cut(self, program: subprocess.Popen[bytes] | None = None) -> None:
        """Cut the power, and with it end the program: everything is unmounted when this returns.

        The processes are stopped just before, so that none sees its disk fail and reacts to it; that is no sync.
        """
        if program is not None:
            signal_tree(program, signal.SIGSTOP)
        shut_down(self._carrier)
        if program is not None:
            signal_tree(program, signal.SIGKILL)
            program.wait()
        for name in (*reversed(self._order), "carrier"):
            self._detach(name)

    def sync(self, *names: str) -> None:
        """Make everything on these disks durable; on all of them when none is named."""
        for name in names or DISKS:
            run("sync", "--file-system", self.place / name)

    def off(self) -> None:
        """Unmount and forget everything. Idempotent."""
        for name in (*DISKS, "carrier"):
            subprocess.run(["umount", "-l", self.place / name], capture_output=True, check=False)
            if loop := self._loops.pop(name, None):
                subprocess.run(["losetup", "-d", loop], capture_output=True, check=False)
        self._file.unlink(missing_ok=True)

    def _attach(self, name: str, file: Path, options: str) -> None:
        loop = run("losetup", "--find", "--show", file).strip()
        self._loops[name] = loop
        run("mount", "-o", options, loop, self.place / name)

    def _detach(self, name: str) -> None:
        """Unmount as soon as the processes that were killed are really gone."""
        ends = time.monotonic() + 10
        while True:
            try:
                run("umount", self.place / name)
                break
            except subprocess.CalledProcessError:
                if time.monotonic() > ends:
                    raise
                time.sleep(0.01)
        run("losetup", "-d", self._loops.pop(name))


def needs_tools() -> None:
    """Raises CannotBeBuilt where nobody can make and mount disks."""
    if os.geteuid() != 0:
        raise CannotBeBuilt("only root can mount")
    if missing := [tool for tool in ("mkfs.ext4", "losetup", "mount") if not shutil.which(tool)]:
        raise CannotBeBuilt(f"no {missing[0]} here")


def shut_down(mounted: Path) -> None:
    """End a file system where it stands: nothing that waits in memory is written any more."""
    place = os.open(mounted, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.ioctl(place, SHUTDOWN, struct.pack("I", WITHOUT_FLUSH))
    finally:
        os.close(place)


def _roomy(place: Path) -> Path:
    """Where the carrier's file lies: in memory when there is room, since its syncs are no test of ours."""
    memory = Path("/dev/shm")
    wanted = (sum(DISKS.values()) + 200) * MEGABYTE
    if memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > wanted:
        return memory
    return place


def run(*command: object) -> str:
    """Run a command that has to succeed; what it said."""
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True)
    return done.stdout
