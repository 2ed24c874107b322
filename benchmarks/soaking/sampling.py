"""Looks at a running tree and its data directory: memory, descriptors, sizes."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass, field
from pathlib import Path

from processes import descendants

PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass
class Sample:
    """One look. Bytes, counts and seconds; None where no server was ready to be looked at."""

    at: float
    """Seconds since the soak began."""
    server: float | None = None
    """Resident bytes of the server's own process."""
    tree: float | None = None
    """Resident bytes of all processes together, each one's share of what they have in common (PSS)."""
    resident: float | None = None
    """The sum of their resident bytes (RSS): shared pages count in each."""
    server_files: float | None = None
    """Open descriptors of the server."""
    tree_files: float | None = None
    ledger: float = 0
    log: float = 0
    """The ledger's write-ahead log."""
    content: float = 0
    done: int = 0
    waiting: int = 0
    """Files that were dropped and did not come out yet."""
    latencies: list[float] = field(default_factory=list)

    def percentile(self, share: int) -> float | None:
        """Of latencies, in seconds; None when nothing came out."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, len(ordered) * share // 100)] if ordered else None


def look(sample: Sample, pid: int | None, data: Path) -> None:
    """Fill in what the machine says of a server's tree and its data directory."""
    sample.ledger = _size(data / "ledger.db")
    sample.log = _size(data / "ledger.db-wal")
    sample.content = sum(_size(path) for path in (data / "content").rglob("*"))
    if pid is None or not (tree := [(each, _shares(each)) for each in descendants(pid)]):
        return
    sample.server = _resident(pid)
    sample.tree = sum(share for _, share in tree)
    sample.resident = sum(_resident(each) for each, _ in tree)
    sample.server_files = _files(pid)
    sample.tree_files = sum(_files(each) for each, _ in tree)


def workers_of(pid: int) -> list[int]:
    """Processes of a server's workers, keepers included."""
    found = []
    for each in descendants(pid)[1:]:
        try:
            name = Path(f"/proc/{each}/comm").read_text()
        except OSError:
            continue
        if name.startswith(("filemill-keeper", "filemill-worker")):
            found.append(each)
    return found


def kill(pids: list[int]) -> None:
    """SIGKILL; those that are gone are no error."""
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def _size(path: Path) -> int:
    try:
        return path.stat().st_size if path.is_file() else 0
    except OSError:  # gone since it was listed
        return 0


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE
    except (OSError, IndexError):
        return 0


def _shares(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def _files(pid: int) -> int:
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return 0
