"""The effective configuration: every value that counts, and where it came from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from pydantic import BaseModel, SecretStr

from filemill.config.compiling import cpus, memory_share
from filemill.config.components import builtins_of
from filemill.config.elements import Component, Draft
from filemill.config.judging import keys_of
from filemill.config.models import Pipeline, Settings
from filemill.config.positions import List, Map, Node, Text, plain
from filemill.config.secrets import MASK, masked
from filemill.ports.units import format_duration, format_size

DEFAULT = "default"
_DURATIONS = frozenset(
    {
        "min",
        "max",
        "audit",
        "content",
        "dead",
        "grace",
        "idle",
        "ledger",
        "longest",
        "timeout",
        "settle",
        "settle_unproven",
    }
)
_SIZES = frozenset(
    {
        "chunk_size",
        "max_record",
        "max_size",
        "worker_memory",
        "max_work",
        "max_kept",
        "bytes",
        "reserve",
    }
)


class Setting(msgspec.Struct, frozen=True):
    """One effective value. Secrets are masked."""

    path: tuple[str, ...]
    """`("sources", "partners", "settle")`."""
    value: Any
    """Texts, lists and maps of texts; None where nothing is set."""
    origin: str
    """`filemill.yaml:4:22`, `$FILEMILL__WORKERS` or `default`."""


def effective(draft: Draft, data: str, data_origin: str = "") -> tuple[Setting, ...]:
    """All settings in the language's order: top-level keys, sources, tags, pipelines, sinks."""
    tree = draft.tree
    found: list[Setting] = []
    for key in keys_of(Settings):
        found += _of_model(tree, (key,), Settings, key)
    found = [
        Setting(each.path, data, data_origin or each.origin) if each.path == ("data",) else each
        for each in found
    ]
    for source in draft.sources:
        found += _of_component("sources", source)
    found += _as_written(tree, "tags")
    for pipeline in draft.pipelines:
        path = ("pipelines", pipeline.name)
        for key in keys_of(Pipeline):
            if key != "retry" or "retry" in pipeline.node.entries:
                found += _of_model(pipeline.node, (*path, key), Pipeline, key)
    for sink in draft.sinks:
        found += _of_component("sinks", sink)
    return tuple(found)


def _of_model(
    node: Map, path: tuple[str, ...], model: type[BaseModel], key: str
) -> Iterator[Setting]:
    """One key of a model: as it is written, else its default; models within it key by key."""
    field = model.model_fields[keys_of(model)[key]]
    value = node.get(key)
    inner = field.annotation
    if isinstance(inner, type) and issubclass(inner, BaseModel):
        below = value if isinstance(value, Map) else Map({}, node.place)
        for each in keys_of(inner):
            yield from _of_model(below, (*path, each), inner, each)
    elif value is not None:
        yield Setting(path, masked(value), str(value.place))
    elif not field.is_required():
        default = _default(key, node, field.get_default(call_default_factory=True))
        yield Setting(path, said(key, default), DEFAULT)


def _default(key: str, node: Map, default: Any) -> Any:
    """What counts where nothing is written; some of it follows the machine."""
    if key == "workers":
        return cpus()
    if key == "worker_memory":
        written = node.get("workers")
        count = int(written.text) if isinstance(written, Text) else cpus()
        # In whole MiB, as nobody would write it to the byte.
        return memory_share(count) >> 20 << 20
    return default


def _of_component(section: str, component: Component) -> Iterator[Setting]:
    model = component.cls.Options if component.cls is not None else None
    secret = _secret_keys(model)
    for key, entry in component.node.entries.items():
        value = MASK if key in secret else masked(entry.value)
        yield Setting((section, component.name, key), value, str(entry.value.place))
    if model is None:
        return
    for key, name in keys_of(model).items():
        field = model.model_fields[name]
        if key in component.node.entries or field.is_required() or field.exclude:
            continue
        default = field.get_default(call_default_factory=True)
        yield Setting((section, component.name, key), said(key, default), DEFAULT)


def _secret_keys(model: type[BaseModel] | None) -> frozenset[str]:
    if model is None:
        return frozenset()
    return frozenset(
        field.alias or name
        for name, field in model.model_fields.items()
        if field.annotation is SecretStr or SecretStr in getattr(field.annotation, "__args__", ())
    )


def _as_written(tree: Map, section: str) -> Iterator[Setting]:
    node = tree.get(section)
    if isinstance(node, Map):
        for name, entry in node.entries.items():
            yield Setting((section, name), plain(entry.value), str(_start(entry.value)))


def _start(node: Node) -> Any:
    if isinstance(node, List) and node.items:
        return node.items[0].place
    return node.place


def said(key: str, value: Any) -> Any:
    """A default as one would write it: `500ms`, `16MiB`, `true`."""
    value = builtins_of(value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        if key in _DURATIONS:
            return format_duration(value)
        return format_size(int(value)) if key in _SIZES else str(value)
    return value
