"""Schemas of records: what would be ignored is refused, and what they say of columns."""

from __future__ import annotations

import json
from typing import Any

import pytest

from filemill.records.json_schema import DIALECT, FORMATS, SchemaError, flaws, read
from filemill.records.schema_columns import ALL, Columns

WHOLE: dict[str, Any] = {
    "$schema": DIALECT,
    "$id": "https://example.com/order",
    "title": "an order",
    "type": "object",
    "properties": {
        "order_id": {"type": "string", "pattern": "^[a-z]+-[0-9]+$"},
        "amount": {"type": "number", "exclusiveMinimum": 0, "multipleOf": 0.01},
        "lines": {
            "type": "array",
            "prefixItems": [{"const": "x"}],
            "items": {"$ref": "#/$defs/line"},
            "contains": {"required": ["sku"]},
            "minContains": 1,
            "uniqueItems": True,
        },
    },
    "patternProperties": {"^x_": {"$ref": "#/$defs/line"}},
    "propertyNames": {"maxLength": 40},
    "dependentRequired": {"amount": ["order_id"]},
    "if": {"required": ["amount"]},
    "then": {"minProperties": 1},
    "unevaluatedProperties": False,
    "$defs": {"line": {"type": ["object", "null"], "description": "one of them"}},
}


def test_every_keyword_that_is_enforced_is_taken() -> None:
    assert flaws(json.dumps(WHOLE)) == []
    assert flaws(json.dumps({"properties": {f: {"format": f} for f in FORMATS}})) == []


@pytest.mark.parametrize(
    ("schema", "at", "message", "advice"),
    [
        ({"properties": {"a": {"minimun": 3}}}, "#/properties/a/minimun", "no keyword `minimun`", "`minimum`"),
        ({"allOf": [{"frobnicate": 1}]}, "#/allOf/0/frobnicate", "no keyword", "$comment"),
        ({"$defs": {"x/y": {"items": {"nope": 1}}}}, "#/$defs/x~1y/items/nope", "no keyword", ""),
        ({"format": "data-time"}, "#/format", "no format `data-time`", "`date-time`"),
        ({"format": "credit-card"}, "#/format", "no format", "formats: date"),
        ({"$ref": "https://example.com/x.json"}, "#/$ref", "another document", "$defs"),
        ({"$ref": "other.json#/x"}, "#/$ref", "another document", "$defs"),
        ({"$ref": "#/$defs/nowhere"}, "#", "does not exist", ""),
        ({"$schema": "http://json-schema.org/draft-07/schema#"}, "#/$schema", "another dialect", "2020-12"),
        ({"dependencies": {}}, "#/dependencies", "not supported", "dependentRequired"),
        ({"items": {"contentEncoding": "base64"}}, "#/items/contentEncoding", "not supported", "note"),
        ({"then": {"type": "object"}}, "#/then", "nothing without `if`", ""),
        ({"type": "sting"}, "#/type", "not valid", ""),
        ({"properties": {"a": {"minimum": "3"}}}, "#/properties/a/minimum", 'not of type "number"', ""),
        ({"properties": {"a": {"pattern": "("}}}, "#/properties/a/pattern", "regex", ""),
        ([1], "#", "an object, not [1]", ""),
    ],
)  # fmt: skip
def test_what_would_be_ignored_is_a_flaw(schema: Any, at: str, message: str, advice: str) -> None:
    found = flaws(json.dumps(schema))
    assert found[0].at == at
    assert message in found[0].message
    assert advice in found[0].help


def test_all_flaws_are_told_at_once_and_no_json_by_its_place() -> None:
    both = {"properties": {"a": {"minimun": 1}, "b": {"format": "dat"}}}
    assert [flaw.at for flaw in flaws(json.dumps(both))] == [
        "#/properties/a/minimun",
        "#/properties/b/format",
    ]
    assert flaws('{\n  "type": \n}')[0].at == "3:1"
    with pytest.raises(SchemaError, match="1:1: not JSON"):
        read("")
    assert flaws("[" * 100_000)[0].message.startswith("not JSON")


def test_a_schemas_columns_and_the_types_it_allows() -> None:
    columns = Columns(
        {
            "properties": {
                "id": {"type": "integer"},
                "amount": {"$ref": "#/$defs/money"},
                "price": {"minimum": 0},
                "paid": {"enum": [True, False]},
                "name": {"type": ["string", "null"]},
                "either": {"type": ["integer", "string"]},
                "free": {},
            },
            "allOf": [{"properties": {"amount": {"type": ["integer", "null"]}}}],
            "required": ["id", "code"],
            "anyOf": [{"properties": {"kind": {"const": "a"}}}, {"properties": {"kind": {"const": 1}}}],
            "$defs": {"money": {"type": ["number", "null"]}},
        }
    )  # fmt: skip
    assert columns.names == (
        "id", "amount", "price", "paid", "name", "either", "free", "code", "kind",
    )  # fmt: skip
    assert columns.declared() == {
        "id": "integer",
        "amount": "integer",
        "price": "float",
        "paid": "boolean",
        "name": "text",
    }
    assert columns.allowed("kind") == {"string", "integer"}
    assert columns.allowed("free") == columns.allowed("unheard of") == ALL
    assert not columns.sees_all
    assert Columns({"additionalProperties": False}).sees_all
    by_pattern = Columns({"patternProperties": {"^n_": {"type": "integer"}}})
    assert by_pattern.sees_all
    assert by_pattern.allowed("n_a") == {"integer"}


def test_a_schema_that_refers_to_itself_ends() -> None:
    columns = Columns({"$ref": "#/$defs/a", "$defs": {"a": {"allOf": [{"$ref": "#/$defs/a"}]}}})
    assert columns.names == ()
    again = {"properties": {"x": {"$ref": "#/properties/x"}}}
    assert Columns(again).allowed("x") == ALL
