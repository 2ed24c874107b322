"""The JSON Schema (2020-12) of the language, made from the models and from the components that are installed.

Editors read YAML with types, the language reads it as text: so wherever a text is wanted, the schema also takes
the number or Boolean that an editor makes of it, and wherever an option of a component is a text, a `{secret: NAME}`.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from filemill.config.models import (
    Branch,
    Document,
    Pipeline,
    StepSiblings,
    TagRule,
)
from filemill.config.stepping import ROUTE
from filemill.ports.registry import Registry
from filemill.ports.step import StepSpec

DIALECT = "https://json-schema.org/draft/2020-12/schema"
TITLE = "filemill configuration"
_NAME = r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$"
_TAG = r"^(?!(and|or|not|else)$)[a-z0-9_.%-]+(:[a-z0-9_.%-]+)*$"
_PATH = r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)+$"
_SECRET = {
    "type": "object",
    "description": "The value of an environment variable, or of the file that NAME_FILE names.",
    "properties": {"secret": {"type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_]*$"}},
    "required": ["secret"],
    "additionalProperties": False,
}
_SINKS = {
    "description": "A sink, a list of sinks, or `drop`.",
    "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}],
}
_DOTTED = r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)+$"
_PATH = r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)+$"


def schema(registry: Registry | None = None) -> dict[str, Any]:
    """The whole schema, as a document to be written as JSON."""
    made = _Schema(registry or Registry())
    return made.document()


class _Schema:
    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self.definitions: dict[str, Any] = {"secret": _SECRET, "sinks": _SINKS}

    def document(self) -> dict[str, Any]:
        document = self.of(Document)
        properties = document["properties"]
        self.definitions["step"] = self.step()
        self.definitions["steps"] = {
            "type": "array",
            "items": {"$ref": "#/$defs/step"},
            "minItems": 1,
        }
        self.definitions["branch"] = self.branch()
        self.definitions["pipeline"] = self.pipeline()
        self.definitions["source"] = self.component("sources")
        self.definitions["sink"] = self.component("sinks")
        scanner = self.component("scanners")
        self.definitions["scanner"] = scanner
        one = {"$ref": "#/$defs/scanner"}
        properties["scan"] = {
            "description": properties["scan"]["description"],
            "anyOf": [one, {"type": "array", "items": one}, {"type": "null"}],
        }
        self.definitions["tag"] = self.of(TagRule)
        properties["sources"] = _names("source", properties["sources"])
        properties["sinks"] = _names("sink", properties["sinks"])
        properties["pipelines"] = _names("pipeline", properties["pipelines"])
        python = {"type": "string", "pattern": _PATH, "description": "A pipeline in Python."}
        either = {"anyOf": [properties["pipelines"]["additionalProperties"], python]}
        properties["pipelines"]["additionalProperties"] = either
        rule = {"$ref": "#/$defs/tag"}
        properties["tags"] = {
            "type": ["object", "null"],
            "description": properties["tags"]["description"],
            "propertyNames": {"pattern": _TAG},
            "additionalProperties": {"anyOf": [rule, {"type": "array", "items": rule}]},
        }
        return {
            "$schema": DIALECT,
            "title": TITLE,
            **document,
            "$defs": dict(sorted(self.definitions.items())),
        }

    def of(self, model: type[BaseModel], *, secrets: bool = False) -> dict[str, Any]:
        """One model's schema; models within it become shared definitions."""
        made = model.model_json_schema(by_alias=True, ref_template="#/$defs/{model}")
        for name, definition in made.pop("$defs", {}).items():
            self.definitions.setdefault(name, _lenient(definition, secrets=secrets))
        made.pop("title", None)
        lenient: dict[str, Any] = _lenient(made, secrets=secrets)
        return lenient

    def component(self, section: str) -> dict[str, Any]:
        """Any of the installed kinds: the key that names one decides."""
        kinds = []
        for name in self.registry.names(section):
            component = self.registry.get(section, name)
            made = self.of(component.Options, secrets=True)
            made["description"] = component.spec.summary
            made["required"] = sorted({*made.get("required", ()), name})
            if section == "sources":
                made["properties"].setdefault(
                    "tags", {"type": "array", "items": {"type": "string"}}
                )
                made["properties"]["scan"] = {
                    "description": "Its files are not scanned.",
                    "enum": ["off", False],
                }
            kinds.append(made)
        return {"anyOf": kinds} if kinds else {"type": "object"}

    def pipeline(self) -> dict[str, Any]:
        made = self.of(Pipeline)
        made["properties"]["steps"] = {
            "$ref": "#/$defs/steps",
            "description": made["properties"]["steps"]["description"],
        }
        return made

    def branch(self) -> dict[str, Any]:
        made = self.of(Branch)
        made["properties"] = {"steps": {"$ref": "#/$defs/steps"}, "to": {"$ref": "#/$defs/sinks"}}
        return made

    def step(self) -> dict[str, Any]:
        """A name alone, or one name with its options and siblings beside it."""
        siblings = self.of(StepSiblings)["properties"]
        names = self.registry.names("steps")
        of_steps: dict[str, Any] = {}
        for name in names:
            component = self.registry.get("steps", name)
            of_steps[name] = self.options(component.spec, component.Options)
        own = {"type": ["object", "null"], "description": "Options of your own function."}
        return {
            "anyOf": [
                {"type": "string", "enum": names},
                {"type": "string", "pattern": _DOTTED},
                {
                    "type": "object",
                    "properties": of_steps | siblings,
                    "patternProperties": {_DOTTED: own},
                    "additionalProperties": False,
                    "minProperties": 1,
                },
            ]
        }

    def options(self, spec: StepSpec, model: type[BaseModel]) -> dict[str, Any]:
        about = {"description": f"{spec.summary}\n\n{spec.example}"}
        if spec.name == ROUTE:
            branch = {"anyOf": [{"$ref": "#/$defs/sinks"}, {"$ref": "#/$defs/branch"}]}
            return about | {"type": "object", "additionalProperties": branch, "required": ["else"]}
        made = self.of(model, secrets=True)
        direct = made["properties"].get(spec.shorthand) if spec.shorthand else None
        if direct is not None and spec.shorthand_only:
            return {**direct, **about}
        choices: list[Any] = [made] if direct is None else [made, direct]
        if not made.get("required"):
            choices.append({"type": "null"})
        return about | {"anyOf": choices}


