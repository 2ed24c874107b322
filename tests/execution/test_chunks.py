"""A big file in chunks gives what the whole file gives, whatever the chunks, the workers, and what happens to them."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from chunk_world import ChunkWorld, story
from hypothesis import example, given, settings
from hypothesis import strategies as st
from milling import Mill, balanced, route, step

from filemill.durable import Durable
from filemill.engine import chunk_work
from filemill.engine.chunk_work import ChunkWork
from filemill.model.plan import StepPlan, Tolerance
from filemill.model.runs import RunResult
from filemill.sinks import parts, staged_file, staging

MANY = Tolerance(count=1_000)


@contextmanager
def world(*args: Any, **plan: Any) -> Iterator[ChunkWorld]:
    """A world of its own for one example."""
    root = Path(tempfile.mkdtemp(prefix="filemill-test-"))
    made = ChunkWorld(Mill(root), *args, **plan)
    try:
        yield made
    finally:
        made.close()
        shutil.rmtree(root)


def in_chunks(world: ChunkWorld, **how: Any) -> RunResult:
    """One attempt in chunks that ends with a result; nothing is left in staging but its outputs."""
    ended = world.chunked(**how)
    assert ended is not None
    assert ended.result is not None, ended
    wanted = sorted(os.fsdecode(output.staged) for output in ended.result.outputs)
    assert sorted(world.mill.staged()) == wanted
    return ended.result


def same(world: ChunkWorld, result: RunResult) -> None:
    """The whole file gives the same; both books close."""
    told = story(world.mill, result)
    for output in result.outputs:
        os.unlink(output.staged)
    whole = world.whole()
    assert told == story(world.mill, whole)
    if whole.failure is None:
        assert balanced(result)


CSV_CELL = st.one_of(
    st.integers(-10, 10**7).map(str),
    st.sampled_from(["", "007", "1.5", "x", '"q"', '"a, b"', '"two\nlines"', '"say ""no"""', "ä"]),
)
CSV_LINE = st.one_of(
    st.lists(CSV_CELL, min_size=3, max_size=3).map(",".join),
    st.sampled_from(["", "1,2", "1,2,3,4", '1,"open,3', 'a"b,2,3', "\udcff"]),
)
JSON_LINE = st.sampled_from(
    [
        '{"n": 1}',
        '{"n": 2, "t": "x"}',
        '{"n": 2.5}',
        '{"t": "ä", "n": 3}',
        '{"n": "007"}',
        '{"n": null}',
        "",
        "no json",
        "[1]",
        '{"n": 1e3, "deep": {"a": [1, 2]}}',
    ]
)


@st.composite
def files(draw: st.DrawFn, lines: st.SearchStrategy[str], head: str = "") -> bytes:
    ending = draw(st.sampled_from(["\n", "\r\n"]))
    body = draw(st.lists(lines, min_size=2, max_size=40))
    text = ending.join([head] * bool(head) + body) + draw(st.sampled_from(["", ending]))
    return (draw(st.sampled_from(["", "\ufeff"])) + text).encode("utf-8", "surrogateescape")


CSV_STEPS = [
    step("read_csv"),
    step("tag_records", tags={"big": "n > 100"}),
    step("derive", columns={"twice": "n * 2"}, guard="not big"),
    route()(("big", ["vip"]), (None, ["rest"])),
]
JSON_STEPS = [
    step("read_jsonl"),
    step("derive", columns={"m": "n + 1"}),
    step("filter", where="m IS NULL OR m < 1000"),
    step("write", to=["out"]),
]
LINE_STEPS = [step("read_lines"), step("write", to=["out"])]


@settings(max_examples=60, deadline=None)
@given(
    data=files(CSV_LINE, head="id,n,text"),
    size=st.integers(8, 200),
    workers=st.integers(1, 3),
    seed=st.integers(0, 9),
)
@example(data=b'id,n,text\n1,"a\n,b"\n2,2,2\n', size=12, workers=2, seed=0)
def test_csv(data: bytes, size: int, workers: int, seed: int) -> None:
    with world(CSV_STEPS, data, chunk_size=size, tolerance=MANY) as made:
        ended = made.chunked(workers, seed)
        if ended is None:  # it has to be read whole, and nothing is left of the attempt
            assert made.mill.staged() == []
            return
        assert ended.result is not None
        same(made, ended.result)


