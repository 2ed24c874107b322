"""What lies around a configuration and may belong to it, whether it names it yet or not."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection

from filemill.config.stored import Stored
from filemill.model.plan import Plan

_SUFFIXES = (".yaml", ".yml", ".py", ".json", ".sql", ".csv", ".toml", ".txt")
_MOST = 2_000
_DEEPEST = 4


def beside(plan: Plan, stored: Stored) -> dict[str, str]:
    """Digests of all files that may belong to the configuration, by path from its folder; at most 2,000."""
    skipped = {plan.data}
    skipped |= {str(source.options.get("folder", "")) for source in plan.sources}
    skipped |= {str(sink.options.get("folder", "")) for sink in plan.sinks}
    found: dict[str, str] = {}
    for name in (*stored.files, *_names(plan.root, skipped)):
        if name not in found and len(found) < _MOST:
            found[name] = _digest(os.path.join(plan.root, name))
    return found


def _names(root: str, skipped: Collection[str]) -> list[str]:
    names: list[str] = []
    for folder, below, files in os.walk(root):
        relative = os.path.relpath(folder, root)
        depth = 0 if relative == "." else relative.count("/") + 1
        below[:] = sorted(
            name
            for name in below
            if depth < _DEEPEST
            and not name.startswith((".", "__"))
            and os.path.join(folder, name) not in skipped
        )
        names += [
            os.path.normpath(os.path.join(relative, name))
            for name in sorted(files)
            if name.endswith(_SUFFIXES) and not name.startswith(".")
        ]
        if len(names) > _MOST:
            break
    return names


def _digest(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""
