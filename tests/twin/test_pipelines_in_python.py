"""The Python twin: what is written in Python is what the same words in YAML are, and is judged alike."""

import datetime as dt
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from filemill import Reject, builtin, pipeline, step
from filemill.builtin import derive, filter, read_csv, route, tag_records, write  # noqa: A004 -- the step's name
from filemill.config import ConfigProblems, load
from filemill.engine.description import answer
from filemill.model.errors import UsageError
from filemill.pipeline_api import Pipeline

STEPS = """
    from filemill import step


    @step
    def add_vat(row: dict, *, rate: float = 0.2) -> dict:
        return row | {"vat": row["amount"] * rate}


    def plain(row: dict, *, words: list[str] = ()) -> dict:
        return row
"""
FLOWS = """
    import steps
    from filemill import pipeline
    from filemill.builtin import derive, filter, read_csv, route, tag_records

    orders = pipeline(
        "orders",
        when="orders and not partner:test",
        tolerance="1%",
        retry={"attempts": 3},
        steps=[
            read_csv(types={"amount": float}, separator=","),
            filter("amount > 0"),
            tag_records({"vip": "amount > 10000"}),
            steps.add_vat.opts(rate=0.25).when("not vip").beside(id="vat", timeout="30s"),
            steps.plain,
            route({
                "vip": {"steps": [derive({"half": "amount / 2"})], "to": ["crm", "books"]},
                "else": "drop",
            }).beside(mode="all"),
        ],
    )
"""
AROUND = """
version: 1
tags: {orders: {name: "*.csv"}, "partner:test": {path: "test/*"}}
sinks: {crm: {folder: crm}, books: {folder: books}}
"""
YAML = """
pipelines:
  orders:
    when: orders and not partner:test
    tolerance: 1%
    retry: {attempts: 3}
    steps:
      - read_csv: {types: {amount: float}, separator: ","}
      - filter: "amount > 0"
      - tag_records: {vip: "amount > 10000"}
      - steps.add_vat: {rate: 0.25}
        if: not vip
        id: vat
        timeout: 30s
      - steps.plain
      - route:
          vip: {steps: [{derive: {half: "amount / 2"}}], to: [crm, books]}
          else: drop
        mode: all
"""


def loaded(folder, text):
    (folder / "filemill.yaml").write_text(AROUND + text)
    return load(str(folder / "filemill.yaml"), environ={}, describe=answer)


def problems(folder, text):
    with pytest.raises(ConfigProblems) as error:
        loaded(folder, text)
    return [each for each in error.value.problems if each.severity == "error"]


def test_a_dotted_path_gives_the_plan_that_yaml_gives(modules):
    folder = modules(steps=STEPS, flows=FLOWS)
    python = loaded(folder, "pipelines: {orders: flows.orders}")
    yaml = loaded(folder, YAML)
    assert python.plan == yaml.plan
    assert python.digest != yaml.digest
    assert (
        '"flows.py"' in python.text
    )  # the revision keeps the module it came from, and what that imports
    assert '"steps.py"' in python.text


def test_written_as_yaml_it_is_the_same(modules):
    folder = modules(steps=STEPS, flows=FLOWS)
    made = importlib.import_module("flows").orders.to_yaml()
    assert loaded(folder, made).plan == loaded(folder, YAML).plan


def test_the_revision_follows_what_python_makes_not_only_its_text(modules, monkeypatch):
    flows = FLOWS.replace('"1%"', 'os.environ["TOLERANCE"]').replace(
        "import steps", "import os, steps"
    )
    digests = set()
    for tolerance in ("1%", "2%"):
        folder = modules(steps=STEPS, flows=flows)
        monkeypatch.setenv("TOLERANCE", tolerance)
        sys.modules.pop("flows", None)
        digests.add(loaded(folder, "pipelines: {orders: flows.orders}").digest)
    assert len(digests) == 2


def test_what_is_wrong_is_said_at_its_place_in_the_python(modules):
    flows = (
        FLOWS.replace("amount > 0", "SUM(amount) > 0")
        .replace("30s", "30 parsecs")
        .replace('"drop"', '"bokks"')
    )
    folder = modules(steps=STEPS, flows=flows)
    lines = Path(folder / "flows.py").read_text().splitlines()
    found = problems(folder, "pipelines: {orders: flows.orders}")
    assert [each.code for each in found] == ["expression", "bad-value", "unknown-sink"]
    for each in found:
        assert each.file.endswith("flows.py")
        assert each.source == lines[each.line - 1]
    assert [lines[each.line - 1].split("(")[0].strip() for each in found] == [
        "filter",
        "steps.add_vat.opts",
        "route",
    ]
    assert found[2].help == "did you mean `books`?"
    # The words are those that YAML gets.
    wrong = YAML.replace("amount > 0", "SUM(amount) > 0").replace("30s", "30 parsecs")
    assert [each.message for each in problems(folder, wrong)] == [
        each.message for each in found[:2]
    ]


@pytest.mark.parametrize(
    ("path", "message", "advice"),
    [
        ("flows.ordrs", "`flows` has no pipeline `ordrs`", "did you mean `flows.orders`?"),
        ("flows.steps", "`flows.steps` is of type module, not a pipeline", "make it with"),
        (
            "flaws.orders",
            "no pipeline `flaws.orders`: there is no module `flaws`",
            "beside the main",
        ),
    ],
)
def test_a_path_that_leads_nowhere(modules, path, message, advice):
    folder = modules(steps=STEPS, flows=FLOWS)
    (found,) = problems(folder, f"pipelines: {{orders: {path}}}")
    assert found.message == message
    assert advice in found.help
    assert found.file.endswith("filemill.yaml")


