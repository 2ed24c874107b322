"""Scanners: they say whether a file is safe before anything parses it.

What a scanner cannot say for certain is never clean: it raises, and what that means for the file is the engine's to
decide. The bytes are a stranger's, so a scanner that reads them itself does so in a process of its own.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, ClassVar, Protocol

import msgspec
from pydantic import BaseModel

from filemill.ports.examining import Finding

EICAR = b"X5O!P%@AP[4\\PZX54(P^)7CC)7}" + b"$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
"""The harmless text that every scanner of malware finds. In two halves, so that none finds it in this file."""


class ScannerDown(Exception):
    """The scanner does not work now, whatever the file: everything waits for it."""


class ScanFailed(Exception):
    """The scanner works, and could not judge this one file."""


class TooBig(ScanFailed):
    """The file is over what the scanner may be given, or looks into: trying again is of no use."""


class Verdict(msgspec.Struct, frozen=True):
    """A certain answer. Empty `signature`: nothing was found."""

    signature: str = ""
    """What was found, in the scanner's words, printable and short."""

    @property
    def clean(self) -> bool:
        """True when nothing was found."""
        return not self.signature


class Outcome(StrEnum):
    """What all scanners together said of one file."""

    CLEAN = "clean"
    INFECTED = "infected"
    TOO_BIG = "too big"
    FAILED = "failed"
    """They work, and one could not judge this file now."""
    DOWN = "down"
    """One does not work: nothing was found out about this file."""


class Scanned(msgspec.Struct, frozen=True):
    """One file's outcome."""

    file: str
    outcome: Outcome
    digest: str = ""
    """sha256, hex; empty where nobody read it."""
    by: str = ""
    """Who judged it, in which version."""
    why: str = ""
    """What was found, or why nothing is known."""


class RuleMistake(msgspec.Struct, frozen=True):
    """One thing that is wrong with a scanner's own files. Lines and columns count from 1; 0: of no line."""

    file: str
    line: int
    column: int
    message: str
    help: str = ""


class ScannerSpec(msgspec.Struct, frozen=True):
    """What a scanner kind says of itself."""

    name: str
    summary: str
    example: str
    extra: str | None = None


class Scanner(Protocol):
    """One scanner. Made from validated options; any number of threads may call it at once.

    1. `scan` answers `Verdict` only for bytes that it has judged from the first to the last; all else raises.
    2. It ends within `timeout` seconds (and the few it takes to find out whether the scanner is there at all).
    3. A file over `max_size` is never given to it in part.
    """

    spec: ClassVar[ScannerSpec]
    Options: ClassVar[type[BaseModel]]
    timeout: float
    max_size: int

    def __init__(self, options: Any) -> None: ...

    @classmethod
    def files(cls, options: Any) -> str:
        """Glob of the files that are its own, whose texts are put into the option `rules`; empty: it has none."""
        ...

    @classmethod
    def mistakes(cls, options: Any) -> list[RuleMistake]:
        """What is wrong with the files that the options name; none for a scanner without any."""
        ...

    def scan(self, descriptor: int, size: int) -> Verdict:
        """Judge the open file's bytes from 0 to `size`; its position is neither used nor kept.

        Raises:
            ScannerDown: it does not answer, or not as this scanner does.
            TooBig: over `max_size`, or over a limit of its own.
            ScanFailed: it works, but not on this file.
        """
        ...

    def version(self) -> str:
        """Which scanner with which signatures: `ClamAV 1.4.6/27400`.

        Raises:
            ScannerDown: it does not answer.
        """
        ...

    def examine(self) -> list[Finding]:
        """What `doctor` finds out by trying; never raises."""
        ...
