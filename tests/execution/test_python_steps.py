"""Users' functions as steps in a real pipeline."""

from __future__ import annotations

import json

import pytest
from milling import Mill, balanced, step

from filemill.model.plan import RetryPlan, StepPlan, Tolerance
from filemill.model.runs import RunResult

CSV = b"id,amount,code\n1,1.10,007\n2,20,008\n3,3e1,009\n"


def through(
    mill: Mill, code: str, data: bytes = CSV, name: str = "a.csv", **more: object
) -> tuple[RunResult, list[str]]:
    """One file through `mine.f`; its result and the lines of its output."""
    mill.module("mine", code)
    reader = "read_csv" if name.endswith("csv") else "read_jsonl"
    options = more.pop("options", {})
    steps = [step(reader), step("mine.f", **options), step("write", to="out")]  # type: ignore[arg-type]
    (result,), out = mill.run(steps, mill.order(name, data), **more)  # type: ignore[arg-type]
    assert balanced(result)
    return result, out[name].get("out", b"").decode().splitlines()


def test_one_changed_key_leaves_the_other_cells_text(mill: Mill) -> None:
    code = "def f(row: dict, *, rate: float = 0.5) -> dict:\n    return row | {'id': row['id'] * rate}\n"
    result, lines = through(mill, code, options={"rate": "2"})
    assert result.failure is None
    assert lines == ["id,amount,code", "2.0,1.10,007", "4.0,20,008", "6.0,3e1,009"]


def test_none_drops_and_a_list_fans_out_both_counted(mill: Mill) -> None:
    code = (
        "def f(row: dict):\n"
        "    if row['id'] == 1: return None\n"
        "    return [row, row | {'id': row['id'] * 10}]\n"
    )
    result, lines = through(mill, code)
    assert lines[1:] == ["2,20,008", "20,20,008", "3,3e1,009", "30,3e1,009"]
    books = result.steps[1]
    assert (books.taken, books.added, books.given, books.filtered) == (3, 2, 4, 1)


def test_books_close_by_file_when_a_batch_has_many(mill: Mill) -> None:
    mill.module("mine", "def f(row: dict):\n    return [row] * (row['n'] % 3)\n")
    steps = [step("read_jsonl"), step("mine.f"), step("write", to="out")]
    orders = [
        mill.order(f"{k}.jsonl", b"".join(b'{"n":%d}\n' % n for n in range(k, k + 5)))
        for k in range(10)
    ]
    results, _ = mill.run(steps, *orders)
    assert len(mill.announced) == 1
    for k, result in enumerate(results):
        assert balanced(result)
        books = result.steps[1]
        rests = [n % 3 for n in range(k, k + 5)]
        assert (books.filtered, books.added) == (rests.count(0), rests.count(2))


def test_tagged_adds_tags_that_route_and_guards_see(mill: Mill) -> None:
    from milling import route

    mill.module(
        "mine",
        "from filemill import Tagged, step\n"
        "@step\n"
        "def f(row: dict):\n"
        "    return Tagged(row, 'vip') if row['amount'] > 10 else row\n",
    )
    steps = [step("read_csv"), step("mine.f"), route()(("vip", ["vip"]), (None, ["rest"]))]
    (result,), out = mill.run(steps, mill.order("a.csv", CSV))
    assert result.failure is None
    assert out["a.csv"]["vip"] == b"id,amount,code\n2,20,008\n3,3e1,009\n"
    assert out["a.csv"]["rest"] == b"id,amount,code\n1,1.10,007\n"


def test_reject_and_exceptions_make_bad_records_with_the_users_line(mill: Mill) -> None:
    code = (
        "from filemill import Reject\n"
        "def f(row: dict):\n"
        "    if row['id'] == 1: raise Reject('no such customer')\n"
        "    if row['id'] == 2: return row['nope']\n"
        "    return row\n"
    )
    result, lines = through(mill, code, tolerance=Tolerance(count=2))
    assert lines[1:] == ["3,3e1,009"]
    assert [(b.error, b.message) for b in result.bad] == [
        ("Reject", "no such customer"),
        ("KeyError", "KeyError: 'nope' (mine.py:4 in f)"),
    ]
    assert result.steps[1].bad == 2

    result, _ = through(mill, code)
    assert result.failure is not None
    assert result.failure.kind == "permanent"
    assert "2 of 3 records are bad (tolerance 0)" in result.failure.message
    assert "row['nope']" in result.failure.traceback
    assert "filemill" not in result.failure.traceback


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("'text'", "returned str, not a dict"),
        ("{'x': float('nan')}", "column `x` is inf or NaN"),
        ("{'x': object()}", "holds a object, which has no text"),
        ("{3: 1}", "column name 3 is no text"),
    ],
)
def test_what_cannot_be_a_record_is_bad(mill: Mill, value: str, why: str) -> None:
    code = f"def f(row: dict):\n    return {value} if row['id'] == 2 else row\n"
    result, lines = through(mill, code, tolerance=Tolerance(count=1))
    assert result.failure is None
    assert [b.record for b in result.bad] == [2]
    assert why in result.bad[0].message
    assert lines[1:] == ["1,1.10,007", "3,3e1,009"]


