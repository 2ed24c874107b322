"""What the benchmarks ask of a contestant."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Protocol


class Survival(IntEnum):
    """What neither a waiting file nor a finished output is lost by."""

    NOTHING = 0
    KILL = 1
    POWER_CUT = 2


@dataclass(frozen=True)
class Place:
    """One run's own folders on the measured disk; `staging` lies beside the inbox, so a drop is a rename."""

    root: Path

    @property
    def inbox(self) -> Path:
        return self.root / "inbox"

    @property
    def out(self) -> Path:
        return self.root / "out"

    @property
    def staging(self) -> Path:
        return self.root / "staging"

    def make(self) -> None:
        """Make all folders."""
        for folder in (self.root, self.inbox, self.out, self.staging):
            folder.mkdir()


@dataclass(frozen=True)
class Start:
    """How to start a contestant: it is ready when it has printed `ready`."""

    command: list[str]
    ready: str
    environment: dict[str, str] = field(default_factory=dict)


class Contestant(Protocol):
    """Something that processes what is renamed into `inbox`.

    W1, W3 and W4: each `<name>` gives `out/<name>`. The kinds of W2: `<name>` gives `out/<folder>/<name>` in each of
    `big_file.FOLDERS`. Outputs appear whole, under their final name. A run has a fresh place and stops at SIGINT.
    """

    @property
    def name(self) -> str:
        """What tables call it."""
        ...

    @property
    def survives(self) -> str:
        """What its outputs and its queue survive, in words."""
        ...

    @property
    def survival(self) -> Survival:
        """The same as a mark in charts."""
        ...

    @property
    def does(self) -> frozenset[str]:
        """The workloads it takes part in."""
        ...

    @property
    def ordered(self) -> bool:
        """The records of an output are in the order of the input."""
        ...

    def install(self) -> str:
        """Install what it needs; why that cannot be, or nothing."""
        ...

    def prepare(self, place: Place, workload: str) -> Start:
        """Lay out what it needs in a fresh place; not measured."""
        ...
