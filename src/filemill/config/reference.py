"""The configuration reference as Markdown, generated from the models and the installed components."""

from __future__ import annotations

import types
from collections.abc import Iterator, Sequence
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, WithJsonSchema

from filemill.config.components import builtins_of
from filemill.config.effective import said
from filemill.config.judging import keys_of
from filemill.config.models import (
    SECTIONS,
    Branch,
    Document,
    Failed,
    Pipeline,
    Quarantine,
    Queue,
    Retention,
    Retry,
    StepSiblings,
    TagRule,
)
from filemill.config.oidc import Claim, Oidc, Sessions
from filemill.config.web import Limits, Tls, Web
from filemill.ports.registry import Registry
from filemill.ports.units import Duration, Size

_INTRODUCTION = """\
# Configuration

One YAML file, `filemill.yaml`; `conf.d/*.yaml` beside it add sources, tags, pipelines and sinks (a name twice is
an error). It is looked for at `-c`, `FILEMILL_CONFIG`, in the current folder and those above it, in
`$XDG_CONFIG_HOME/filemill`, in `/etc/filemill`. Relative paths are relative to it. Environment variables
`FILEMILL__SECTION__KEY` come on top: `FILEMILL__WORKERS=2`, `FILEMILL__SOURCES__PARTNERS__SETTLE=2s`.
`filemill config show` says which value counts and where it came from.

Values are text until an option asks for something else: `on`, `no`, `1.10` and `12:30:00` are what they look like.
Durations and sizes carry units: `500ms`, `5m`, `1h30m`; `200MB` (10^6), `16MiB` (2^20). A secret is
`{secret: NAME}` in place of any option's value: the environment variable NAME, or the file that NAME_FILE names.
"""
_PYTHON = """\
A pipeline may also be written in Python and named by its dotted path, `orders: flows.orders`: see
[Write and test a step](steps.md).
"""
_STEPS = """\
A step is its name, or its name with options: `- read_csv`, `- filter: "amount > 0"`,
`- steps.add_vat: {rate: 0.2}` (a dotted path is a Python function of your own). The last step is `route` or `write`.
"""
_TAGS = """\
A tag is parts of `a-z 0-9 _ . % -` joined by `:`. `and`, `or`, `not` and `else` are reserved. Expressions (`when:`,
`if:`, keys of `route`) are `and`, `or`, `not`, parentheses and tags, with `*` at a tag's end:
`orders and not partner:*`.
"""
_WORDS = {str: "text", int: "whole number", float: "number", bool: "true or false"}


def reference(registry: Registry | None = None) -> str:
    """The whole page, ending in one newline."""
    return "\n".join(_page(registry or Registry())).rstrip() + "\n"


