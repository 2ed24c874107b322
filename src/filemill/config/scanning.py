"""`scan:`: which scanners there are, and which sources say that their files need none."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator

from filemill.config.components import SCAN_EXAMPLE, builtins_of
from filemill.config.elements import Component, Draft, ScannerPart
from filemill.config.judging import judge
from filemill.config.positions import List, Map, Node, Place, Text, describe
from filemill.config.problems import Problems, closest
from filemill.config.secrets import Secrets
from filemill.model.errors import NotFound
from filemill.ports.registry import NotInstalled, Registry

_STRANGERS = frozenset({"http"})
"""Kinds of sources through which anybody may send files."""


class ScanReader:
    """Reads the key `scan`: one scanner or a list of them."""

    def __init__(self, root: str, registry: Registry, secrets: Secrets, problems: Problems) -> None:
        self.root = root
        self.registry = registry
        self.secrets = secrets
        self.problems = problems

    def read(self, tree: Map) -> list[ScannerPart]:
        """Every scanner that can be made of what is written."""
        node = tree.get("scan")
        if node is None or (isinstance(node, Text) and node.empty):
            return []
        items = node.items if isinstance(node, List) else [node]
        return [part for item in items if (part := self._one(item)) is not None]

    def _one(self, node: Node) -> ScannerPart | None:
        if not isinstance(node, Map):
            message = (
                f"`scan` is a map that names a scanner, or a list of such, not {describe(node)}"
            )
            self.problems.error("bad-value", message, node.place, f"write {SCAN_EXAMPLE}")
            return None
        known = self.registry.names("scanners")
        kinds = [each for each in node.entries if each in known]
        if len(kinds) > 1:
            message = f"one scanner is both `{kinds[0]}` and `{kinds[1]}`"
            advice = "make it a list: scan: [{clamd: ...}, {yara: ...}]"
            self.problems.error("two-kinds", message, node.place_of(kinds[1]), advice)
            return None
        if not kinds:
            self._no_kind(node, known)
            return None
        kind = kinds[0]
        try:
            cls = self.registry.get("scanners", kind)
        except (NotFound, ImportError) as error:
            message = f"scanner kind `{kind}` cannot be loaded: {error}"
            place = node.place_of(kind)
            self.problems.error("broken-plugin", message, place, "reinstall its package")
            return None
        options = judge(
            cls.Options,
            self.secrets.resolved(node),
            node=node,
            place=node.place_of(kind),
            problems=self.problems,
            what=f"scanner {kind}",
            root=self.root,
            hidden=("rules",),
        )
        if options is None:
            return None
        value = node.get(kind)
        place = node.place_of(kind) if value is None else value.place
        part = ScannerPart(kind, node, place, cls, builtins_of(options))
        wanted = cls.files(options)
        if wanted:
            part.files = self._files(wanted, place)
            part.options["rules"] = part.files
        return part

    def _no_kind(self, node: Map, known: list[str]) -> None:
        for each in node.entries:
            if (close := closest(each, known)) is not None:
                message = f"no scanner `{each}`"
                advice = f"did you mean `{close}`?"
                self.problems.error("unknown-kind", message, node.place_of(each), advice)
                return
        advice = f"one key names it: {', '.join(known)}"
        self.problems.error("unknown-kind", "the scanner has no kind", node.place, advice)

    def _files(self, wanted: str, place: Place) -> dict[str, str]:
        """Text of each file by its path from the root."""
        found: dict[str, str] = {}
        for path in sorted(glob.glob(os.path.join(self.root, wanted), recursive=True)):
            name = os.path.relpath(path, self.root)
            try:
                with open(path, encoding="utf-8") as file:
                    found[name] = file.read()
            except (OSError, UnicodeDecodeError) as error:
                said = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
                message = f"{name} cannot be read: {said}"
                self.problems.error("unreadable-rules", message, place)
        if not found:
            message = f"no file matches `{wanted}`"
            advice = "write the path of a file with rules, from the configuration's folder"
            self.problems.error("no-rules", message, place, advice)
        return found

    def check(self, parts: list[ScannerPart]) -> None:
        """Have every scanner look at its own files: what it does not take is told at its line."""
        for part in parts:
            if not part.files:
                continue
            options = part.cls.Options.model_validate(part.options)
            try:
                mistakes = part.cls.mistakes(options)
            except NotInstalled as error:
                message = f"`{part.kind}` is not installed"
                self.problems.error("not-installed", message, part.place, error.help)
                continue
            for name, text in part.files.items():
                self.problems.lines.setdefault(name, text.splitlines())
            for each in mistakes:
                place = Place(each.file, each.line, each.column)
                self.problems.error("bad-rule", each.message, place, each.help)


def warn_of_strangers(draft: Draft, problems: Problems) -> None:
    """Sources that anybody may send to, and whose files nobody scans."""
    for source in _unscanned(draft):
        message = f"nothing scans what is sent to the source `{source.name}`"
        problems.warn("unscanned-source", message, source.key.place, f"add {SCAN_EXAMPLE}")


def _unscanned(draft: Draft) -> Iterator[Component]:
    for source in draft.sources:
        served = source.kind in _STRANGERS and source.cls is not None
        if served and not (draft.scanners and source.scan):
            yield source
