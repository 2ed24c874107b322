"""A step that raises on a whole batch: the records it chokes on are found, the others go on."""

from __future__ import annotations

import os

import pytest
from milling import Mill, balanced, step

from filemill.model.plan import Tolerance
from filemill.model.runs import RunResult

FRAME = (
    "import polars as pl\ncalls = []\ndef f(frame: pl.DataFrame):\n    calls.append(frame.height)\n"
)


def data(count: int) -> bytes:
    return b"id\n" + b"".join(b"%d\n" % n for n in range(count))


def run(
    mill: Mill, body: str, content: bytes, **plan: object
) -> tuple[RunResult, bytes, list[int]]:
    mill.module("mine", FRAME + body)
    plan.setdefault("tolerance", Tolerance(1_000))
    (result,), out = mill.run(
        [step("read_csv"), step("mine.f"), step("write", to="out")],
        mill.order("a", content),
        **plan,
    )
    import mine  # type: ignore[import-not-found]

    return result, out["a"].get("out", b""), mine.calls


POISON = (
    "    if frame['id'].is_in([0, 7, 8, 500, 999]).any(): raise ValueError(f'no {frame[\"id\"][0]}')\n"
    "    return frame.with_columns(double=frame['id'] * 2)\n"
)


def test_each_bad_record_is_told_with_its_place_and_the_first_ones_traceback(mill: Mill) -> None:
    content = data(1_000)
    result, out, calls = run(mill, POISON, content)
    assert result.failure is None
    assert balanced(result)
    assert [each.record - 1 for each in result.bad] == [0, 7, 8, 500, 999]
    for each in result.bad:
        assert content[each.start : each.end] == b"%d" % (each.record - 1)
        assert each.line == each.record + 1
        assert (each.step, each.error) == ("f", "ValueError")
        assert each.message == f"ValueError: no {each.record - 1} (mine.py:5 in f)"
    good = [n for n in range(1_000) if n not in {0, 7, 8, 500, 999}]
    assert out == b"id,double\n" + b"".join(b"%d,%d\n" % (n, 2 * n) for n in good)
    assert len(calls) < 120
    assert (result.steps[1].taken, result.steps[1].given, result.steps[1].bad) == (1_000, 995, 5)


def test_over_tolerance_the_traceback_is_that_of_the_first_bad_record(mill: Mill) -> None:
    result, _, _ = run(mill, POISON, data(10), tolerance=Tolerance(2))
    assert result.failure is not None
    assert result.failure.message.startswith(
        "3 of 10 records are bad (tolerance 2); the first, on line 2"
    )
    assert 'mine.py", line 5, in f' in result.failure.traceback
    assert "no 0" in result.failure.traceback


@pytest.mark.parametrize("body", ["    return nowhere\n", "    raise SystemError('x')\n"])
def test_a_broken_step_ends_the_run_after_few_calls(mill: Mill, body: str) -> None:
    result, _, calls = run(mill, body, data(20_000))
    assert result.failure is not None
    assert result.failure.error in ("NameError", "SystemError")
    assert 'mine.py", line 5, in f' in result.failure.traceback
    assert result.bad == ()
    assert len(calls) < 120


def test_many_bad_records_among_good_ones_are_all_found(mill: Mill) -> None:
    body = "    if (frame['id'] % 3 == 0).any(): raise ValueError('third')\n    return frame\n"
    result, out, _ = run(mill, body, data(300))
    assert result.failure is None
    assert result.bad_total == 100
    assert out == b"id\n" + b"".join(b"%d\n" % n for n in range(300) if n % 3)