def _page(registry: Registry) -> Iterator[str]:
    yield _INTRODUCTION
    yield "## Top level\n"
    yield from _table(Document, [key for key in keys_of(Document) if key not in SECTIONS])
    yield "`retry`, in `defaults:`, in a pipeline and beside a step:\n"
    yield from _table(Retry)
    for model in (Queue, Retention, Failed, Quarantine, Web):
        yield f"`{model.__name__.lower()}`:\n"
        yield from _table(model)
    for name, part in (("limits", Limits), ("tls", Tls), ("sessions", Sessions), ("oidc", Oidc)):
        yield f"`{name}`, in `web:`:\n"
        yield from _table(part)
    yield "`roles`, `sources` and `pipelines`, in `oidc:`:\n"
    yield from _table(Claim)
    yield "## sources\n"
    yield "`NAME: {KIND: ..., key: ...}`: the one key that names the kind stands among the others.\n"
    yield from _components(registry, "sources", "source")
    yield "Beside these keys every source takes `tags:`, and `scan: off`, which exempts its files from `scan:`.\n"
    yield "## Scanners\n"
    yield "`scan: {KIND: ..., key: ...}`, or a list of such maps. See [Scan files](scanning.md).\n"
    yield from _components(registry, "scanners", "scanner")
    yield "## tags\n"
    yield "`TAG: {key: ...}`, or a list of such maps, any of which may hold.\n"
    yield _TAGS
    yield from _table(TagRule)
    yield "## pipelines\n"
    yield from _table(Pipeline)
    yield _PYTHON
    yield "## Steps\n"
    yield _STEPS
    yield "Beside a step's name, never among its options:\n"
    yield from _table(StepSiblings)
    for name in registry.names("steps"):
        component = registry.get("steps", name)
        spec = component.spec
        yield f"### {name}\n"
        yield f"{spec.summary} Takes {_form(spec.takes)}, gives {_form(spec.gives)}.\n"
        yield f"```yaml\n{spec.example}\n```\n"
        if spec.shorthand_only:
            field = component.Options.model_fields[spec.shorthand]
            kind = _type(field.annotation, field.metadata)
            yield f"Directly behind its name, a {kind}: {field.description}\n"
        else:
            yield from _table(component.Options)
        if spec.notes:
            yield f"{spec.notes}\n"
        if name == "route":
            yield "A branch with steps of its own:\n"
            yield from _table(Branch)
    yield "## sinks\n"
    yield from _components(registry, "sinks", "sink")


def _components(registry: Registry, section: str, word: str) -> Iterator[str]:
    for name in registry.names(section):
        component = registry.get(section, name)
        yield f"### {word} {name}\n"
        yield f"{_sentence(component.spec.summary)}\n"
        yield f"```yaml\n{component.spec.example}\n```\n"
        yield from _table(component.Options)


def _form(form: str) -> str:
    return {
        "file": "the file",
        "records": "records",
        "any": "the file or records",
        "nothing": "nothing",
    }[str(form)]


def _sentence(text: str) -> str:
    text = text[:1].upper() + text[1:]
    return text if text.endswith(".") else f"{text}."


def _table(model: type[BaseModel], keys: Sequence[str] | None = None) -> Iterator[str]:
    rows = []
    for key, name in keys_of(model).items():
        field = model.model_fields[name]
        if field.exclude or (keys is not None and key not in keys):
            continue
        kind = _type(field.annotation, field.metadata)
        rows.append((f"`{key}`", kind, _default(key, field), _sentence(field.description or "")))
    if not rows:
        yield "No options.\n"
        return
    yield "| key | takes | default | |\n|---|---|---|---|"
    for row in rows:
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"
    yield ""


def _default(key: str, field: Any) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if key == "workers":
        return "CPUs"
    if value is None or value in ([], {}, ()) or isinstance(value, BaseModel):
        return ""
    return f"`{said(key, builtins_of(value))}`"


def _type(annotation: Any, metadata: Sequence[Any] = ()) -> str:
    """What a value may be, in words."""
    for alias, word in ((Duration, "duration"), (Size, "size")):
        if annotation == alias or (metadata and _same(metadata, get_args(alias)[1:])):
            return word
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        words = [_type(each) for each in arguments if each is not type(None)]
        return " or ".join(dict.fromkeys(words))
    if hasattr(annotation, "__metadata__"):
        return _type(arguments[0], arguments[1:])
    if origin is Literal:
        return ", ".join(f"`{'false' if each is False else each}`" for each in arguments)
    is_model = isinstance(annotation, type) and issubclass(annotation, BaseModel)
    is_model = is_model and not any(isinstance(each, WithJsonSchema) for each in metadata)
    if is_model or origin is dict:
        return "map"
    return "list" if origin in (list, tuple, set, frozenset) else _WORDS.get(annotation, "text")


def _same(metadata: Sequence[Any], wanted: Sequence[Any]) -> bool:
    """Say whether a field's metadata has the validator that makes a duration or size."""
    functions = {getattr(each, "func", None) for each in wanted} - {None}
    return any(getattr(each, "func", None) in functions for each in metadata)