@settings(max_examples=40, deadline=None)
@given(
    data=files(JSON_LINE),
    size=st.integers(8, 120),
    workers=st.integers(1, 3),
    seed=st.integers(0, 9),
)
def test_json_lines(data: bytes, size: int, workers: int, seed: int) -> None:
    with world(JSON_STEPS, data, chunk_size=size, tolerance=MANY) as made:
        ended = made.chunked(workers, seed)
        if ended is None:
            assert len(data) <= size + 60 or data.startswith(b"\xef\xbb\xbf")
            return
        assert ended.result is not None
        same(made, ended.result)


@settings(max_examples=30, deadline=None)
@given(
    data=files(st.text("ab \x00", max_size=30)),
    size=st.integers(1, 80),
    longest=st.integers(5, 40),
    workers=st.integers(1, 3),
)
def test_lines_and_those_that_are_too_long(
    data: bytes, size: int, longest: int, workers: int
) -> None:
    with world(LINE_STEPS, data, chunk_size=size, max_record=longest, tolerance=MANY) as made:
        ended = made.chunked(workers)
        if ended is not None:
            assert ended.result is not None
            same(made, ended.result)


ROWS = b"id,n\n" + b"".join(b"%d,%d\n" % (i, i) for i in range(400))
PLAIN = [step("read_csv"), step("derive", columns={"twice": "n * 2"}), step("write", to=["out"])]


@pytest.fixture(params=["memory", "disk", "from memory to disk"])
def rows(
    mill: Mill, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ChunkWorld]:
    """The file of rows, with parts wherever they can be."""
    monkeypatch.setattr(parts, "_MEMORY", request.param != "disk")
    monkeypatch.setattr(staged_file, "_PART_IN_MEMORY", 400 if " " in request.param else 1 << 20)
    monkeypatch.setattr(staging, "SPILL", 100)
    made = ChunkWorld(mill, PLAIN, ROWS, chunk_size=300)
    yield made
    made.close()


def test_every_chunk_is_worked_on_once_and_the_first_one_first(rows: ChunkWorld) -> None:
    result = in_chunks(rows, workers=3)
    assert result.chunks > 8
    assert sorted(rows.pool.chunks) == list(range(result.chunks))
    assert rows.pool.chunks[0] == 0
    same(rows, result)


@pytest.mark.parametrize("dies", [2, 3, 6, 9])
def test_after_a_lost_worker_it_goes_on_behind_its_last_checkpoint(
    rows: ChunkWorld, dies: int
) -> None:
    ended = rows.chunked(workers=2, dies=dies)
    assert ended is not None
    assert ended.died is not None
    kept = len(rows.runner.run(rows.ledger.checkpoints(rows.order.run)))
    assert kept <= dies - 2
    rows.again()
    result = in_chunks(rows, workers=2)
    assert sorted(rows.pool.chunks) == list(range(kept, result.chunks))
    same(rows, result)


def test_draining_keeps_what_is_done(rows: ChunkWorld) -> None:
    ended = rows.chunked(workers=2, stop_after=4)
    assert ended is not None
    assert ended.stopped
    assert len(rows.runner.run(rows.ledger.checkpoints(rows.order.run))) == 4
    rows.again()
    result = in_chunks(rows)
    assert min(rows.pool.chunks) == 4
    same(rows, result)


@pytest.mark.parametrize("harm", ["shorter", "other", "gone", "longer"])
def test_joined_bytes_that_a_power_cut_took_are_noticed(rows: ChunkWorld, harm: str) -> None:
    rows.chunked(workers=2, stop_after=4)
    (staged,) = (Path(path) for path in rows.mill.staged())
    data = staged.read_bytes()
    match harm:
        case "shorter":
            staged.write_bytes(data[:-1])
        case "other":
            staged.write_bytes(bytes(len(data)))
        case "gone":
            staged.unlink()
        case "longer":  # half of a part that was joined when the server ended
            staged.write_bytes(data + b"half a rec")
    rows.again()
    result = in_chunks(rows)
    assert min(rows.pool.chunks) == (4 if harm == "longer" else 0)
    same(rows, result)


