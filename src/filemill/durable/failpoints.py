"""Named, counted places where a test can make the world fail."""

from __future__ import annotations

import atexit
import errno
import os
import signal
import threading
from collections import Counter
from collections.abc import Mapping


class InjectedFault(OSError):
    """An error a test asked for; an OSError like the real thing."""


class Failpoints:
    """Counts actions of one role and fails the ones the specification names. Thread-safe."""

    def __init__(
        self, role: str, specification: str = "", counts_path: str = "", once_path: str = ""
    ) -> None:
        self.role = role
        self._once_path = once_path
        self.counts: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._rules: list[tuple[str, int, str]] = []
        self._rule_counts: Counter[int] = Counter()
        for part in filter(None, specification.split(",")):
            name, number, action = part.split(":")
            self._rules.append((name, int(number), action))
        self.armed = bool(self._rules or counts_path)
        """Whether anybody counts: then the same work is to be the same actions, whatever disk it is done on."""
        if counts_path:
            atexit.register(self._write_counts, counts_path)

    @classmethod
    def from_environment(cls, role: str, environ: Mapping[str, str] = os.environ) -> Failpoints:
        """As `FILEMILL_FAIL` and `FILEMILL_FAIL_COUNTS` say."""
        return cls(
            role,
            environ.get("FILEMILL_FAIL", ""),
            environ.get("FILEMILL_FAIL_COUNTS", ""),
            environ.get("FILEMILL_FAIL_ONCE", ""),
        )

    def hit(self, name: str) -> bool:
        """Count one action about to happen; False means: pretend it was done.

        Raises:
            InjectedFault: with the errno the specification names.
        """
        with self._lock:
            self.counts[name] += 1
            due, at = "", 0
            for index, (pattern, number, action) in enumerate(self._rules):
                if pattern in ("*", name, f"{self.role}.{name}", f"{self.role}.*"):
                    self._rule_counts[index] += 1
                    if self._rule_counts[index] == number or (action == "skip" and number == 0):
                        due, at = action, number
        if not due or not self._is_first(at):
            return True
        if due == "skip":
            return False
        if due == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if due == "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
            return True
        raise InjectedFault(getattr(errno, due), f"injected at {self.role}.{name}")

    def _is_first(self, number: int) -> bool:
        """Say whether no process has failed at this number yet; with nowhere to note it, every one may."""
        if not self._once_path:
            return True
        try:
            note = f"{self._once_path}/{number}"
            os.close(os.open(note, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            return False
        return True

    def _write_counts(self, path: str) -> None:
        with open(path, "a", encoding="ascii") as out:
            out.writelines(f"{self.role}.{name} {n}\n" for name, n in sorted(self.counts.items()))