def test_retry_is_tried_again_and_then_the_run_waits(mill: Mill) -> None:
    code = (
        "from filemill import Retry\n"
        "seen = []\n"
        "def f(row: dict, *, fails: int):\n"
        "    seen.append(row['id'])\n"
        "    if seen.count(row['id']) <= fails: raise Retry('busy')\n"
        "    return row\n"
    )
    result, lines = through(mill, code, options={"fails": "2"})
    assert result.failure is None
    assert len(lines) == 4

    mill.module("mine2", code)
    steps = [step("read_csv"), step("mine2.f", fails="9"), step("write", to="out")]
    (result,), _ = mill.run(steps, mill.order("b.csv", CSV))
    assert result.failure is not None
    assert (result.failure.kind, result.failure.step) == ("transient", "f")
    assert len(mill.staged()) == 1  # of the first run


def test_a_long_retry_goes_to_the_queue_at_once(mill: Mill) -> None:
    code = "from filemill import Retry\ndef f(row: dict):\n    raise Retry('later', after=30)\n"
    result, _ = through(mill, code)
    assert result.failure is not None
    assert result.failure.retry_after == 30


def test_an_os_error_is_transient_for_record_functions(mill: Mill) -> None:
    code = "def f(row: dict):\n    open('/nowhere/at/all')\n"
    result, _ = through(mill, code)
    assert result.failure is not None
    assert result.failure.kind == "transient"
    assert "/nowhere/at/all" in result.failure.message


def test_a_frame_function_changes_what_it_changes(mill: Mill) -> None:
    code = (
        "import polars as pl\n"
        "def f(frame: pl.DataFrame, *, add: int = 0) -> pl.DataFrame:\n"
        "    return frame.with_columns(\n"
        "        pl.when(pl.col('id') == 2).then(pl.col('amount') + add).otherwise(pl.col('amount')).alias('amount'),\n"
        "        double=pl.col('id') * 2)\n"
    )
    result, lines = through(mill, code, options={"add": "5"})
    assert result.failure is None
    assert lines == ["id,amount,code,double", "1,1.10,007,2", "2,25.0,008,4", "3,3e1,009,6"]


def test_a_frame_function_may_drop_by_record_and_drop_columns(mill: Mill) -> None:
    code = (
        "import polars as pl\n"
        "def f(frame: pl.DataFrame) -> pl.DataFrame:\n"
        "    return frame.filter(pl.col('id') != 2).select('_record', 'code', 'amount')\n"
    )
    result, lines = through(mill, code)
    assert lines == ["code,amount", "007,1.10", "009,3e1"]
    assert result.steps[1].filtered == 1


def test_a_frame_function_that_loses_its_records_fails_the_run(mill: Mill) -> None:
    code = "import polars as pl\ndef f(frame: pl.DataFrame):\n    return frame.head(1).drop('_record')\n"
    result, _ = through(mill, code)
    assert result.failure is not None
    assert "_record" in result.failure.help


def test_a_frame_functions_error_is_the_runs_with_its_traceback(mill: Mill) -> None:
    code = "import polars as pl\ndef f(frame: pl.DataFrame):\n    return frame['nope']\n"
    result, _ = through(mill, code)
    assert result.failure is not None
    assert (result.failure.kind, result.failure.error) == ("permanent", "BadRecords")
    assert (
        '3 of 3 records are bad (tolerance 0); the first, on line 2: ColumnNotFoundError: "nope"'
        in (result.failure.message)
    )
    assert 'mine.py", line 3, in f' in result.failure.traceback
    assert "engine/" not in result.failure.traceback


