"""A revision: one immutable version of everything a configuration consists of, as one text and its digest.

It holds the configuration's files, the environment's overrides, the bytes of every local file that it names (schemas,
modules of steps and taggers with the local modules they import) and the versions of what interprets it (installed
plugins, Polars). Paths are
relative to the main file's folder, so the same project is the same revision wherever it stands.
"""

from __future__ import annotations

import ast
import base64
import hashlib
import json
import os
from collections.abc import Iterable
from importlib.metadata import version
from typing import Any

from filemill.config.elements import Draft
from filemill.config.layers import Layers
from filemill.config.positions import Node, plain
from filemill.config.stepping import texts_in
from filemill.ports.registry import Registry

FORMAT = 1
MAX_FILE = 8 << 20
"""Bytes of one named file that are kept in the text; of a larger one, only its digest."""


def revision_of(draft: Draft, layers: Layers, registry: Registry) -> tuple[str, str]:
    """(digest, text): the text is JSON, the digest the sha256 of it in hex."""
    files = {each.name: each.data for each in layers.files}
    for step in draft.every_step():
        for schema in step.uses_of.schemas:
            # The very text that the plan has, wherever the file lies.
            files[os.path.relpath(schema.path, draft.root)] = schema.text.encode()
    for scanner in draft.scanners:
        files |= {name: text.encode() for name, text in scanner.files.items()}
    for path in sorted(_named_files(draft, layers.python)):
        name = os.path.relpath(path, draft.root)
        if name not in files:
            files[name] = _bytes(path)
    document = {
        "format": FORMAT,
        "config": [each.name for each in layers.files],
        "environment": layers.overrides,
        "files": {name: _as_text(data) for name, data in sorted(files.items())},
        "plugins": registry.versions() | {"polars": version("polars")},
    }
    if layers.python:
        document["python"] = _without_places(draft)
    text = json.dumps(document, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest(), text


def _bytes(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _as_text(data: bytes) -> Any:
    digest = hashlib.sha256(data).hexdigest()
    if len(data) > MAX_FILE:
        return {"sha256": digest, "size": len(data)}
    try:
        return {"sha256": digest, "text": data.decode("utf-8")}
    except UnicodeDecodeError:
        return {"sha256": digest, "base64": base64.b64encode(data).decode("ascii")}


def _without_places(draft: Draft) -> dict[str, Any]:
    """The pipelines as they were read: a pipeline in Python may follow from more than its module's text."""
    return {pipeline.name: plain(pipeline.node) for pipeline in draft.pipelines}


def _named_files(draft: Draft, python: Iterable[str]) -> set[str]:
    """Absolute paths of every existing local file that the document names, below its root."""
    modules = {step.uses.rpartition(".")[0] for step in draft.every_step() if step.by_user}
    modules |= {path.rpartition(".")[0] for path in python}
    modules |= {rule.model.tagger.rpartition(".")[0] for rule in draft.rules if rule.model.tagger}
    found = _modules(draft.root, modules)
    for step in draft.every_step():
        found |= _files_in(step.value, draft.root)
    for component in (*draft.sources, *draft.sinks):
        found |= _files_in(component.node, draft.root)
    return found


def _files_in(node: Node, root: str) -> set[str]:
    """Texts that are paths of files below the root: `schema: schemas/order.json`."""
    found = set()
    for text in texts_in(node):
        if "." not in text.text or "\n" in text.text or "\0" in text.text or len(text.text) > 255:
            continue
        path = os.path.normpath(os.path.join(root, text.text))
        if path.startswith(root.rstrip("/") + "/") and os.path.isfile(path):
            found.add(path)
    return found


def _modules(root: str, names: Iterable[str]) -> set[str]:
    """Files of these modules, and of all modules below the root that they import in turn."""
    found: set[str] = set()
    waiting = list(names)
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        if not name or name in seen:
            continue
        seen.add(name)
        for path in _files_of(root, name):
            if path not in found:
                found.add(path)
                waiting += _imports(path, name)
    return found


def _files_of(root: str, name: str) -> list[str]:
    """The module's file, and `__init__.py` of each package it is in."""
    parts = name.split(".")
    candidates = [os.path.join(root, *parts[:n], "__init__.py") for n in range(1, len(parts) + 1)]
    candidates.append(os.path.join(root, *parts) + ".py")
    return [path for path in candidates if os.path.isfile(path)]


def _imports(path: str, module: str) -> list[str]:
    """Names of modules that a file imports, relative ones resolved. None of a file that does not parse."""
    try:
        tree = ast.parse(_bytes(path))
    except (SyntaxError, ValueError):
        return []  # the worker that imports it says so
    package = module if path.endswith("__init__.py") else module.rpartition(".")[0]
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = (
                package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            )
            base = ".".join(
                [*(each for each in above if each), *([node.module] if node.module else [])]
            )
            names += [
                base,
                *(f"{base}.{alias.name}" if base else alias.name for alias in node.names),
            ]
    return names
