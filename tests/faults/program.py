"""The real program as a process tree that tests may kill."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path


class Program:
    """One `filemill run` and everything it started."""

    def __init__(
        self,
        root: Path,
        environment: dict[str, str],
        entry: list[str],
        *,
        log: Path | None = None,
        options: tuple[str, ...] = (),
    ) -> None:
        with open(log or root / "server.log", "ab") as out:
            self.process = subprocess.Popen(
                [*entry, "run", "--no-web", *options],
                cwd=root,
                stdout=out,
                stderr=out,
                env=os.environ | environment,
                start_new_session=True,
            )

    def kill_tree(self) -> None:
        """SIGKILL server and workers, all in one go."""
        signal_tree(self.process, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        """Ctrl-C, as a person would; answers the exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(timeout=30)


def signal_tree(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Signal a process and all its descendants; those that are gone are no error."""
    for pid in (process.pid, *children(process.pid)):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def stands_still(process: subprocess.Popen[bytes]) -> bool:
    """Say whether it, or one of its descendants, is stopped."""
    for pid in (process.pid, *children(process.pid)):
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if stat.rpartition(")")[2].split()[0] == "T":
            return True
    return False


def children(pid: int) -> list[int]:
    """All descendants of a process."""
    found: list[int] = []
    try:
        listed = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except FileNotFoundError:
        return found
    for child in map(int, listed):
        found += [child, *children(child)]
    return found


def workers(pid: int) -> list[int]:
    """Those descendants that are workers, or keepers of some."""
    names = {each: Path(f"/proc/{each}/comm") for each in children(pid)}
    kinds = ("filemill-keeper\n", "filemill-worker\n")
    return [each for each, name in names.items() if name.exists() and name.read_text() in kinds]


def wait_for(condition: Callable[[], bool], timeout: float) -> bool:
    """Poll until the condition holds; False when the time is over."""
    ends = time.monotonic() + timeout
    while time.monotonic() < ends:
        if condition():
            return True
        time.sleep(0.02)
    return condition()
