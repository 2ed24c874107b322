"""Modules of users as they were in their revision, whatever the folder beside the configuration holds by now.

A worker may start long after its revision was loaded, and a module may be saved anew in between. So the plan carries
the text of every module that its revision names, and this finder, asked before the import path is, gives just that
text. A module's `__file__` stays where it lies: what it reads beside itself is found.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import linecache
import os
import sys
import types
from collections.abc import Mapping, Sequence


class KeptModules(importlib.abc.MetaPathFinder):
    """Finds the modules in `texts`: their bytes by their path below `root`, such as `steps/orders.py`."""

    def __init__(self, root: str, texts: Mapping[str, bytes]) -> None:
        self._root = root
        self._texts = texts

    def install(self) -> None:
        """Be asked before the import path, and after what Python itself brings along."""
        for place, finder in enumerate(sys.meta_path):
            if finder is importlib.machinery.PathFinder:
                sys.meta_path.insert(place, self)
                return
        sys.meta_path.append(self)

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: types.ModuleType | None = None,
    ) -> importlib.machinery.ModuleSpec | None:
        """The module, if its text is kept."""
        del path, target
        name = fullname.replace(".", "/")
        for relative in (f"{name}/__init__.py", f"{name}.py"):
            if (text := self._texts.get(relative)) is None:
                continue
            place = os.path.join(self._root, relative)
            package = [os.path.dirname(place)] if relative.endswith("__init__.py") else None
            loader = _Kept(place, text)
            return importlib.util.spec_from_file_location(
                fullname, place, loader=loader, submodule_search_locations=package
            )
        return None


class _Kept(importlib.abc.SourceLoader):
    """Loads one kept text. Nothing compiled is written, since what lies on the disk may be another version."""

    def __init__(self, place: str, text: bytes) -> None:
        self._place = place
        self._text = text

    def get_filename(self, fullname: str) -> str:
        """Where the module lies."""
        del fullname
        return self._place

    def get_data(self, path: str) -> bytes:
        """The module's text; any other file as it is."""
        if path == self._place:
            return self._text
        with open(path, "rb") as file:
            return file.read()

    def exec_module(self, module: types.ModuleType) -> None:
        """Run it; tracebacks show the lines that ran."""
        lines = importlib.util.decode_source(self._text).splitlines(keepends=True)
        linecache.cache[self._place] = (len(self._text), None, lines, self._place)
        super().exec_module(module)
