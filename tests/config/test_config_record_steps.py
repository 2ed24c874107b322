"""check, map, redact, dedupe and hold as they are written: what is said of mistakes, and what the plan has."""

from __future__ import annotations

import json
import sys
import textwrap

import pytest

from filemill.engine.description import answer
from filemill.service.children import describe

HEAD = """\
version: 1
sources: {in: {folder: inbox}}
tags: {t: {name: "*"}}
sinks: {out: {folder: out}, raw: {folder: raw, as: received}}
pipelines:
  p:
    when: t
    steps:
      - read_csv
"""
TAIL = "      - write: out\n"
UNUSED = "unused-sink"


def said(project, steps: str, **kwargs) -> str:
    text = HEAD.replace(", raw: {folder: raw, as: received}", "") + steps + TAIL
    return project.said(text, **kwargs)


@pytest.fixture(autouse=True)
def _own_import_path(monkeypatch) -> None:
    """What a worker would do to its own import path is undone."""
    monkeypatch.setattr(sys, "path", sys.path[:])


def _lines(text: str) -> list[str]:
    return textwrap.dedent(text).replace(" \\\n", " ").splitlines()


def schema(project, content: object) -> None:
    (project.root / "schemas").mkdir(exist_ok=True)
    text = content if isinstance(content, str) else json.dumps(content)
    (project.root / "schemas" / "s.json").write_text(text)


def test_a_schemas_flaws_point_at_the_config_and_into_the_schema(project) -> None:
    schema(project, {"properties": {"a": {"minimun": 1}, "b": {"format": "data"}}})
    told = said(project, "      - check: schemas/s.json\n", describe=answer)
    assert told.splitlines()[:-1] == _lines(
        """\
        error[bad-schema]: schemas/s.json#/properties/a/minimun: JSON Schema 2020-12 has no keyword \\
        `minimun` (pipeline p, step 2)
          --> filemill.yaml:10:16
        10 |       - check: schemas/s.json
           |                ^^^^^^^^^^^^^^
        help: did you mean `minimum`?
        error[bad-schema]: schemas/s.json#/properties/b/format: no format `data` (pipeline p, step 2)
          --> filemill.yaml:10:16
        10 |       - check: schemas/s.json
           |                ^^^^^^^^^^^^^^
        help: did you mean `date`?
        """
    )
    schema(project, "{\n  ,")
    assert "schemas/s.json:2:3: not JSON" in said(
        project, "      - check: {schema: schemas/s.json}\n", describe=answer
    )


@pytest.mark.parametrize(
    ("step", "message", "advice"),
    [
        ("check: schemas/none.json", "schema schemas/none.json: No such file", "relative to the"),
        ("check: {else_tag: bad}", "pipeline p, step 2 needs `schema`", "such as"),
        ("check: {schema: schemas/s.json, else_tag: A b}", "`A b`", ""),
        ("check: {schema: {type: object}}", "a schema is the path of a file", "write `schema: "),
        ("check: schemas", "Is a directory", ""),
        ("redact: {columns: {a: {keep_last: 4, mask: x}}}", "exclude each other", ""),
        ("redact: {columns: {a: {by: x}}}", "`by` is what `pattern` puts in", ""),
        ("redact: {columns: {a: {hash: short}}}", "shorter than 16", ""),
        ("redact: {columns: {a: {hash: {secret: NOPE}}}}", "secret `NOPE` is not set", "NOPE_FILE"),
        ("redact: {columns: {a: {keep: 4}}}", "no key `keep`", ""),
        ("redact: []", "at least one", ""),
        ("dedupe", "needs `keys`", "such as - dedupe: [order_id]"),
        ("dedupe: [a, a]", "a column is there twice", ""),
        ("dedupe: {keys: [a], keep: last}", "`first`", ""),
        ("hold", "needs `message`", "such as"),
        ("hold: {message: m, choice: [a]}", "no key `choice`", "`choices`"),
        ("hold: {message: m, choices: [Yes please]}", "`Yes please` becomes part of a tag", ""),
        ("hold: {message: m, choices: ['a:b']}", "leave the `:` out", ""),
        ("hold: {message: m, choices: [a, a]}", "`a` is there twice", ""),
        ("map", "needs `function`", "such as"),
        ("map: {function: steps.f, whit: {}}", "no key `whit`", "`with`"),
        ("map: add_vat", "add_vat", ""),
    ],
)
def test_mistakes(project, step: str, message: str, advice: str) -> None:
    schema(project, {})
    told = said(project, f"      - {step}\n")
    assert "error[" in told
    assert message in told
    assert advice in told
    assert "filemill.yaml:10:" in told


def test_a_pattern_that_does_not_compile(project) -> None:
    steps = "      - redact: {columns: {a: {pattern: '(?=x)'}}}\n"
    told = said(project, steps, describe=answer)
    assert "error[bad-pattern]: pattern `(?=x)`: look-around" in told
    assert "help: use a function of your own" in told
    assert "filemill.yaml:10:41" in told


def test_what_is_hidden_is_not_shown_as_received(project) -> None:
    steps = """\
      - tag_records: {a: "x = 1"}
      - write: raw
      - redact: [email, phone]
      - route: {a: {steps: [{redact: [z]}], to: out}, else: raw}
"""
    assert project.said(HEAD + steps).splitlines()[:-1] == _lines(
        """\
        error[shows-hidden]: sink `raw` writes records as they were received, with what `redact` hides: \\
        `email`, `phone` (pipeline p, step 5)
          --> filemill.yaml:13:61
        13 |       - route: {a: {steps: [{redact: [z]}], to: out}, else: raw}
           |                                                             ^^^
        help: remove `as: received` from `raw`, or send them there before `redact`
        """
    )
    branch = """\
      - tag_records: {a: "x = 1"}
      - route: {a: {steps: [{redact: [z]}], to: raw}, else: out}
"""
    assert "error[shows-hidden]" in project.said(HEAD + branch)
    fine = "      - write: raw\n      - redact: [email]\n"
    assert project.codes(HEAD + fine + TAIL) == []


