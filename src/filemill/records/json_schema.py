"""JSON Schemas (draft 2020-12) of records: read, judged whole, compiled.

Every keyword of a schema says something that is enforced, or is a plain note to people. What would be ignored
(an unknown keyword, one of an older draft, an unknown `format`, `then` without `if`) is a problem: a check that does
not check is worse than none. A schema stands alone: a `$ref` leads into the schema itself.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from filemill.model.errors import PermanentError

if TYPE_CHECKING:
    import jsonschema_rs

DIALECT = "https://json-schema.org/draft/2020-12/schema"
ONE = (
    "additionalProperties items contains propertyNames not if then else unevaluatedItems unevaluatedProperties"
).split()
"""Keywords whose value is a schema."""
SEVERAL = "allOf anyOf oneOf prefixItems".split()
"""Keywords whose value is a list of schemas."""
NAMED = "properties patternProperties dependentSchemas $defs definitions".split()
"""Keywords whose value maps names to schemas."""
_PLAIN = (
    "type enum const multipleOf maximum exclusiveMaximum minimum exclusiveMinimum maxLength minLength pattern "
    "maxItems minItems uniqueItems maxContains minContains maxProperties minProperties required dependentRequired "
    "format $schema $id $anchor $ref $dynamicRef $dynamicAnchor"
).split()
_NOTES = "title description default deprecated readOnly writeOnly examples $comment".split()
_KNOWN = frozenset((*ONE, *SEVERAL, *NAMED, *_PLAIN, *_NOTES))
FORMATS = (
    "date date-time duration email hostname idn-email idn-hostname ipv4 ipv6 iri iri-reference json-pointer regex "
    "relative-json-pointer time uri uri-reference uri-template uuid"
).split()
_NOT_CHECKED = "it would only be a note: validation takes no account of it"
_REFUSED = {
    "contentEncoding": _NOT_CHECKED,
    "contentMediaType": _NOT_CHECKED,
    "contentSchema": _NOT_CHECKED,
    "$vocabulary": "it is for meta-schemas: remove it",
    "dependencies": "it is of an older draft: write `dependentRequired` or `dependentSchemas`",
    "additionalItems": "it is of an older draft: write `prefixItems`, and `items` for the rest",
    "$recursiveRef": "it is of an older draft: write `$dynamicRef`",
    "$recursiveAnchor": "it is of an older draft: write `$dynamicAnchor`",
    "id": "it is of an older draft: write `$id`",
}
_NEEDS = {"then": "if", "else": "if", "minContains": "contains", "maxContains": "contains"}


class Flaw(msgspec.Struct, frozen=True):
    """One thing wrong with a schema. `at` is where: `3:7` of the text, or a JSON pointer (`#/properties/amount`)."""

    at: str
    message: str
    help: str = ""


class SchemaError(PermanentError):
    """A schema that cannot be used; the message names the first flaw, `at` where it is."""

    def __init__(self, message: str, *, help: str = "", at: str = "#") -> None:  # noqa: A002
        super().__init__(message, help=help)
        self.at = at


def read(text: str) -> dict[str, Any]:
    """The schema a text holds.

    Raises:
        SchemaError: it is no JSON object.
    """
    found = _parsed(text)
    if isinstance(found, Flaw):
        raise SchemaError(f"{found.at}: {found.message}", help=found.help)
    return found


def flaws(text: str) -> list[Flaw]:
    """Everything wrong with a schema's text; for a worker, since it loads the validator."""
    schema = _parsed(text)
    if isinstance(schema, Flaw):
        return [schema]
    found = list(_walk(schema, "#")) or list(_misshapen(schema))
    if found:
        return found
    try:
        compiled(schema)
    except SchemaError as error:
        return [Flaw(error.at, error.message, error.help)]
    return []


def compiled(schema: dict[str, Any]) -> jsonschema_rs.Validator:
    """The validator of a schema, formats included; nothing is ever fetched.

    Raises:
        SchemaError: it is no valid schema.
    """
    import jsonschema_rs  # noqa: PLC0415 -- workers only

    try:
        return jsonschema_rs.Draft202012Validator(
            schema, validate_formats=True, ignore_unknown_formats=False, offline=True
        )
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as error:
        path = getattr(error, "instance_path", [])
        raise SchemaError(str(error).splitlines()[0], at=_join("#", *path)) from error


def pointer(path: list[str | int]) -> str:
    """A place in a record, for people: `items/0/price`; empty for the record itself."""
    return "/".join(str(part).replace("~", "~0").replace("/", "~1") for part in path)


def _parsed(text: str) -> dict[str, Any] | Flaw:
    try:
        schema = json.loads(text)
    except json.JSONDecodeError as error:
        return Flaw(f"{error.lineno}:{error.colno}", f"not JSON: {error.msg}")
    except RecursionError:
        return Flaw("1:1", "not JSON: it is nested too deeply")
    if not isinstance(schema, dict):
        return Flaw("#", f"a schema of records is an object, not {json.dumps(schema)[:40]}")
    return schema


def _misshapen(schema: dict[str, Any]) -> Iterator[Flaw]:
    """What the draft's own schema says against it."""
    import jsonschema_rs  # noqa: PLC0415 -- workers only

    for error in jsonschema_rs.Draft202012Validator({"$ref": DIALECT}).iter_errors(schema):
        yield Flaw(_join("#", *error.instance_path), error.message)


def _walk(schema: Any, at: str) -> Iterator[Flaw]:
    """What would be ignored, or cannot be followed, here and below."""
    if not isinstance(schema, dict):
        return  # true and false are schemas, all else the draft's own schema refuses
    for key, value in schema.items():
        yield from _keyword(schema, key, value, at)
        if key in ONE:
            yield from _walk(value, _join(at, key))
        elif key in SEVERAL and isinstance(value, list):
            for number, each in enumerate(value):
                yield from _walk(each, _join(at, key, number))
        elif key in NAMED and isinstance(value, dict):
            for name, each in value.items():
                yield from _walk(each, _join(at, key, name))


def _keyword(schema: dict[str, Any], key: str, value: Any, at: str) -> Iterator[Flaw]:
    here = _join(at, key)
    if key in _REFUSED:
        yield Flaw(here, f"`{key}` is not supported", _REFUSED[key])
    elif key not in _KNOWN:
        near = difflib.get_close_matches(key, _KNOWN, n=1)
        advice = f"did you mean `{near[0]}`?" if near else "a note belongs into `$comment`"
        yield Flaw(here, f"JSON Schema 2020-12 has no keyword `{key}`", advice)
    elif key in _NEEDS and _NEEDS[key] not in schema:
        yield Flaw(here, f"`{key}` does nothing without `{_NEEDS[key]}`", "remove it, or add that")
    elif key == "format" and isinstance(value, str) and value not in FORMATS:
        near = difflib.get_close_matches(value, FORMATS, n=1)
        advice = f"did you mean `{near[0]}`?" if near else f"formats: {', '.join(FORMATS)}"
        yield Flaw(here, f"no format `{value}`", advice)
    elif key in ("$ref", "$dynamicRef") and isinstance(value, str) and not value.startswith("#"):
        advice = "put what it refers to below `$defs`: {$ref: '#/$defs/NAME'}"
        yield Flaw(here, f"`{value}` is another document, which is never fetched", advice)
    elif key == "$schema" and isinstance(value, str) and value.rstrip("#") != DIALECT:
        yield Flaw(here, f"`{value}` is another dialect", f'write "{DIALECT}"')


def _join(at: str, *parts: str | int) -> str:
    return f"{at}/{pointer(list(parts))}" if parts else at