def test_a_search_that_takes_too_long_is_the_runs_error(
    mill: Mill, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("filemill.engine.bisecting.CALLS", 20)
    body = "    if (frame['id'] % 2 == 0).any(): raise ValueError('even')\n    return frame\n"
    result, _, calls = run(mill, body, data(500))
    assert result.failure is not None
    assert result.failure.error == "ValueError"
    assert len(calls) == 21


def test_reject_is_a_bad_record_and_retry_is_not(mill: Mill) -> None:
    body = (
        "    from filemill import Reject, Retry\n"
        "    if (frame['id'] == 3).any(): raise {}('not three')\n"
        "    return frame\n"
    )
    result, _, _ = run(mill, body.format("Reject"), data(9))
    assert [(each.error, each.message) for each in result.bad] == [("Reject", "not three")]


def test_what_may_mend_is_never_searched(mill: Mill) -> None:
    result, _, calls = run(mill, "    raise ConnectionError('away')\n", data(9))
    assert result.failure is not None
    assert result.failure.kind == "transient"
    assert calls == [9]


def test_a_step_that_does_not_see_rows_by_themselves_ends_the_run(mill: Mill) -> None:
    body = "    if frame.height > 3: raise ValueError('too many')\n    return frame\n"
    result, _, _ = run(mill, body, data(9))
    assert result.failure is not None
    assert "too many" in result.failure.message


def test_counts_of_tries_are_not_in_the_books(mill: Mill) -> None:
    """The function drops and doubles records, and says so by `_record`; tries of halves must not count."""
    body = (
        "    if (frame['id'] == 5).any(): raise ValueError('five')\n"
        "    kept = frame.filter(frame['id'] % 2 == 0)\n"
        "    return pl.concat([kept, kept]).sort('id')\n"
    )
    result, out, _ = run(mill, body, data(8))
    assert result.failure is None
    assert balanced(result)
    assert out == b"id\n0\n0\n2\n2\n4\n4\n6\n6\n"
    counted = result.steps[1]
    assert (counted.taken, counted.added, counted.given, counted.filtered, counted.bad) == (
        8, 4, 8, 3, 1,
    )  # fmt: skip


@pytest.mark.parametrize("size", [12, 60, 1 << 20])
def test_what_is_bad_does_not_depend_on_chunks(mill: Mill, size: int) -> None:
    body = "    if frame['id'].is_in([0, 1, 2, 3, 4, 20]).any(): raise ValueError('bad')\n    return frame\n"
    result, out, _ = run(mill, body, data(40), chunk_size=size)
    assert result.failure is None
    assert [each.record - 1 for each in result.bad] == [0, 1, 2, 3, 4, 20]
    assert len(out.split()) == 35


def test_in_a_batch_of_files_each_bad_record_is_its_files(mill: Mill) -> None:
    mill.module("mine", FRAME + POISON)
    orders = [mill.order(name, b"id\n%d\n5\n" % n) for n, name in ((7, "a"), (1, "b"), (8, "c"))]
    results, out = mill.run(
        [step("read_csv"), step("mine.f"), step("write", to="out")],
        *orders,
        tolerance=Tolerance(1),
    )
    assert [[each.line for each in result.bad] for result in results] == [[2], [], [2]]
    assert out["b"]["out"] == b"id,double\n1,2\n5,10\n"
    assert out["c"]["out"] == b"id,double\n5,10\n"
    assert len(mill.announced) == 1


def test_a_built_in_step_that_raises_is_searched_too(
    mill: Mill, monkeypatch: pytest.MonkeyPatch
) -> None:
    from filemill.steps.select import Select

    apply = Select.apply

    def picky(self: Select, batch):
        if "7" in batch.frame["_raw"].to_list():
            raise RuntimeError("seven\nmore of it")
        return apply(self, batch)

    monkeypatch.setattr(Select, "apply", picky)
    (result,), out = mill.run(
        [step("read_csv"), step("select", columns=["id"]), step("write", to="out")],
        mill.order("a", data(10)),
        tolerance=Tolerance(1),
    )
    assert [(each.record, each.error, each.message.split(" (")[0]) for each in result.bad] == [
        (8, "RuntimeError", "RuntimeError: seven")
    ]
    assert os.fsencode("7") not in out["a"]["out"].split()


def test_parts_are_seen_with_the_columns_and_types_of_the_whole(mill: Mill) -> None:
    """Alone, the records without `t` would fail for want of the column, and those with numbers for want of text."""
    body = (
        "    if (frame['t'].str.len_chars() == 9).any(): raise ValueError('nine')\n"
        "    return frame.with_columns(n=frame['t'].str.len_chars())\n"
    )
    mill.module("mine", FRAME + body)
    lines = ['{"t":"ab"}', "{}", '{"t":7}', '{"t":"ninechars"}', "{}", '{"t":null}', '{"t":55}']
    (result,), out = mill.run(
        [step("read_jsonl"), step("mine.f"), step("write", to="out")],
        mill.order("a", "\n".join(lines).encode()),
        tolerance=Tolerance(1),
    )
    assert [(each.record, each.error) for each in result.bad] == [(4, "ValueError")]
    assert out["a"]["out"].decode().splitlines() == [
        '{"t":"ab","n":2}', '{"n":null}', '{"t":7,"n":1}', '{"n":null}', '{"t":null,"n":null}',
        '{"t":55,"n":2}',
    ]  # fmt: skip
