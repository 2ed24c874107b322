"""`filemill steps`: what is installed, and what each step takes."""

from __future__ import annotations

import difflib
import os
import textwrap
from typing import Annotated, Any, NoReturn

import typer

from filemill.cli.application import command, group
from filemill.cli.session import Session
from filemill.model.errors import NotFound, UsageError
from filemill.ports.registry import PLANNED, Registry

steps = group("steps")
_GRAINS = {
    "record": "one record at a time",
    "stream": "a file's records in order",
    "frame": "a table of records at a time",
    "file": "the whole file",
    "batch": "records of many files at once",
}
_WIDTH = 100
"""Of a line of prose."""
KINDS = ("steps", "sources", "sinks")


@command("ls", steps, epilog="Example: filemill steps ls")
def ls(session: Session) -> None:
    """List the installed steps, sources and sinks."""
    registry = Registry()
    found = [_entry(registry, kind, name) for kind in KINDS for name in registry.names(kind)]
    if session.output.json:
        session.output.items("filemill.steps/1", found)
        return
    for place, kind in enumerate(KINDS):
        if place:
            session.output.print()
        entries = [each for each in found if each["kind"] == kind]
        rows = [(each["name"], each["flow"], each["summary"]) for each in entries]
        session.output.table((kind.upper(), "FLOW" if kind == "steps" else "", ""), rows)
    later = sorted(set(PLANNED["steps"]) - set(registry.names("steps")))
    if not session.quiet and later:
        session.output.say(f"known, not part of this version: {' '.join(later)}")


@command(
    "show",
    steps,
    epilog="Examples: filemill steps show read_csv · filemill steps show steps.add_vat",
)
def show(
    session: Session,
    name: Annotated[
        str, typer.Argument(help="A step, source or sink; or module.function of yours.")
    ],
) -> None:
    """Show one step with its options and an example."""
    registry = Registry()
    kinds = [kind for kind in KINDS if name in registry.names(kind)]
    if not kinds and "." in name:
        entries = [_described(session, name)]
    elif not kinds:
        _missing(registry, name)
    else:
        entries = [_entry(registry, kind, name, full=True) for kind in kinds]
    if session.output.json:
        session.output.items("filemill.steps/1", entries)
        return
    for entry in entries:
        _print(session, entry)


def _missing(registry: Registry, name: str) -> NoReturn:
    """Raise what there is to say of a name that is not installed."""
    for kind in KINDS:
        if name in PLANNED[kind]:
            registry.get(kind, name)  # raises, and names the package
    known = [each for kind in KINDS for each in registry.names(kind)]
    close = difflib.get_close_matches(name, known, 1)
    raise NotFound(
        f"no step `{name}`", help=f"did you mean `{close[0]}`?" if close else "filemill steps ls"
    )


def _entry(registry: Registry, kind: str, name: str, *, full: bool = False) -> dict[str, Any]:
    from filemill.config.effective import said

    component = registry.get(kind, name)
    spec = component.spec
    entry = {
        "kind": kind,
        "name": name,
        "summary": spec.summary,
        "flow": f"{spec.takes} -> {spec.gives}" if kind == "steps" else "",
    }
    if not full:
        return entry
    schema = component.Options.model_json_schema()
    for key, each in schema.get("properties", {}).items():
        if each.get("default") is not None:
            each["default"] = said(key, each["default"])
    return entry | {
        "example": spec.example,
        "options": _options(schema),
        "notes": getattr(spec, "notes", ""),
        "origin": getattr(spec, "origin", "built-in"),
        "grain": str(spec.grain) if kind == "steps" else "",
    }


def _described(session: Session, path: str) -> dict[str, Any]:
    """A user's function, described by a worker; this process imports no user's module."""
    from filemill.ports.describe import Question, StepQuestion
    from filemill.service.children import describe

    try:
        root = os.path.dirname(session.config())
    except UsageError:
        if session.named:
            raise
        root = os.getcwd()  # a function can be described without a project around it
    answer = describe(Question(root, steps=(StepQuestion(path, path),))).steps[0]
    # Options are judged too, and an empty set may lack a required one: the description is there all the same.
    if answer.spec is None:
        raise UsageError(answer.error or f"no step `{path}`", help=answer.help)
    spec = answer.spec
    return {
        "kind": "steps",
        "name": path,
        "summary": spec.summary,
        "flow": f"{spec.takes} -> {spec.gives}",
        "example": spec.example,
        "options": _options(spec.options_schema or {}),
        "notes": spec.notes,
        "origin": spec.origin,
        "grain": str(spec.grain),
    }


def _options(schema: dict[str, Any]) -> list[dict[str, Any]]:
    required = schema.get("required", [])
    return [
        {
            "name": name,
            "type": _type(each, schema.get("$defs", {})),
            "default": each.get("default"),
            "required": name in required,
            "description": each.get("description", ""),
        }
        for name, each in schema.get("properties", {}).items()
    ]


def _type(schema: dict[str, Any], known: dict[str, Any]) -> str:
    """A short word for a JSON Schema: `text`, `list of text`, `csv | jsonl`."""
    if reference := schema.get("$ref"):
        return _type(known.get(str(reference).rsplit("/", 1)[-1], {}), known)
    if "enum" in schema or "const" in schema:
        return " | ".join(map(str, schema.get("enum", [schema.get("const")])))
    if choices := schema.get("anyOf"):
        words = [_type(each, known) for each in choices if each.get("type") != "null"]
        return " or ".join(dict.fromkeys(words))
    kind = schema.get("type", "any")
    if kind == "array":
        return f"list of {_type(schema.get('items', {}), known)}"
    if kind == "object":
        values = schema.get("additionalProperties")
        return f"map of {_type(values, known)}" if isinstance(values, dict) else "map"
    return {"string": "text", "boolean": "true | false"}.get(kind, str(kind))


def _print(session: Session, entry: dict[str, Any]) -> None:
    output = session.output
    output.print(f"{output.paint('strong', entry['name'])}  {entry['summary']}")
    if entry["flow"]:
        output.print(f"  {entry['flow']}, {_GRAINS[entry['grain']]}, {entry['origin']}")
    if entry["options"]:
        rows = [
            (
                each["name"],
                each["type"],
                "required" if each["required"] else _default(each["default"]),
                each["description"],
            )
            for each in entry["options"]
        ]
        output.print()
        output.table(("OPTION", "TYPE", "DEFAULT", ""), rows, indent="  ")
    if entry["notes"]:
        output.print()
        for line in textwrap.wrap(entry["notes"], _WIDTH):
            output.print(f"  {line}")
    if entry["example"]:
        output.print("\n  Example:")
        for line in entry["example"].splitlines():
            output.print(f"    {line}")


def _default(value: Any) -> str:
    if value is None:
        return "-"
    return str(value).lower() if isinstance(value, bool) else str(value)
