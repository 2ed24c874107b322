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
        pids = [self.process.pid, *children(self.process.pid)]
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.wait()

    def stop(self) -> int:
        """Ctrl-C, as a person would; answers the exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(timeout=30)


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


def wait_for(condition: Callable[[], bool], timeout: float) -> bool:
    """Poll until the condition holds; False when the time is over."""
    ends = time.monotonic() + timeout
    while time.monotonic() < ends:
        if condition():
            return True
        time.sleep(0.02)
    return condition()