def test_what_a_failed_sync_was_about_is_not_gone_on_with(
    rows: ChunkWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel may have dropped it, and shows it all the same. Not even to remove it succeeds on such a disk."""
    unlink, condemned = Durable.unlink, set[bytes]()

    def fails(durable: Durable, descriptor: int) -> None:
        condemned.add(os.fsencode(os.readlink(f"/proc/self/fd/{descriptor}")))
        raise OSError(errno.EIO, "Input/output error")

    def removes(durable: Durable, path: bytes) -> None:
        if path in condemned:
            raise OSError(errno.EIO, "Input/output error")
        unlink(durable, path)

    with monkeypatch.context() as failing:
        failing.setattr(Durable, "sync_file", fails)
        failing.setattr(Durable, "unlink", removes)
        ended = rows.chunked(workers=2)
    assert ended is not None
    assert ended.fault is not None
    (left,) = rows.mill.staged()
    assert not rows.runner.run(rows.ledger.checkpoints(rows.order.run))
    rows.again()
    os.unlink(left)  # as a start of the server does
    result = in_chunks(rows)
    assert min(rows.pool.chunks) == 0
    same(rows, result)


def test_another_plan_begins_anew(rows: ChunkWorld, mill: Mill) -> None:
    rows.chunked(workers=2, stop_after=4)
    rows.plan = rows.plan.__class__(**{**_fields(rows.plan), "revision": 2})
    rows.again()
    result = in_chunks(rows)
    assert min(rows.pool.chunks) == 0
    same(rows, result)


def test_a_checkpoint_that_nobody_can_read_leaves_nothing_and_begins_anew(
    rows: ChunkWorld, mill: Mill, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after the identity was changed: a worker answers that it knows of no earlier attempt."""
    rows.chunked(workers=2, stop_after=4)
    rows.again()
    cut = ChunkWork.cut
    monkeypatch.setattr(ChunkWork, "cut", lambda self, order, _: cut(self, order))
    result = in_chunks(rows)
    assert min(rows.pool.chunks) == 0
    same(rows, result)


def _fields(plan: Any) -> dict[str, Any]:
    return {name: getattr(plan, name) for name in plan.__struct_fields__}


def test_a_type_that_a_later_chunk_widens_sends_all_back(mill: Mill) -> None:
    data = ROWS + b"400,1.5\n" + ROWS[5:]
    made = ChunkWorld(mill, PLAIN, data, chunk_size=300)
    result = in_chunks(made, workers=3)
    assert made.pool.chunks.count(0) == 2
    same(made, result)
    made.close()


def test_a_stray_quote_makes_it_be_read_whole(mill: Mill) -> None:
    data = ROWS + b'400,5"\n' + ROWS[5:] + b'"x\n",1\n'
    made = ChunkWorld(mill, PLAIN, data, chunk_size=300, tolerance=MANY)
    assert made.chunked() is None
    assert mill.staged() == []
    assert made.runner.run(made.ledger.checkpoints(made.order.run)) == []
    made.close()


def test_a_permanent_failure_ends_it_at_its_chunk(mill: Mill) -> None:
    mill.module(
        "failing", "import polars\ndef f(frame: polars.DataFrame):\n    raise KeyError('no')\n"
    )
    steps = [step("read_csv"), step("failing.f"), step("write", to=["out"])]
    made = ChunkWorld(mill, steps, ROWS, chunk_size=300)
    ended = made.chunked()
    assert ended is not None
    assert ended.result is not None
    assert ended.result.failure is not None
    assert ended.result.failure.step == "f"
    ended.joint.abort()
    assert mill.staged() == []
    made.close()


def test_too_many_bad_records_are_judged_over_all_chunks(mill: Mill) -> None:
    bad = b"x\n"
    data = ROWS + bad + ROWS[5:] + bad
    for allowed in (1, 2):
        made = ChunkWorld(mill, PLAIN, data, chunk_size=300, tolerance=Tolerance(count=allowed))
        ended = made.chunked(workers=3)
        assert ended is not None
        assert ended.result is not None
        assert (ended.result.failure is None) == (allowed == 2)
        assert [bad.line for bad in ended.result.bad] == [402, 803]
        if allowed == 1:
            assert mill.staged() == []
        same(made, ended.result)
        made.close()
        (mill.folder / "content").joinpath("f").unlink()


COLUMNS = """
def early(row: dict) -> dict:
    return row | {"mark": row["n"]} if row["n"] < 390 else row

def late(row: dict) -> dict:
    return row | {"mark": 1} if row["n"] > 390 else row

def counted(row: dict, ctx) -> dict:
    return row | {"record": ctx.record, "key": ctx.key}

from collections.abc import Iterable

def running(rows: Iterable[dict]):
    total = 0
    for row in rows:
        total += row["n"]
        yield row | {"total": total}
"""


@pytest.mark.parametrize("function", ["early", "late"])
def test_columns_that_a_function_makes(mill: Mill, function: str) -> None:
    mill.module("columns", COLUMNS)
    steps = [step("read_csv"), step(f"columns.{function}"), step("write", to=["out"])]
    made = ChunkWorld(mill, steps, ROWS, chunk_size=300)
    same(made, in_chunks(made, workers=3))
    made.close()


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces of two chunks where they follow one another."""
    monkeypatch.setattr(chunk_work, "SECTION", 2)


@pytest.mark.usefixtures("short")
def test_a_function_that_sees_record_numbers_gets_the_chunks_in_order(mill: Mill) -> None:
    mill.module("columns", COLUMNS)
    steps = [step("read_csv"), step("columns.counted"), step("write", to=["out"])]
    made = ChunkWorld(mill, steps, ROWS, chunk_size=300)
    result = in_chunks(made, workers=3)
    assert made.pool.chunks == sorted(made.pool.chunks)
    same(made, result)
    made.close()


REPEATS = b"id,n\n" + b"".join(b"%d,%d\n" % (i % 150, i) for i in range(600))
ONCE = [step("read_csv"), step("dedupe", keys=["id"]), step("write", to=["out"])]


@pytest.fixture
def repeats(mill: Mill, short: None) -> Iterator[ChunkWorld]:
    """A file whose first 150 records come four times, for a step that sees the whole file."""
    made = ChunkWorld(mill, ONCE, REPEATS, chunk_size=300)
    yield made
    made.close()


def saved(world: ChunkWorld) -> list[Path]:
    return sorted((world.mill.folder / "data/states").iterdir())


def test_a_step_that_sees_the_whole_file_hands_on_what_it_has_seen(repeats: ChunkWorld) -> None:
    result = in_chunks(repeats, workers=3)
    assert result.chunks > 5
    assert repeats.pool.chunks == list(range(result.chunks))
    assert [output.records for output in result.outputs] == [150]
    assert saved(repeats) == []
    same(repeats, result)


def test_what_it_has_seen_outlives_a_stop(repeats: ChunkWorld) -> None:
    repeats.chunked(stop_after=4)
    (one,) = saved(repeats)
    kept = repeats.runner.run(repeats.ledger.checkpoints(repeats.order.run))
    assert os.fsencode(one) in kept[-1].staged
    repeats.again()
    result = in_chunks(repeats)
    assert min(repeats.pool.chunks) == 4
    assert saved(repeats) == []
    same(repeats, result)


@pytest.mark.parametrize("harm", ["other", "gone"])
def test_a_state_that_a_power_cut_took_is_noticed(repeats: ChunkWorld, harm: str) -> None:
    repeats.chunked(stop_after=4)
    (one,) = saved(repeats)
    if harm == "gone":
        one.unlink()
    else:
        one.write_bytes(b"")
    repeats.again()
    result = in_chunks(repeats)
    assert min(repeats.pool.chunks) == 0
    same(repeats, result)


def test_a_state_that_goes_while_the_file_is_worked_on_sends_it_back(repeats: ChunkWorld) -> None:
    gone: list[int] = []

    def lose(number: int) -> None:
        if number == 5 and not gone:
            gone.extend(path.unlink(missing_ok=True) or number for path in saved(repeats))

    result = in_chunks(repeats, before=lose)
    assert set(gone) == {5}
    assert repeats.pool.chunks.count(0) == 2
    same(repeats, result)


def _whole(*steps: StepPlan, **sinks: Any) -> tuple[list[StepPlan], dict[str, Any]]:
    return list(steps), sinks


@pytest.mark.parametrize(
    ("steps", "sinks"),
    [
        _whole(step("read_csv"), step("columns.running"), step("write", to=["out"])),
        _whole(step("write", to=["out"])),
        _whole(step("read_jsonl"), step("write", to=["out"]), out={"format": "csv"}),
    ],
    ids=["a stream", "no reader", "a header that only reading tells"],
)
def test_what_must_be_seen_whole_is(
    mill: Mill, steps: list[StepPlan], sinks: dict[str, Any]
) -> None:
    mill.module("columns", COLUMNS)
    made = ChunkWorld(mill, steps, ROWS, chunk_size=300, sinks=sinks)
    assert made.chunked() is None
    assert made.pool.chunks == []
    made.close()


def test_an_empty_output_is_written_once(mill: Mill) -> None:
    steps = [step("read_csv"), step("filter", where="n > 395"), step("write", to=["out", "rest"])]
    sinks = {"out": {"empty": "write"}}
    made = ChunkWorld(mill, steps, ROWS, chunk_size=300, sinks=sinks)
    same(made, in_chunks(made))
    made.close()


def test_received_bytes_under_their_header(mill: Mill) -> None:
    sinks = {"out": {"as": "received"}}
    made = ChunkWorld(mill, PLAIN, ROWS, chunk_size=300, sinks=sinks)
    result = in_chunks(made)
    assert mill.outputs([result])[result.run]["out"] == ROWS
    same(made, result)
    made.close()