def test_a_stream_function_sees_each_file_whole_and_in_order(mill: Mill) -> None:
    mill.module(
        "mine",
        "from collections.abc import Iterable\n"
        "def f(rows: Iterable[dict]):\n"
        "    total = 0\n"
        "    for row in rows:\n"
        "        total += row['v']\n"
        "        yield row | {'sum': total}\n",
    )
    steps = [step("read_jsonl"), step("mine.f"), step("write", to="out")]
    big = b"".join(b'{"v":%d, "w":1.10}\n' % v for v in range(3000))
    orders = [mill.order("a.jsonl", b'{"v":1}\n{"v":2}\n'), mill.order("big.jsonl", big)]
    results, out = mill.run(steps, *orders, chunk_size=5000)
    assert all(r.failure is None and balanced(r) for r in results)
    assert out["a.jsonl"]["out"] == b'{"v":1,"sum":1}\n{"v":2,"sum":3}\n'
    lines = out["big.jsonl"]["out"].splitlines()
    assert len(lines) == 3000
    assert json.loads(lines[-1])["sum"] == sum(range(3000))
    assert b'"w":1.10' in lines[-1]


def test_a_stream_function_may_hold_back_reorder_and_drop(mill: Mill) -> None:
    code = (
        "from collections.abc import Iterable\n"
        "def f(rows: Iterable[dict]):\n"
        "    yield from sorted((r for r in rows if r['v'] % 2), key=lambda r: -r['v'])\n"
    )
    data = b"".join(b'{"v":%d,"w":1.10}\n' % v for v in range(1000))
    result, lines = through(mill, code, data, "a.jsonl", chunk_size=3000)
    assert result.failure is None
    assert lines[0] == '{"v":999,"w":1.10}'
    assert [json.loads(line)["v"] for line in lines] == list(range(999, 0, -2))
    assert result.steps[1].filtered == 500


def test_a_stream_function_that_stops_early_or_fails(mill: Mill) -> None:
    head = "from collections.abc import Iterable\ndef f(rows: Iterable[dict]):\n"
    result, lines = through(mill, head + "    yield next(iter(rows))\n")
    assert lines[1:] == ["1,1.10,007"]
    assert result.steps[1].filtered == 2

    mill.module(
        "mine3", head + "    for row in rows:\n        yield row\n        raise KeyError('x')\n"
    )
    steps = [step("read_csv"), step("mine3.f"), step("write", to="out")]
    results, _ = mill.run(steps, mill.order("b.csv", CSV), mill.order("c.csv", CSV))
    assert all(r.failure and r.failure.error == "KeyError" for r in results)
    assert len(mill.staged()) == 1  # of the first run


def test_ctx_key_is_the_same_at_every_try_and_differs_by_record(mill: Mill) -> None:
    code = "def f(row: dict, ctx):\n    return row | {'k': ctx.key}\n"
    _, first = through(mill, code)
    _, again = through(mill, code)
    keys = [line.rsplit(",", 1)[1] for line in first[1:]]
    assert first == again
    assert len(set(keys)) == 3


def test_async_functions_overlap_and_keep_order(mill: Mill) -> None:
    code = (
        "import asyncio\n"
        "running = most = 0\n"
        "async def f(row: dict):\n"
        "    global running, most\n"
        "    running += 1\n"
        "    most = max(most, running)\n"
        "    for _ in range(row['id'] % 3): await asyncio.sleep(0)\n"
        "    running -= 1\n"
        "    return row\n"
    )
    mill.module("mine", code)
    data = b"id\n" + b"".join(b"%d\n" % i for i in range(200))
    base = step("mine.f")
    limited = StepPlan(id="f", uses="mine.f", concurrency=7, retry=base.retry)
    (result,), out = mill.run(
        [step("read_csv"), limited, step("write", to="out")], mill.order("a.csv", data)
    )
    assert result.failure is None
    assert out["a.csv"]["out"] == data
    import mine  # type: ignore[import-not-found]

    assert mine.most == 7


def test_io_functions_overlap_in_threads(mill: Mill) -> None:
    code = (
        "import threading\n"
        "from filemill import step\n"
        "meet = threading.Barrier(3, timeout=20)\n"
        "@step(io=True)\n"
        "def f(row: dict):\n"
        "    meet.wait()\n"
        "    return row\n"
    )
    result, lines = through(mill, code)
    assert result.failure is None
    assert len(lines) == 4


def test_a_file_function_gives_another_file(mill: Mill) -> None:
    code = (
        "import os\n"
        "from filemill import File\n"
        "def f(file: File):\n"
        "    assert file.path.endswith('.csv') and not os.stat(file.path).st_mode & 0o222\n"
        "    made = file.path + '.txt'\n"
        "    with open(file) as old, open(made, 'w') as new: new.write(old.read().upper())\n"
        "    return made\n"
    )
    mill.module("mine", code)
    (result,), out = mill.run([step("mine.f"), step("write", to="out")], mill.order("d/a.csv", CSV))
    assert result.failure is None
    assert result.outputs[0].name == b"d/a.csv.txt"
    assert out["d/a.csv"]["out"] == CSV.upper()


