"""The registry: from a name in the configuration to a component, by entry point.

Plugins and built-in components register alike, under `filemill.steps`, `filemill.sources`, `filemill.sinks`
and `filemill.scanners`. Dotted paths (`steps.add_vat`) name a user's own code and are resolved only in workers.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points, metadata
from typing import Any

from filemill.model.errors import NotFound

PLANNED = {
    "sources": {"s3": "s3", "sftp": "sftp", "broker": "broker"},
    "sinks": {
        "sql": "sql",
        "webhook": "webhook",
        "s3": "s3",
        "sftp": "sftp",
        "topic": "broker",
    },
    "scanners": {},
    "steps": dict.fromkeys(
        ("read_excel strip_gps resize split merge enrich encrypt hash http sql script").split(),
        "standard",
    ),
}
"""Names the language knows whose package is not part of this install, with the extra that brings them."""


FUNCTION = EntryPoint("python", "filemill.steps.python:PythonStep", "filemill.steps")
"""The step behind every dotted path: it calls the user's function that the path names."""


class NotInstalled(NotFound):
    """A name the language knows, whose package is not installed."""


class Registry:
    """Components by kind (`steps`, `sources`, `sinks`, `scanners`) and name; loaded when asked for, once."""

    def __init__(self) -> None:
        self._entries: dict[str, dict[str, EntryPoint]] = {}
        self._loaded: dict[tuple[str, str], Any] = {}

    def names(self, kind: str) -> list[str]:
        """All installed names of a kind, sorted."""
        return sorted(self._of(kind))

    def get(self, kind: str, name: str) -> Any:
        """The component class.

        Raises:
            NotInstalled: a known name whose package is missing; the help says how to get it.
            NotFound: no such name.
        """
        if (kind, name) in self._loaded:
            return self._loaded[kind, name]
        entry = self._of(kind).get(name)
        if entry is None:
            if name in PLANNED.get(kind, {}):
                singular = kind.removesuffix("s")
                raise NotInstalled(
                    f"{singular} `{name}` is not installed",
                    help=_how_to_get(PLANNED[kind][name], f"{singular} `{name}`"),
                )
            raise NotFound(f"no {kind.removesuffix('s')} `{name}`")
        component = entry.load()
        self._loaded[kind, name] = component
        return component

    def step(self, uses: str) -> Any:
        """The step class for what a plan `uses`: a registered name, or a dotted path to a function.

        Raises:
            NotInstalled, NotFound: as `get`.
        """
        if "." not in uses or ("steps", uses) in self._loaded:
            return self.get("steps", uses)
        if ("functions", "") not in self._loaded:
            self._loaded["functions", ""] = FUNCTION.load()
        return self._loaded["functions", ""]

    def add(self, kind: str, name: str, component: Any) -> None:
        """Register a component directly (tests, embedding)."""
        self._loaded[kind, name] = component
        self._of(kind).setdefault(
            name, EntryPoint(name, f"{component.__module__}:{component.__qualname__}", kind)
        )

    def versions(self) -> dict[str, str]:
        """Version of every installed distribution that brings a component, filemill included."""
        entries = [entry for kind in PLANNED for entry in self._of(kind).values()]
        found = {entry.dist.name: entry.dist for entry in entries if entry.dist is not None}
        return {name: found[name].version for name in sorted(found)}

    def _of(self, kind: str) -> dict[str, EntryPoint]:
        if not self._entries:
            # Asked for once: each time, every installed distribution is opened.
            installed = entry_points()
            self._entries = {
                each: {e.name: e for e in installed.select(group=f"filemill.{each}")}
                for each in PLANNED
            }
        return self._entries[kind]


def _how_to_get(extra: str, what: str) -> str:
    about = metadata("filemill")
    if extra in (about.get_all("Provides-Extra") or ()):
        return f"pip install 'filemill[{extra}]'"
    return (
        f"{what} is not part of filemill {about['Version']}, a later version brings it; "
        "what there is: filemill steps ls"
    )
