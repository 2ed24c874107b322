from __future__ import annotations

import subprocess
import sys

import pytest
from pydantic import ValidationError

from filemill.ports.registry import Registry
from filemill.ports.step import StepSpec

NAMES = (
    "read_lines read_csv read_jsonl read_json read_parquet read_xml parse_json tag_records derive select filter route "
    "write"
).split()


def options(name: str, **given: object) -> object:
    return Registry().get("steps", name).Options.model_validate(given)


@pytest.mark.parametrize("name", NAMES)
def test_every_step_describes_itself(name: str) -> None:
    component = Registry().get("steps", name)
    spec: StepSpec = component.spec
    assert spec.name == name
    assert spec.summary.endswith(".")
    assert name in spec.example
    schema = component.Options.model_json_schema()
    for field in schema.get("properties", {}).values():
        assert field.get("description"), field
    assert spec.shorthand == "" or spec.shorthand in component.Options.model_fields


@pytest.mark.parametrize("name", [n for n in NAMES if n != "route"])
def test_unknown_options_are_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="xyz"):
        options(name, xyz="1")


def test_the_step_modules_do_not_import_polars() -> None:
    code = (
        "import sys\nfrom filemill.ports.registry import Registry\nr = Registry()\n"
        f"for n in {NAMES!r}: r.get('steps', n)\nr.step('a.b')\nimport filemill\n"
        "assert 'polars' not in sys.modules, 'polars'\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_uses_point_at_expressions_tags_and_sinks() -> None:
    registry = Registry()

    def uses(name: str, **given: object) -> object:
        component = registry.get("steps", name)
        return component.uses(component.Options.model_validate(given))

    found = uses("tag_records", tags={"vip": "a > 1"})
    assert found.tags == ("vip",)
    assert (found.expressions[0].where, found.expressions[0].predicate) == (("vip",), True)
    found = uses("select", columns=["a", {"b": "UPPER(c)"}])
    assert (found.expressions[0].where, found.expressions[0].gives) == ((1, "b"), "b")
    assert uses("filter", where="a > 1").expressions[0].where == ()
    assert uses("write", to="photos").sinks == ("photos",)
    found = uses(
        "route", branches={"bad": "rejects", "vip": ["a", "b"], "x": {"to": "c"}, "else": "drop"}
    )
    assert found.sinks == ("rejects", "a", "b", "c")


@pytest.mark.parametrize(
    ("name", "given", "words"),
    [
        ("tag_records", {"tags": {"VIP": "a"}}, "lower-case"),
        ("tag_records", {"tags": {"else": "a"}}, "reserved"),
        ("tag_records", {"tags": {}}, "at least 1"),
        ("select", {"columns": ["a", {"a": "b"}]}, "twice"),
        ("read_csv", {"types": {"a": "flaot"}}, "float"),
        ("read_csv", {"header": "no"}, "columns"),
        ("read_csv", {"columns": ["a"]}, "header: false"),
        ("read_csv", {"quoting": "all"}, "none"),
        ("write", {"to": []}, "at least 1"),
        ("read_json", {"at": "data."}, "empty"),
        ("read_parquet", {"columns": []}, "at least 1"),
        ("read_parquet", {"nan": "zero"}, "null"),
        ("parse_json", {}, "column"),
        ("parse_json", {"column": "p", "else_tag": "else"}, "reserved"),
        ("parse_json", {"column": "p", "into": "value", "keep": True}, "into: columns"),
    ],
)
def test_wrong_options_say_what_is_wrong(name: str, given: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        options(name, **given)


def test_text_from_yaml_is_converted() -> None:
    read = options("read_csv", header="no", columns=["a"])
    assert read.header is False  # type: ignore[attr-defined]
