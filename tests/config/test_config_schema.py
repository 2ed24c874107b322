from __future__ import annotations

import json
import re

from filemill.config.reference import reference
from filemill.config.schema import schema
from filemill.ports.registry import Registry


def accepts(node, value, root) -> bool:  # noqa: C901, PLR0911, PLR0912 -- one keyword after the other
    """As much of JSON Schema 2020-12 as the generated one uses; an unknown keyword is an error."""
    known = {
        "$ref", "$defs", "$schema", "title", "description", "type", "enum", "anyOf", "properties", "required",
        "additionalProperties", "patternProperties", "propertyNames", "items", "minItems", "minProperties",
        "minimum", "maximum", "exclusiveMinimum", "pattern", "minLength", "maxLength",
    }  # fmt: skip
    assert set(node) <= known, set(node) - known
    if "$ref" in node and not accepts(root["$defs"][node["$ref"].rpartition("/")[2]], value, root):
        return False
    if "anyOf" in node and not any(accepts(each, value, root) for each in node["anyOf"]):
        return False
    types = node.get("type")
    if types is not None:
        names = {
            dict: "object", list: "array", str: "string", bool: "boolean", int: "integer", float: "number",
            type(None): "null",
        }  # fmt: skip
        types = [types] if isinstance(types, str) else types
        kind = names[type(value)]
        if kind not in types and not (kind == "integer" and "number" in types):
            return False
    if "enum" in node and value not in node["enum"]:
        return False
    if isinstance(value, str) and "pattern" in node and not re.search(node["pattern"], value):
        return False
    if isinstance(value, int) and value < node.get("minimum", value):
        return False
    if isinstance(value, list):
        if len(value) < node.get("minItems", 0):
            return False
        return all(accepts(node.get("items", {}), each, root) for each in value)
    if isinstance(value, dict):
        if not set(node.get("required", ())) <= set(value):
            return False
        for key, each in value.items():
            if not accepts(node.get("propertyNames", {}), key, root):
                return False
            if key in node.get("properties", {}):
                below = node["properties"][key]
            else:
                below = next(
                    (s for p, s in node.get("patternProperties", {}).items() if re.search(p, key)),
                    node.get("additionalProperties", {}),
                )
            if below is False or (below is not True and not accepts(below, each, root)):
                return False
    return True


GOOD = {
    "version": 1,
    "workers": 4,
    "timezone": "UTC",
    "max_record": "4MiB",
    "defaults": {"retry": {"attempts": 5, "min": "2s"}},
    "sources": {"in": {"folder": "inbox", "tags": ["a"], "settle": "2s", "recursive": False}},
    "tags": {"a:b": {"name": "*.csv"}, "c": [{"header": ["x"]}, {"size": ">1MB"}]},
    "pipelines": {
        "p": {
            "when": "a",
            "tolerance": 0,
            "steps": [
                "read_csv",
                {"filter": "a > 0"},
                {"steps.mine": {"rate": 0.2}, "if": "a", "timeout": "5m"},
                {"derive": {"a": "b"}, "id": "x"},
                {"select": ["a", {"b": "c"}]},
                {
                    "route": {"a": ["s"], "b": {"steps": ["steps.f"], "to": "s"}, "else": "drop"},
                    "mode": "all",
                },
            ],
        }
    },
    "sinks": {"s": {"folder": {"secret": "OUT"}, "name": "{path}"}},
}


def test_it_accepts_what_the_language_accepts():
    made = schema()
    assert json.loads(json.dumps(made)) == made
    assert made["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert accepts(made, GOOD, made)


def test_it_refuses_what_the_language_refuses():
    made = schema()

    def wrong(change) -> bool:
        document = json.loads(json.dumps(GOOD))
        change(document)
        return not accepts(made, document, made)

    assert wrong(lambda d: d.update(versoin=1))
    assert wrong(lambda d: d.update(version=2))
    assert wrong(lambda d: d["sources"]["in"].update(setle="2s"))
    assert wrong(lambda d: d["sources"]["in"].pop("folder"))
    assert wrong(lambda d: d["pipelines"]["p"].pop("when"))
    assert wrong(lambda d: d["pipelines"]["p"]["steps"].append("nope"))
    assert wrong(lambda d: d["pipelines"]["p"]["steps"].append({"read_csv": {"seperator": ";"}}))
    assert wrong(lambda d: d["pipelines"]["p"]["steps"][5]["route"].pop("else"))
    assert wrong(lambda d: d["tags"].update({"not": {"name": "x"}}))
    assert wrong(lambda d: d["tags"].update({"A": {"name": "x"}}))


def test_a_folder_is_polled_as_often_as_an_editor_is_told():
    made = schema()

    def fits(poll) -> bool:
        document = json.loads(json.dumps(GOOD))
        document["sources"]["in"]["poll"] = poll
        return accepts(made, document, made)

    assert fits("always")
    assert fits("5s")
    assert not fits("often")


def test_it_knows_the_formats_in_and_out():
    made = schema()

    def fits(step, **sink) -> bool:
        document = json.loads(json.dumps(GOOD))
        document["pipelines"]["p"]["steps"] = [step, {"write": "s"}]
        document["sinks"]["s"].update(sink)
        return accepts(made, document, made)

    assert fits("read_json", format="json", compress="zst")
    assert fits({"read_json": {"at": "data.items"}}, format="parquet", compress="gz")
    assert fits({"read_json": {"at": ["a.b", "c"], "types": {"n": "integer"}}})
    assert fits({"read_parquet": {"columns": ["a"], "nan": "null"}})
    assert fits({"parse_json": "payload"})
    assert fits({"parse_json": {"column": "p", "prefix": "p_", "keep": True, "else_tag": "bad"}})
    assert not fits("read_json", compress="bz2")
    assert not fits("read_json", format="xml")
    assert not fits({"read_json": {"att": "data"}})
    assert not fits({"read_parquet": {"nan": "zero"}})
    assert not fits({"parse_json": {"prefix": "p_"}})


def test_the_reference_names_everything_that_is_installed():
    registry = Registry()
    text = reference(registry)
    assert text.endswith("\n")
    assert not text.endswith("\n\n")
    for name in registry.names("steps"):
        component = registry.get("steps", name)
        assert f"### {name}\n" in text
        assert component.spec.example in text
    for kind in ("sources", "sinks"):
        for name in registry.names(kind):
            for field, info in registry.get(kind, name).Options.model_fields.items():
                if not info.exclude:
                    assert f"| `{info.alias or field}` |" in text
    assert reference(registry) == text
    for line in text.splitlines():
        if line.startswith("|"):
            assert len(re.findall(r"(?<!\\)\|", line)) == 5