def test_without_a_worker_it_is_not_read(modules):
    folder = modules(steps=STEPS, flows=FLOWS)
    (folder / "filemill.yaml").write_text(AROUND + "pipelines: {orders: flows.orders}")
    with pytest.raises(ConfigProblems, match="error"):
        load(str(folder / "filemill.yaml"), environ={})
    assert "flows" not in sys.modules


@step
def known(row: dict, *, rate: float = 0.2, ctx: object = None) -> dict:
    """Stay a function."""
    del ctx
    if not row:
        raise Reject("empty")
    return row | {"vat": row["amount"] * rate}


def test_a_marked_function_stays_one():
    assert known({"amount": 10})["vat"] == 2
    assert (known.__name__, known.__doc__) == ("known", "Stay a function.")
    with pytest.raises(Reject):
        known({})


@pytest.mark.parametrize(
    ("make", "message", "advice"),
    [
        (lambda: known.opts(rat=1), "has no option `rat`", "did you mean `rate`?"),
        (lambda: known.opts(ctx=1), "has no option `ctx`", "its options: `rate`"),
        (lambda: read_csv(tpyes={}), "`read_csv` has no option `tpyes`", "did you mean `types`?"),
        (lambda: filter(sql="a > 1"), "`filter` takes one value", "filter"),
        (lambda: read_csv("x", types={}), "options or one value, not both", "read_csv"),
        (lambda: step(lambda row: row).opts(), "could find it", "at the top of a module"),
        (lambda: pipeline("p", when="a", steps=[3]), "int is no step", "filemill.builtin"),
        (
            lambda: pipeline("p", when="a", steps=[write(object())]).to_yaml(),
            "object is nothing a configuration can hold",
            "options are texts",
        ),
    ],
)
def test_a_wrong_name_is_said_at_once(make, message, advice):
    with pytest.raises(UsageError, match=re.escape(message)) as error:
        make()
    assert advice in error.value.help


def test_the_namespace_of_installed_steps():
    assert "read_csv" in dir(builtin)
    assert "summary" not in dir(builtin)
    assert "Takes" not in builtin.filter.__doc__
    with pytest.raises(AttributeError, match="no step `raed_csv`"):
        builtin.raed_csv  # noqa: B018 -- asking is the test


texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-1000, 1000),
        st.floats(allow_nan=False, allow_infinity=False),
        texts,
        st.sampled_from(["on", "1.10", "007", "*.csv", "a # b", "{x}", "12:30:00", "- a", "null"]),
        st.timedeltas(dt.timedelta(0), dt.timedelta(days=2)),
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None)
@example(value=1e-09)
@example(value={"\x85": None, "a\u2028b": "x\n y"})
@given(value=values)
def test_whatever_an_option_is_yaml_reads_it_back_as_python_wrote_it(value):
    from filemill.config.positions import plain
    from filemill.config.problems import Problems
    from filemill.config.pythonic import node_of
    from filemill.config.reading import read

    made = pipeline("p", when="a", steps=[known.opts(rate=value), derive({"x": "1"})])
    found = Problems()
    tree = read(made.to_yaml().encode(), "made.yaml", found)
    here = plain(node_of(made.written(), found))
    if tree is None or found.failed:
        # What YAML refuses to hold (an odd key, a character nobody can see) is refused either way.
        assert {each.code for each in found.all()} <= {
            "encoding",
            "yaml",
            "duplicate-key",
            "merge-key",
        }
        return
    assert plain(tree)["pipelines"]["p"] == here


def test_a_type_checker_knows_the_words(tmp_path):
    (tmp_path / "flows.py").write_text(
        "from filemill import Pipeline, Step, pipeline, step\n"
        "from filemill.builtin import read_csv, route\n\n\n"
        "@step\n"
        "def add_vat(row: dict[str, float], *, rate: float = 0.2) -> dict[str, float]:\n"
        "    return row\n\n\n"
        "@step(io=True)\n"
        "async def fetch(row: dict[str, float]) -> dict[str, float]:\n"
        "    return row\n\n\n"
        "placed: Step = add_vat.opts(rate=0.1).when('not bad')\n"
        "row: dict[str, float] = add_vat({'a': 1.0}, rate=0.3)\n"
        "orders: Pipeline = pipeline(\n"
        "    'orders',\n"
        "    when='orders',\n"
        "    steps=[read_csv(types={'a': float}), add_vat, fetch, placed, route({'else': 'out'})],\n"
        ")\n"
        "add_vat({'a': 1.0}, rate='high')\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-incremental", "flows.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.count("error:") == 1, done.stdout + done.stderr
    assert 'Argument "rate" to "__call__" of "StepFunction"' in done.stdout


def test_route_and_tags_read_as_they_are_written():
    made = pipeline(
        "p", when="a", steps=[tag_records({"x": "a > 1"}), route({"x": "s", "else": "t"})]
    )
    assert isinstance(made, Pipeline)
    assert repr(made.steps[0]) == "<step tag_records>"
