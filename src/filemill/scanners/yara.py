"""`yara`: files are matched with YARA-X rules; a file that any rule matches is quarantined.

The rules are part of the configuration: their text comes with the revision, not from the disk, so every worker of a
revision has the same. They are compiled when `check` reads them, and once more in the process that scans. A rule that
is `private` tells nothing by itself, as always in YARA. `include` is refused: the file would be no part
of the revision.
"""

from __future__ import annotations

import importlib.metadata
import threading
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from filemill.model.errors import UsageError
from filemill.ports.examining import Finding, Level
from filemill.ports.registry import NotInstalled
from filemill.ports.scanner import RuleMistake, ScanFailed, ScannerSpec, TooBig, Verdict
from filemill.ports.units import Duration, Size, format_duration, format_size

_SHOWN = 3


class YaraScanner:
    """Matches files with rules."""

    spec = ScannerSpec(
        name="yara",
        summary="YARA-X rules of your own",
        example="scan: {yara: rules/*.yar}",
        extra="yara",
    )

    class Options(BaseModel):
        """`scan: {yara: rules/*.yar}`."""

        model_config = ConfigDict(extra="forbid", frozen=True)

        yara: str = Field(
            min_length=1,
            description="Files with rules: a path, or a glob such as `rules/*.yar`. They are part of the revision.",
        )
        timeout: Duration = Field(
            60.0, ge=1, le=3600, description="Of one file; a file that takes longer is held."
        )
        max_size: Size = Field(100_000_000, ge=1, description="Larger files are held.")
        rules: dict[str, str] = Field(
            default_factory=dict, exclude=True, description="Text of each file, by its path."
        )

    def __init__(self, options: Any) -> None:
        self.timeout: float = options.timeout
        self.max_size: int = options.max_size
        self._names = tuple(options.rules)
        compiler, mistakes = _compiled(options.rules)
        if mistakes:
            first = mistakes[0]
            raise UsageError(
                f"{first.file}:{first.line}:{first.column}: {first.message}",
                help="filemill check shows every mistake",
            )
        self._rules = compiler.build()
        self._many = sum(1 for _ in self._rules)
        self._threads = threading.local()

    @classmethod
    def mistakes(cls, options: Any) -> list[RuleMistake]:
        """Every error that the compiler finds in the rules."""
        return _compiled(options.rules)[1]

    @classmethod
    def files(cls, options: Any) -> str:
        """The rules."""
        return str(options.yara)

    def scan(self, descriptor: int, size: int) -> Verdict:
        """Match the file as a whole, mapped into memory by the scanner."""
        yara_x = _library()
        if size > self.max_size:
            raise TooBig(f"{format_size(size)} is over `max_size`, {format_size(self.max_size)}")
        scanner = getattr(self._threads, "scanner", None)
        if scanner is None:
            scanner = self._threads.scanner = yara_x.Scanner(self._rules)
            scanner.set_timeout(max(1, round(self.timeout)))
        try:
            if size == 0:  # nothing to map
                found = scanner.scan(b"").matching_rules
            else:
                found = scanner.scan_file(f"/proc/self/fd/{descriptor}").matching_rules
        except yara_x.TimeoutError as error:
            took = format_duration(self.timeout)
            raise ScanFailed(f"its rules took longer than {took}") from error
        except yara_x.ScanError as error:
            raise ScanFailed(f"its rules could not be applied: {error}") from error
        names = [rule.identifier for rule in found]
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        return Verdict(", ".join(names[:_SHOWN]) + more)

    def version(self) -> str:
        """The library's; the rules are the revision's."""
        return f"YARA-X {importlib.metadata.version('yara-x')}"

    def examine(self) -> list[Finding]:
        """That the rules compile, and how many they are."""
        about = f"scanner yara {' '.join(self._names)}"
        return [Finding(Level.OK, about, f"{self._many} rules, {self.version()}")]


def _library() -> Any:
    """The library, imported only where rules are used.

    Raises:
        NotInstalled: it is not there.
    """
    try:
        import yara_x  # noqa: PLC0415 -- 36 MB, for those who have rules
    except ImportError as error:
        raise NotInstalled(
            "scanner `yara` is not installed", help="pip install 'filemill[yara]'"
        ) from error
    return yara_x


def _compiled(rules: dict[str, str]) -> tuple[Any, list[RuleMistake]]:
    yara_x = _library()
    compiler = yara_x.Compiler(includes_enabled=False)
    mistakes: list[RuleMistake] = []
    for name, text in rules.items():
        before = len(compiler.errors())
        compiler.new_namespace(name)  # two files may have a rule of one name
        try:
            compiler.add_source(text, origin=name)
        except yara_x.CompileError:
            mistakes += [_mistake(name, error) for error in compiler.errors()[before:]]
    return compiler, mistakes


def _mistake(name: str, error: dict[str, Any]) -> RuleMistake:
    label: dict[str, Any] = next(iter(error.get("labels", ())), {})
    said = f"{error['title']}: {label['text']}" if label.get("text") else error["title"]
    return RuleMistake(name, int(error.get("line", 0)), int(error.get("column", 0)), said)
