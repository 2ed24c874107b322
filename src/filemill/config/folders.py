"""Folders that get in each other's way: sources over sources, sinks and the data directory inside sources."""

from __future__ import annotations

import os

import msgspec

from filemill.config.elements import Component, Draft
from filemill.config.locating import OWN_DATA, shown
from filemill.config.positions import Map, Place, Text
from filemill.config.problems import Problems

FOLDER = "folder"


class _Folder(msgspec.Struct):
    component: Component
    path: str
    """Absolute, links resolved as far as it exists."""
    place: Place
    deep: bool = True


def check_folders(draft: Draft, data: str, problems: Problems) -> None:
    """Every rule about local folders."""
    sources = [_folder(draft, each) for each in draft.sources if _is_folder(each)]
    sinks = [_folder(draft, each) for each in draft.sinks if _is_folder(each)]
    for number, source in enumerate(sources):
        _exists(source, problems)
        for other in sources[:number]:
            _overlap(source, other, problems)
        _holds_data(source, os.path.realpath(data), problems)
    _check_failed(draft, sources, sinks, problems)
    for sink in sinks:
        _is_a_file(sink, problems)
        for source in sources:
            _sink_in(sink, source, problems)


def _check_failed(
    draft: Draft, sources: list[_Folder], sinks: list[_Folder], problems: Problems
) -> None:
    """Copies of what failed must not come in again, and not lie among results."""
    entry = draft.tree.entries.get("failed")
    node = entry.value.get(FOLDER) if entry is not None and isinstance(entry.value, Map) else None
    if draft.settings.failed is None or not isinstance(node, Text):
        return
    path = os.path.realpath(os.path.join(draft.root, os.path.expanduser(node.text)))
    if os.path.lexists(path) and not os.path.isdir(path):
        message = f"`failed` names {shown(path)}, which is not a folder"
        problems.error(
            "dir-missing", message, node.place, "name a folder; it is made if it is missing"
        )
    for source in sources:
        name = source.component.name
        if path == source.path or (source.deep and _within(path, source.path)):
            message = f"`failed` puts copies into the folder that source `{name}` watches ({source.place})"
            advice = "what failed would be taken as a new file and fail again: put it outside"
            problems.error("failed-in-source", message, node.place, advice)
        elif _within(source.path, path):
            message = f"source `{name}` watches a folder within that of `failed` ({node.place})"
            advice = "what failed might be taken as a new file: move one of them"
            problems.error("failed-in-source", message, source.place, advice)
    for sink in sinks:
        if _within(path, sink.path) or _within(sink.path, path):
            message = f"`failed` and sink `{sink.component.name}` share a folder ({sink.place})"
            advice = "whoever takes results would take what failed: give each its own folder"
            problems.error("failed-in-sink", message, node.place, advice)


def _is_folder(component: Component) -> bool:
    return component.kind == FOLDER and isinstance(component.node.get(FOLDER), Text)


def _folder(draft: Draft, component: Component) -> _Folder:
    node = component.node.get(FOLDER)
    assert isinstance(node, Text)  # noqa: S101 -- asked before
    path = os.path.realpath(os.path.join(draft.root, os.path.expanduser(node.text)))
    deep = getattr(component.options, "recursive", True)
    return _Folder(component, path, node.place, bool(deep))


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _exists(source: _Folder, problems: Problems) -> None:
    create = source.component.node.get("create")
    made = isinstance(create, Text) and create.text.lower() in ("true", "yes", "on")
    if os.path.isdir(source.path) or made:
        return
    name = source.component.name
    node = source.component.node.get(FOLDER)
    written = node.text if isinstance(node, Text) else ""
    if os.path.lexists(source.path):
        message = f"source `{name}` watches {written}, which is not a folder"
        problems.error("dir-missing", message, source.place, "name a folder")
        return
    message = f"source `{name}` watches {written}, not found"
    advice = f"mkdir -p {_quoted(shown(source.path))}   or set create: true"
    problems.error("dir-missing", message, source.place, advice)


def _quoted(path: str) -> str:
    import shlex  # noqa: PLC0415 -- only for this message

    return shlex.quote(path)


def _is_a_file(sink: _Folder, problems: Problems) -> None:
    if os.path.lexists(sink.path) and not os.path.isdir(sink.path):
        message = (
            f"sink `{sink.component.name}` writes into {shown(sink.path)}, which is not a folder"
        )
        problems.error(
            "dir-missing", message, sink.place, "name a folder; it is made if it is missing"
        )


def _overlap(source: _Folder, other: _Folder, problems: Problems) -> None:
    inside = _within(source.path, other.path) and (other.deep or source.path == other.path)
    around = _within(other.path, source.path) and source.deep
    if not inside and not around:
        return
    how = (
        "the same folder as"
        if source.path == other.path
        else "a folder within that of"
        if inside
        else "a folder around that of"
    )
    names = source.component.name, other.component.name
    message = f"source `{names[0]}` watches {how} source `{names[1]}` ({other.place})"
    advice = "a file would be taken twice: give each its own folder, or set recursive: false on the outer one"
    problems.error("overlapping-sources", message, source.place, advice)


def _sink_in(sink: _Folder, source: _Folder, problems: Problems) -> None:
    names = sink.component.name, source.component.name
    if sink.path == source.path or (source.deep and _within(sink.path, source.path)):
        message = f"sink `{names[0]}` writes into the folder that source `{names[1]}` watches ({source.place})"
        advice = "its outputs would be taken as new files: put it outside"
        problems.error("sink-in-source", message, sink.place, advice)
    elif _within(source.path, sink.path):
        message = (
            f"source `{names[1]}` watches a folder within that of sink `{names[0]}` ({sink.place})"
        )
        advice = "an output with such a name would be taken as a new file: move one of them"
        problems.warn("source-in-sink", message, source.place, advice)


def _holds_data(source: _Folder, data: str, problems: Problems) -> None:
    if not _within(data, source.path) or not (source.deep or data == source.path):
        return
    below = os.path.relpath(data, source.path).split(os.sep)
    if OWN_DATA in below:
        return  # never scanned
    message = f"the data directory {shown(data)} is inside the folder that source `{source.component.name}` watches"
    problems.error("data-in-source", message, source.place, "put `data:` outside")
