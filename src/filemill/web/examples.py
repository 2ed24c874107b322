"""An example of a JSON schema, made of the examples of its parts: it fits by construction, and cannot go stale."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_PLAIN: dict[str, Any] = {
    "string": "",
    "integer": 0,
    "number": 0.0,
    "boolean": False,
    "null": None,
    "object": {},
}


def example_of(schema: Mapping[str, Any], components: Mapping[str, Any]) -> Any:
    """A value that the schema allows; `components` are those it refers to, by name."""
    if "$ref" in schema:
        return example_of(components[schema["$ref"].rpartition("/")[2]], components)
    if "anyOf" in schema:
        return example_of(schema["anyOf"][0], components)
    if known := schema.get("examples") or schema.get("enum"):
        return known[0]
    if "properties" in schema:
        return {name: example_of(each, components) for name, each in schema["properties"].items()}
    if schema.get("type") == "array":
        return [example_of(schema["items"], components)]
    return _PLAIN[schema["type"]]
