"""What a JSON Schema says of a record's columns: which it names, and which types it allows in each.

Text formats have no types, so there the schema gives them: a csv cell is read as the narrowest type the schema
allows for its column, and stays text where it fits none, so that the validator can say what is wrong with it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

ALL = frozenset({"null", "boolean", "integer", "number", "string", "object", "array"})
_NUMBERS = frozenset({"integer", "number"})
_NUMERIC = ("multipleOf", "maximum", "exclusiveMaximum", "minimum", "exclusiveMinimum")
_OPEN = (
    "additionalProperties",
    "patternProperties",
    "propertyNames",
    "unevaluatedProperties",
    "minProperties",
    "maxProperties",
    "enum",
    "const",
)
_WORDS = {
    frozenset({"integer"}): "integer",
    _NUMBERS: "float",
    frozenset({"number"}): "float",
    frozenset({"boolean"}): "boolean",
    frozenset({"string"}): "text",
}
_DEPTH = 32
"""References followed below one another: a schema that refers to itself ends here."""


class Columns:
    """One schema's columns. `sees_all`: it also judges columns it does not name."""

    def __init__(self, schema: dict[str, Any]) -> None:
        self.root = schema
        self.certain = list(self._parts(schema, 0))
        """Every part of the schema that always applies to the whole record."""
        self.maybe = [
            part
            for each in self.certain
            for branch in self._branches(each)
            for part in self._everywhere(branch, 0)
        ]
        """Parts that apply to some records."""
        names: dict[str, None] = {}
        for part in (*self.certain, *self.maybe):
            for keyword in ("properties", "dependentRequired", "dependentSchemas"):
                names |= dict.fromkeys(_map(part.get(keyword)))
            for required in (part.get("required"), *_map(part.get("dependentRequired")).values()):
                names |= dict.fromkeys(n for n in _list(required) if isinstance(n, str))
        self.names = tuple(names)
        self.sees_all = any(
            part.get(key) not in (None, True)
            for part in (*self.certain, *self.maybe)
            for key in _OPEN
        )

    def allowed(self, name: str) -> frozenset[str]:
        """The JSON types this column may have; `ALL` where the schema does not say."""
        found = ALL
        seen = False
        for part in self.certain:
            for each in _of_column(part, name):
                seen = True
                found &= self._types(each, 0)
        if seen:
            return found
        either = [self._types(each, 0) for part in self.maybe for each in _of_column(part, name)]
        return frozenset().union(*either) if either else ALL

    def declared(self) -> dict[str, str]:
        """The columns with one type, null aside, as the words of `types:`."""
        words = {name: _WORDS.get(self.allowed(name) - {"null"}) for name in self.names}
        return {name: word for name, word in words.items() if word}

    def _parts(self, schema: Any, depth: int) -> Iterator[dict[str, Any]]:
        if not isinstance(schema, dict) or depth > _DEPTH:
            return
        yield schema
        yield from self._parts(self._target(schema), depth + 1)
        for each in _list(schema.get("allOf")):
            yield from self._parts(each, depth + 1)

    def _everywhere(self, schema: Any, depth: int) -> Iterator[dict[str, Any]]:
        if depth > _DEPTH:
            return
        for part in self._parts(schema, depth):
            yield part
            for branch in self._branches(part):
                yield from self._everywhere(branch, depth + 4)

    @staticmethod
    def _branches(part: dict[str, Any]) -> Iterator[Any]:
        for key in ("anyOf", "oneOf"):
            yield from _list(part.get(key))
        for key in ("not", "if", "then", "else"):
            if key in part:
                yield part[key]
        yield from _map(part.get("dependentSchemas")).values()

    def _target(self, schema: dict[str, Any]) -> Any:
        """What a `$ref` within the schema refers to; None where there is none, or it is an anchor."""
        reference = schema.get("$ref")
        if not isinstance(reference, str) or not reference.startswith("#"):
            return None
        found: Any = self.root
        for part in reference[1:].split("/")[1:]:
            key = part.replace("~1", "/").replace("~0", "~")
            found = found.get(key) if isinstance(found, dict) else None
        return found

    def _types(self, schema: Any, depth: int) -> frozenset[str]:
        if not isinstance(schema, dict) or depth > _DEPTH:
            return ALL
        found = ALL
        if "type" in schema:
            names = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
            found &= frozenset(names) | (_NUMBERS if "number" in names else frozenset())
        for key, values in (("enum", schema.get("enum")), ("const", [schema.get("const")])):
            if key in schema:
                found &= frozenset(kind for value in _list(values) for kind in _kinds(value))
        if schema.get("$ref"):
            found &= self._types(self._target(schema), depth + 1)
        for each in _list(schema.get("allOf")):
            found &= self._types(each, depth + 1)
        for key in ("anyOf", "oneOf"):
            if _list(schema.get(key)):
                found &= frozenset().union(*(self._types(s, depth + 1) for s in schema[key]))
        if found == ALL and any(key in schema for key in _NUMERIC):
            return _NUMBERS  # a limit on a number means nothing else
        return found


def _of_column(part: dict[str, Any], name: str) -> Iterator[Any]:
    """The schemas that one part applies to the column."""
    found = False
    if name in _map(part.get("properties")):
        found = True
        yield part["properties"][name]
    for pattern, schema in _map(part.get("patternProperties")).items():
        try:
            matches = re.search(pattern, name)
        except re.error:
            continue  # only the validator knows this pattern
        if matches:
            found = True
            yield schema
    if not found and isinstance(part.get("additionalProperties"), dict):
        yield part["additionalProperties"]


def _kinds(value: Any) -> frozenset[str]:
    """The types a value of `enum` or `const` is of."""
    if isinstance(value, bool):
        return frozenset({"boolean"})
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        return frozenset({"integer"})
    if isinstance(value, float):
        return _NUMBERS
    names: dict[type, str] = {str: "string", dict: "object", list: "array"}
    return frozenset({names.get(type(value), "null")})


def _map(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
