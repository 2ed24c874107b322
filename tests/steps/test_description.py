from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from filemill.engine.description import answer
from filemill.ports.describe import Answer, Answers, ExpressionQuestion, Question, StepQuestion
from filemill.ports.step import Form, Grain, Scope

MODULE = '''
from __future__ import annotations
from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING
import polars as pl
from filemill import File, Reject, Tagged, step
if TYPE_CHECKING:
    from decimal import Decimal as Money

@step
def add_vat(row: dict, *, rate: float = 0.2, name: str = "vat", wait: timedelta | None = None) -> dict:
    """Add the tax.

    And more.
    """
    return row

def stream(rows: Iterable[dict]): yield from rows
def frame(frame: pl.DataFrame, *, columns: list[str]): return frame
def whole(file: File): ...
async def ask(row: dict): return row
@step(io=True, summary="Looks up.")
def look(row: dict[str, object], ctx): return row

def bare(row): return row
def hidden(row: Money): return row
def odd(row: int): return row
def second(row: dict, rate=1): return row
def any_kw(row: dict, **options): return row
def nothing(): ...
class Thing: ...
'''


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "mysteps.py").write_text(MODULE)
    (tmp_path / "broken.py").write_text("x = 1\nraise ValueError('boom')\n")
    (tmp_path / "syntax.py").write_text("def f(:\n")
    (tmp_path / "needs.py").write_text("import no_such_library_here\n")
    sys.dont_write_bytecode = True
    yield tmp_path
    sys.path[:] = [p for p in sys.path if p != str(tmp_path)]
    for name in ("mysteps", "broken", "syntax", "needs"):
        sys.modules.pop(name, None)


def ask(root: Path, path: str, **options: object) -> Answer:
    (answered,) = answer(Question(str(root), steps=(StepQuestion("k", path, options),))).steps
    return answered


def test_a_function_is_described(root: Path) -> None:
    found = ask(root, "mysteps.add_vat", rate="0.19", wait="PT5M")
    assert found.error == ""
    assert found.spec is not None
    assert found.spec.summary == "Add the tax."
    assert (found.spec.grain, found.spec.scope) == (Grain.RECORD, Scope.RECORD)
    assert found.spec.origin.endswith("mysteps.py")
    assert found.spec.options_schema is not None
    assert set(found.spec.options_schema["properties"]) == {"rate", "name", "wait"}
    assert found.options == {"rate": 0.19, "wait": "PT5M"}
    assert sys.path[0] == str(root)


@pytest.mark.parametrize(
    ("path", "grain", "scope", "takes"),
    [
        ("mysteps.stream", Grain.STREAM, Scope.FILE, Form.RECORDS),
        ("mysteps.whole", Grain.FILE, Scope.FILE, Form.FILE),
        ("mysteps.ask", Grain.RECORD, Scope.RECORD, Form.RECORDS),
        ("mysteps.look", Grain.RECORD, Scope.RECORD, Form.RECORDS),
    ],
)
def test_the_annotation_sets_the_grain(
    root: Path, path: str, grain: Grain, scope: Scope, takes: Form
) -> None:
    found = ask(root, path)
    assert found.error == ""
    assert found.spec is not None
    assert (found.spec.grain, found.spec.scope, found.spec.takes) == (grain, scope, takes)
    assert found.spec.io is (path in ("mysteps.ask", "mysteps.look"))


@pytest.mark.parametrize(
    ("path", "options", "error", "help_"),
    [
        ("mysteps.bare", {}, "`row` has no annotation", "row: dict"),
        ("mysteps.hidden", {}, "`Money` does not exist", "TYPE_CHECKING"),
        ("mysteps.odd", {}, "`row: int`", "annotate"),
        ("mysteps.second", {}, "`rate` is neither", "keyword-only"),
        ("mysteps.any_kw", {}, "`*options`", "keyword-only"),
        ("mysteps.nothing", {}, "nothing to work on", "annotate"),
        ("mysteps.Thing", {}, "a class", "def"),
        ("mysteps.ad_vat", {}, "no function `ad_vat`", "did you mean `mysteps.add_vat`"),
        ("nowhere.f", {}, "no module `nowhere`", "beside the main config"),
        ("broken.f", {}, "ValueError: boom (broken.py:2", "python -c"),
        ("syntax.f", {}, "syntax.py:1", "python -c"),
        ("needs.f", {}, "no_such_library_here", "install"),
        ("mysteps.add_vat", {"rat": "1"}, "no option `rat`", "did you mean `rate`"),
        ("mysteps.add_vat", {"rate": "much"}, "option `rate`", ""),
        ("mysteps.frame", {}, "needs the option `columns`", "no default"),
    ],
)
def test_every_failure_is_an_answer_with_help(
    root: Path, path: str, options: dict[str, object], error: str, help_: str
) -> None:
    found = ask(root, path, **options)
    assert error in found.error
    assert help_ in found.help


def test_a_wrong_option_is_pointed_at_and_the_spec_is_there(root: Path) -> None:
    found = ask(root, "mysteps.add_vat", rate="much")
    assert found.where == ("rate",)
    assert found.spec is not None


def test_expressions_are_answered(root: Path) -> None:
    asked = (
        ExpressionQuestion("a", "amount > 1", predicate=True),
        ExpressionQuestion("b", "SUM(amount)", predicate=False),
        ExpressionQuestion("c", "x > 0 and trim = 1", predicate=True),
        ExpressionQuestion("d", "DE", predicate=True),
    )
    given = answer(Question(str(root), expressions=asked)).expressions
    assert [a.key for a in given] == ["a", "b", "c", "d"]
    assert given[0].columns == ("amount",)
    assert given[0].error == ""
    assert all(a.error and a.help for a in given[1:])
    assert given[2].offset == 10


def test_taggers_are_found_or_not(root: Path) -> None:
    given = answer(Question(str(root), taggers=("mysteps.add_vat", "mysteps.nope"))).taggers
    assert [bool(a.error) for a in given] == [False, True]


def test_answers_travel_as_frames(root: Path) -> None:
    given = answer(
        Question(str(root), steps=(StepQuestion("k", "mysteps.add_vat", {"rate": "1"}),))
    )
    packed = msgspec.msgpack.encode(given)
    assert msgspec.msgpack.decode(packed, type=Answers) == given