def test_a_wrong_option_at_run_time_names_it(mill: Mill) -> None:
    result, _ = through(mill, "def f(row: dict, *, rate: float):\n    return row\n")
    assert result.failure is not None
    assert "needs the option `rate`" in result.failure.message


def test_the_retry_policy_of_the_step_counts(mill: Mill) -> None:
    code = (
        "from filemill import Retry\ncalls = []\n"
        "def f(row: dict):\n    calls.append(1)\n    raise Retry\n"
    )
    mill.module("mine", code)
    patient = StepPlan(id="f", uses="mine.f", retry=RetryPlan(attempts=4, min=0.001, max=0.001))
    (result,), _ = mill.run(
        [step("read_csv"), patient, step("write", to="out")], mill.order("a.csv", b"id\n1\n")
    )
    import mine

    assert len(mine.calls) == 4
    assert result.failure is not None


def test_a_fan_out_with_one_unwritable_row_is_one_bad_record(mill: Mill) -> None:
    code = (
        "from filemill import Tagged\n"
        "def f(row: dict):\n"
        "    odd = object() if row['id'] == 2 else 1\n"
        "    return [Tagged(row, 'x'), row | {'id': odd}]\n"
    )
    result, lines = through(mill, code, tolerance=Tolerance(count=1))
    assert [b.record for b in result.bad] == [2]
    assert lines[1:] == ["1,1.10,007", "1,1.10,007", "3,3e1,009", "1,3e1,009"]
    books = result.steps[1]
    assert (books.taken, books.added, books.given, books.filtered, books.bad) == (3, 2, 4, 0, 1)


def test_a_step_that_exits_fails_its_run_and_not_the_worker(mill: Mill) -> None:
    result, _ = through(mill, "import sys\ndef f(row: dict):\n    sys.exit(3)\n")
    assert result.failure is not None
    assert (result.failure.kind, result.failure.error) == ("permanent", "SystemExit")


def test_a_user_module_that_breaks_is_the_steps_failure(mill: Mill) -> None:
    result, _ = through(mill, "import nothing_like_this\ndef f(row: dict): ...\n")
    assert result.failure is not None
    assert result.failure.step == "f"
    assert "nothing_like_this" in result.failure.message
    assert "mine.py:1" in result.failure.message


def test_a_python_step_in_a_branch_and_under_a_guard(mill: Mill) -> None:
    from milling import route

    mill.module(
        "mine",
        "from collections.abc import Iterable\n"
        "def up(row: dict): return row | {'code': 'x' + row['code']}\n"
        "def last(rows: Iterable[dict]):\n"
        "    kept = list(rows)\n"
        "    yield from kept[-1:]\n",
    )
    steps = [
        step("read_csv"),
        step("tag_records", tags={"big": "amount > 10"}),
        step("mine.up", guard="big"),
        route()(("big", ["vip", "out"], [step("mine.last")]), (None, ["out"])),
    ]
    results, out = mill.run(steps, mill.order("a.csv", CSV), mill.order("b.csv", CSV))
    assert all(r.failure is None and balanced(r) for r in results)
    for name in ("a.csv", "b.csv"):
        assert out[name]["vip"] == b"id,amount,code\n3,3e1,x009\n"
        assert out[name]["out"] == b"id,amount,code\n1,1.10,007\n3,3e1,x009\n"
    assert results[0].steps[-1].filtered == 1


def test_what_a_function_changes_inside_a_nested_value_is_written_and_only_that(mill: Mill) -> None:
    mill.module(
        "nested_mod",
        "def grow(row: dict):\n"
        "    row['tags'].append('x') if row['i'] == 1 else None\n"
        "    if row['i'] == 3:\n"
        "        row['i'] = 3.0\n"
        "    return row\n",
    )
    data = b'{"i":1, "tags":["a"], "n":1.10}\n{"i":2, "tags":[ ], "n":1e3}\n{"i":3, "tags":[]}\n'
    steps = [step("read_jsonl"), step("nested_mod.grow"), step("write", to="out")]
    (result,), out = mill.run(steps, mill.order("a.jsonl", data))
    assert result.failure is None
    assert out["a.jsonl"]["out"].splitlines() == [
        b'{"i":1,"tags":["a","x"],"n":1.10}',
        b'{"i":2, "tags":[ ], "n":1e3}',
        b'{"i":3.0,"tags":[]}',
    ]
