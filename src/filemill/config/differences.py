"""How two revisions differ: in a few words, and line by line. Values that may be secret are shown nowhere."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Any

from filemill.config.models import SECTIONS
from filemill.config.positions import Map, plain
from filemill.config.problems import Problems
from filemill.config.reading import read
from filemill.config.stored import KeptFile, Stored

_WORDS = ("added", "removed", "changed")


def changes(old: Stored, new: Stored) -> list[str]:
    """What is different, part by part: `pipeline orders changed`, `sink crm added`, `steps.py changed`."""
    before, after = _parts(old), _parts(new)
    found = [
        " ".join(part for part in (what, name, word) if part)
        for (what, name), word in _compared(before, after)
    ]
    files = {n: f.sha256 for n, f in old.files.items() if n not in old.config}
    others = {n: f.sha256 for n, f in new.files.items() if n not in new.config}
    found += [f"{name} {word}" for name, word in _compared(files, others)]
    found += [f"${name} {word}" for name, word in _compared(old.environment, new.environment)]
    found += [f"{name} {word}" for name, word in _compared(old.plugins, new.plugins)]
    if not found and old != new:
        found = ["comments or layout"]
    return found


def text_diff(old: Stored, new: Stored, before: str, after: str) -> Iterator[str]:
    """A unified diff of all files, without line ends; `before` and `after` name the two revisions."""
    for name in sorted({*old.files, *new.files}):
        one, other = old.files.get(name), new.files.get(name)
        if one is not None and other is not None and one.sha256 == other.sha256:
            continue
        texts = _lines(one), _lines(other)
        if texts[0] is None or texts[1] is None:
            yield f"{name}: the bytes differ"
            continue
        yield from difflib.unified_diff(
            texts[0],
            texts[1],
            f"{name} ({before})" if one is not None else "/dev/null",
            f"{name} ({after})" if other is not None else "/dev/null",
            lineterm="",
        )
    for name, word in _compared(old.environment, new.environment):
        yield f"${name} {word} (values from the environment are not shown)"
    for name, word in _compared(old.plugins, new.plugins):
        versions = f"{old.plugins.get(name, '-')} -> {new.plugins.get(name, '-')}"
        yield f"{name} {word}: {versions}"


def _compared(before: dict[Any, Any], after: dict[Any, Any]) -> Iterator[tuple[Any, str]]:
    for key in dict.fromkeys([*before, *after]):
        if key not in before:
            yield key, "added"
        elif key not in after:
            yield key, "removed"
        elif before[key] != after[key]:
            yield key, "changed"


def _parts(stored: Stored) -> dict[tuple[str, str], Any]:
    """Every named part of the configuration, and every other key at its top."""
    parts: dict[tuple[str, str], Any] = {}
    for name in stored.config:
        data = stored.files[name].data() if name in stored.files else None
        tree = read(data, name, Problems()) if data is not None and data.strip() else None
        if not isinstance(tree, Map):
            continue
        for key, entry in tree.entries.items():
            if key in SECTIONS and isinstance(entry.value, Map):
                for own, each in entry.value.entries.items():
                    parts[key.removesuffix("s"), own] = plain(each.value)
            else:
                parts[f"`{key}`", ""] = plain(entry.value)
    for pipeline, written in stored.python.items():
        parts["pipeline", pipeline] = written
    return parts


def _lines(kept: KeptFile | None) -> list[str] | None:
    if kept is None:
        return []
    data = kept.data()
    if data is None:
        return None
    try:
        return data.decode("utf-8").splitlines()
    except UnicodeDecodeError:
        return None