def _names(definition: str, section: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": ["object", "null"],
        "description": section["description"],
        "propertyNames": {"pattern": _NAME},
        "additionalProperties": {"$ref": f"#/$defs/{definition}"},
    }


def _lenient(node: Any, *, secrets: bool) -> Any:
    """Take what an editor makes of a text; drop titles, which say no more than the keys."""
    if isinstance(node, list):
        return [_lenient(each, secrets=secrets) for each in node]
    if not isinstance(node, dict):
        return node
    made = {
        key: (
            {name: _lenient(each, secrets=secrets) for name, each in value.items()}
            if key in ("properties", "$defs", "patternProperties")
            else _lenient(value, secrets=secrets)
        )
        for key, value in node.items()
        if key != "title" or isinstance(value, dict)
    }
    made.pop("default", None)
    if "const" in made:
        made["enum"] = [made.pop("const")]
    if "enum" in made and made.get("type") == "string":
        made["enum"] = [*made["enum"], *(int(e) for e in made["enum"] if e.isdecimal())]
        del made["type"]
    elif made.get("type") == "string":
        made["type"] = ["string", "number", "boolean"]
        if secrets and "pattern" not in made:
            about = {"description": made.pop("description")} if "description" in made else {}
            return about | {"anyOf": [made, {"$ref": "#/$defs/secret"}]}
    return made