def test_a_schema_is_part_of_the_revision_and_the_plan_has_its_text(project) -> None:
    schema(project, {"required": ["a"]})
    steps = "      - check: {schema: schemas/s.json, else_tag: bad}\n      - write: raw\n        if: bad\n"
    first = project.load(HEAD + steps + TAIL)
    assert first.plan.pipelines[0].steps[1].options == {
        "schema": {
            "path": str(project.root / "schemas" / "s.json"),
            "text": '{"required": ["a"]}',
        },
        "else_tag": "bad",
    }
    assert first.warnings == ()
    assert '{\\"required\\": [\\"a\\"]}' in first.text
    schema(project, {"required": ["b"]})
    assert project.load(HEAD + steps + TAIL).digest != first.digest


def test_a_schema_beside_the_project_is_part_of_the_revision_too(project) -> None:
    inner = project.root / "inner"
    (inner / "inbox").mkdir(parents=True)
    schema(project, {"required": ["a"]})
    project.write(
        HEAD + "      - check: ../schemas/s.json\n      - write: raw\n" + TAIL,
        "inner/filemill.yaml",
    )
    from filemill.config import load

    loaded = load(str(inner / "filemill.yaml"), environ={})
    assert '"../schemas/s.json"' in loaded.text


def test_a_hash_key_is_a_secret_everywhere(project) -> None:
    steps = "      - redact: {columns: {email: {hash: {secret: PEPPER}}, ssn: mask}}\n"
    text = (HEAD + steps + TAIL).replace(", raw: {folder: raw, as: received}", "")
    loaded = project.load(text, environ={"PEPPER": "p3pper-p3pper-p3pper"})
    options = loaded.plan.pipelines[0].steps[1].options
    assert options["columns"]["email"]["hash"] == "p3pper-p3pper-p3pper"
    assert "p3pper" not in loaded.text + repr(loaded.effective) + repr(loaded.warnings)


MODULE = """
import polars as pl
from collections.abc import Iterable
from filemill import File

def record(row: dict, *, rate: float = 1.0):
    "Add a rate."
    return row
def stream(rows: Iterable[dict]): yield from rows
def frame(frame: pl.DataFrame): return frame
def whole(file: File): return None
"""


SPELLED = """\
      - map: steps.record
      - map: {function: steps.record, with: {rate: '2'}}
      - map: steps.stream
        if: t
      - map: {function: steps.frame}
        id: x
"""
PLAIN = """\
      - steps.record
      - steps.record: {rate: '2'}
      - steps.stream:
        if: t
      - steps.frame:
        id: x
"""


def test_map_is_the_dotted_path_spelled_out(project) -> None:
    (project.root / "steps.py").write_text(MODULE)
    loaded = [
        project.load(
            (HEAD + steps + TAIL).replace(", raw: {folder: raw, as: received}", ""),
            describe=describe,
        )
        for steps in (SPELLED, PLAIN)
    ]
    assert loaded[0].plan == loaded[1].plan
    assert loaded[0].warnings == loaded[1].warnings == ()
    assert '"steps.py"' in loaded[0].text
    told = said(project, "      - map: steps.whole\n", describe=describe)
    assert "error[step-order]" in told


def test_maps_mistakes_are_those_of_the_function(project) -> None:
    (project.root / "steps.py").write_text(MODULE)
    told = said(
        project, "      - map: {function: steps.record, with: {rte: 1}}\n", describe=describe
    )
    assert told.splitlines()[:-1] == _lines(
        """\
        error[bad-option]: `steps.record` has no option `rte` (pipeline p, step 2)
          --> filemill.yaml:10:46
        10 |       - map: {function: steps.record, with: {rte: 1}}
           |                                              ^^^
        help: did you mean `rate`?
        """
    )
    told = said(project, "      - map: steps.recrod\n", describe=describe)
    assert "filemill.yaml:10:14" in told
    assert "did you mean `steps.record`?" in told


OVERLAP = """\
      - steps.record: {}
        concurrency: 4
      - steps.frame:
        io: true
      - dedupe: [a]
        concurrency: 4
      - steps.record:
        io: true
        concurrency: 4
      - steps.waits:
        concurrency: 4
"""


def test_what_overlaps_nothing_is_told(project) -> None:
    (project.root / "steps.py").write_text(MODULE + "async def waits(row: dict): return row\n")
    told = said(project, OVERLAP, describe=describe)
    assert [line for line in told.splitlines() if "[no-overlap]" in line] == [
        "warning[no-overlap]: `concurrency` does nothing without `io: true` (pipeline p, step 2)",
        "warning[no-overlap]: `io` does nothing beside `steps.frame` (pipeline p, step 3)",
        "warning[no-overlap]: `concurrency` does nothing beside `dedupe` (pipeline p, step 4)",
    ]


def test_a_choice_is_a_tag_that_is_made_and_that_nobody_has_to_use(project) -> None:
    steps = (
        "      - hold: {message: look, choices: [pay, reject]}\n"
        "      - filter: 'a > 1'\n        if: choice:reject\n"
    )
    assert "choice:" not in said(project, steps)
    assert "nothing makes the tag `choice:rejekt`" in said(
        project, steps.replace("choice:reject", "choice:rejekt")
    )
