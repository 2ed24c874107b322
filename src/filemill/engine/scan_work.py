"""The worker's half of scanning: files are judged by every scanner of the plan, several at once.

A file's digest is read first: bytes that the same scanners found clean a moment ago are not sent to them again. What
they found in bad ones is not remembered. The first scanner that is down ends the job for what has not begun yet:
nothing is found out by asking it for each file.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

import msgspec

from filemill.model.files import FileRef
from filemill.model.plan import Plan
from filemill.ports.registry import Registry
from filemill.ports.scanner import Outcome, Scanned, Scanner, ScannerDown, TooBig

THREADS = 8
_REMEMBERED = 10_000
_PIECE = 1 << 20
_MARGIN = 30.0
"""Seconds beyond the scanners' timeouts: reading the file, and asking a silent scanner whether it is there."""


def scanner_of(kind: str, options: dict[str, Any], registry: Registry) -> Scanner:
    """The scanner that a plan names.

    Raises:
        FilemillError: it is not installed, or does not take its options or files.
    """
    component = registry.get("scanners", kind)
    scanner: Scanner = component(component.Options.model_validate(options))
    return scanner


class ScanWork:
    """Judges files by all scanners of one plan."""

    def __init__(self, plan: Plan, registry: Registry) -> None:
        self._plan = plan
        self._registry = registry
        self._scanners: list[Scanner] = []
        self._threads = ThreadPoolExecutor(THREADS, "scan")
        self._versions = ""
        self._clean: dict[str, None] = {}
        self._down = ""

    def scan(
        self, files: Sequence[FileRef], progress: Callable[[float], None]
    ) -> tuple[Scanned, ...]:
        """What they say of each file, in order; `progress` hears how many seconds the next one may take."""
        try:
            if not self._scanners:
                self._scanners = [
                    scanner_of(each.kind, each.options, self._registry) for each in self._plan.scan
                ]
            versions = ", ".join(scanner.version() for scanner in self._scanners)
        except Exception as error:  # noqa: BLE001 -- whatever keeps a scanner from working, files wait for it
            return tuple(Scanned(each.file, Outcome.DOWN, why=_said(error)) for each in files)
        if versions != self._versions:
            self._versions = versions
            self._clean.clear()
        self._down = ""
        allowed = sum(scanner.timeout for scanner in self._scanners) + _MARGIN
        progress(allowed)
        waiting = [self._threads.submit(self._judge, file) for file in files]
        for _ in as_completed(waiting):
            progress(allowed)
        return tuple(each.result() for each in waiting)

    def _judge(self, file: FileRef) -> Scanned:
        if self._down:
            return Scanned(file.file, Outcome.DOWN, why=self._down)
        try:
            descriptor = os.open(file.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                size = os.fstat(descriptor).st_size
                if size != file.size:
                    why = f"its content is {size} bytes, {file.size} were claimed"
                    return Scanned(file.file, Outcome.FAILED, why=why)
                # What is too big for them is not read for nothing.
                big = size > min(each.max_size for each in self._scanners)
                digest = "" if big else _digest(descriptor)
                return self._ask(Scanned(file.file, Outcome.CLEAN, digest), descriptor, size)
            finally:
                os.close(descriptor)
        except OSError as error:
            return Scanned(file.file, Outcome.FAILED, why=f"reading failed: {_said(error)}")

    def _ask(self, clean: Scanned, descriptor: int, size: int) -> Scanned:
        """What all scanners say of the open file: `clean`, if each of them does."""
        replace = msgspec.structs.replace
        for scanner in [] if clean.digest in self._clean else self._scanners:
            name = scanner.spec.name
            try:
                verdict = scanner.scan(descriptor, size)
                if not verdict.clean:
                    by = f"{name}, {scanner.version()}"
                    why = f"{verdict.signature} ({by})"
                    return replace(clean, outcome=Outcome.INFECTED, by=by, why=why)
            except ScannerDown as error:
                self._down = str(error)
                return replace(clean, outcome=Outcome.DOWN, why=self._down)
            except TooBig as error:
                return replace(clean, outcome=Outcome.TOO_BIG, why=f"{name}: {error}")
            except Exception as error:  # noqa: BLE001 -- a plugin's too: what is not known is not clean
                return replace(clean, outcome=Outcome.FAILED, why=f"{name}: {_said(error)}")
        self._remember(clean.digest)
        return replace(clean, by=self._versions)

    def _remember(self, digest: str) -> None:
        if digest:
            if len(self._clean) >= _REMEMBERED:
                self._clean.clear()
            self._clean[digest] = None


def _said(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"{type(error).__name__}: {error.strerror or error}"
    return str(error) or type(error).__name__


def _digest(descriptor: int) -> str:
    running = hashlib.sha256()
    place = 0
    while piece := os.pread(descriptor, _PIECE, place):
        running.update(piece)
        place += len(piece)
    return running.hexdigest()
