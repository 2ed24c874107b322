"""Each promise is broken by hand on a world in which all is well, and its check says so: no check is decoration."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import apsw
import covered
import msgspec
import promises
import pytest
import scenario
from observer import Observer
from program import wait_for
from promises import Finished

pytestmark = [pytest.mark.crash, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def well(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A world that no fault struck, at rest."""
    root = tmp_path_factory.mktemp("well") / "world"
    root.mkdir()
    scenario.build(root)
    with Observer(root / "out", scenario.outputs()) as observer:
        ended = scenario.run(root, FILEMILL_FAIL_COUNTS=str(root / "counts"))
    assert ended.code == 1, ended.said
    # Every output was opened as it appeared, so a half one would have been seen.
    assert observer.opened >= len(scenario.outputs())
    world = Finished(
        root,
        ended.acknowledged,
        promises.unaccounted(root),
        observer.saw,
        ended.strays,
        ended.took,
    )
    assert promises.judge(world) == []
    # Where no fault struck, nothing is kept only because somebody says why not.
    assert sum(run["input"] is not None for run in promises.read(root).runs) == 2
    return world


@pytest.fixture
def world(well: Finished, tmp_path: Path) -> Finished:
    """A copy of it to break."""
    root = tmp_path / "world"
    shutil.copytree(well.root, root)
    return msgspec.structs.replace(well, root=root)


def sql(world: Finished, *statements: str) -> None:
    db = apsw.Connection(str(world.root / ".filemill/ledger.db"))
    for statement in statements:
        db.execute(statement)
    db.close()


def content(world: Finished, name: str) -> Path:
    for row in promises.read(world.root).files:
        if row["name"] == name:
            return world.root / ".filemill/content" / row["content"]
    raise KeyError(name)


def kept_input(world: Finished) -> Path:
    return next((world.root / ".filemill/content").rglob("*.input"))


def copy(world: Finished, pattern: str) -> Path:
    """What the folder of what failed has of this name."""
    (found,) = (world.root / scenario.FAILED).glob(pattern)
    return found


FILE = f"(SELECT no FROM file WHERE relative = CAST('{scenario.ADOPTED[0]}' AS BLOB))"
RUN = f"(SELECT no FROM run WHERE file = {FILE})"

BREAKS: list[tuple[str, str, Callable[[Finished], object]]] = [
    ("O1", "a row is gone", lambda w: sql(w, f"DELETE FROM file WHERE no = {FILE}")),
    ("O1", "a dead run is called done", lambda w: sql(w, "UPDATE run SET state = 'done'")),
    ("O1", "acknowledged and forgotten", lambda w: w.acknowledged.add("in-77777.log")),
    ("O2", "an output is gone", lambda w: (w.root / "out/rest/in-00001.log").unlink()),
    (
        "O2",
        "an output came twice",
        lambda w: shutil.copy(w.root / "out/rest/in-00001.log", w.root / "out/rest/in-00001-2.log"),
    ),
    ("O2", "an output is cut", lambda w: os.truncate(w.root / "out/rest/in-00001.log", 9)),
    (
        "O2",
        "the big file lacks a chunk",
        lambda w: os.truncate(w.root / "out/rest" / scenario.CHUNKED, 40_000),
    ),
    (
        "O2",
        "somebody's file is overwritten",
        lambda w: (w.root / "out/errors" / scenario.TAKEN).write_text("ours\n"),
    ),
    ("O2", "not published", lambda w: sql(w, f"UPDATE publication SET state='x' WHERE run={RUN}")),
    ("O2", "another digest", lambda w: sql(w, "UPDATE publication SET digest = '00'")),
    (
        "O4",
        "an output of a dead run",
        lambda w: (w.root / "out/rest/broken.jsonl").write_text('{"a": 1}\n'),
    ),
    ("O4", "a dead run published", lambda w: sql(w, f"UPDATE run SET state='dead' WHERE no={RUN}")),
    ("O5", "a file is left", lambda w: (w.root / "gone/in-00004.log").write_text("")),
    ("O5", "a kept file is gone", lambda w: (w.root / "stay/in-00005.log").unlink()),
    ("O6", "charged twice", lambda w: sql(w, f"UPDATE run SET attempt = 2 WHERE no = {RUN}")),
    ("O6", "ended never", lambda w: sql(w, f"DELETE FROM attempt WHERE run = {RUN}")),
    ("O7", "its bytes are gone", lambda w: content(w, "who.bin").unlink()),
    ("O7", "its bytes are others", lambda w: content(w, "who.bin").write_text("x")),
    ("O7", "bytes of no row", lambda w: content(w, "who.bin").with_name("x").write_text("x")),
    ("O7", "bytes that should be gone", lambda w: content(w, "in-00004.log").write_text("x")),
    ("O7", "no bytes of a kept input", lambda w: kept_input(w).unlink()),
    ("O7", "half a kept input", lambda w: os.truncate(kept_input(w), 100)),
    (
        "O7",
        "a kept input that nobody names",
        lambda w: kept_input(w).with_name("x.1.input").write_text("x"),
    ),
    ("O7", "an input is not named", lambda w: sql(w, "UPDATE run SET input = NULL")),
    ("O7", "no copy of a dead run", lambda w: copy(w, "stuck.*.rows").unlink()),
    ("O7", "half a copy of a dead run", lambda w: os.truncate(copy(w, "stuck.*.rows"), 1)),
    ("O7", "no reason", lambda w: copy(w, "big.*.json").unlink()),
    ("O7", "half a reason", lambda w: os.truncate(copy(w, "big.*.json"), 9)),
    (
        "O7",
        "two copies",
        lambda w: shutil.copy(copy(w, "stuck.*.rows"), w.root / "failed/stuck.x.rows"),
    ),
    ("O7", "part of a copy", lambda w: (w.root / "failed/.x.part").write_text("x")),
    ("O7", "an untold copy", lambda w: sql(w, "DELETE FROM failure_copy")),
    ("O8", "no such file", lambda w: sql(w, "PRAGMA foreign_keys=OFF", "DELETE FROM file")),
    ("O9", "still queued", lambda w: sql(w, f"UPDATE run SET state = 'queued' WHERE no = {RUN}")),
    ("O9", "still claiming", lambda w: sql(w, f"UPDATE file SET state='claiming' WHERE no={FILE}")),
    ("O9", "too long", lambda w: setattr(w, "took", promises.CONVERGES + 1)),
    ("O10", "staged", lambda w: (w.root / "out/rest/.filemill/x.1").write_text("x")),
    ("O10", "held aside", lambda w: (w.root / "inbox/.filemill/claimed/x").write_text("x")),
    ("O10", "half a copy", lambda w: content(w, "who.bin").with_name(".x.part").write_text("x")),
    ("O10", "a work folder", lambda w: os.makedirs(w.root / "tmp/work")),
    ("O10", "a file of its own", lambda w: (w.root / ".filemill/core").write_text("x")),
]


@pytest.mark.parametrize(
    ("promise", "how", "break_it"), BREAKS, ids=[f"{promise} {how}" for promise, how, _ in BREAKS]
)
def test_a_broken_promise_is_named(
    world: Finished, promise: str, how: str, break_it: Callable[[Finished], object]
) -> None:
    break_it(world)
    broken = {wrong.partition(" ")[0] for wrong in promises.judge(world)}
    assert promise in broken, (how, broken)


def test_the_scenario_touches_no_less_than_it_did(
    well: Finished, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """As many durable actions as on record: what the failpoint loop walks through may only grow.

    On a machine with much else to do a worker may be ended before it wrote its counts: then another run tells.
    """
    counts = covered.counted(well.root / "counts")
    for again in ("second", "third"):
        if covered.fewer(counts):
            root = tmp_path / again
            root.mkdir()
            scenario.build(root)
            scenario.run(root, FILEMILL_FAIL_COUNTS=str(root / "counts"))
            counts |= covered.counted(root / "counts")
    record_property("durable actions covered", counts.total())
    assert covered.fewer(counts) == []
    if more := covered.more(counts):
        record_property("raise the numbers in tests/faults/covered.toml:", "; ".join(more))


def test_a_scenario_that_touches_less_is_noticed() -> None:
    counts = Counter({name: least for name, (least, _) in covered.recorded().items()})
    assert covered.fewer(counts) == covered.more(counts) == []
    counts["server.rename"] -= 1
    counts["server.truncate"] += 1
    assert covered.fewer(counts) == ["server.rename: 52, was 53"]
    assert covered.more(counts) == ["server.truncate: 1, the record says nothing"]


def test_every_promise_is_broken_by_some_test() -> None:
    elsewhere = {"O3"}
    assert {name.partition(" ")[0] for name in promises.PROMISES} == {
        promise for promise, _, _ in BREAKS
    } | elsewhere


@pytest.mark.parametrize("how", ["in halves", "in place", "taken back", "unknown", "below"])
def test_a_consumer_sees_what_is_not_published_by_one_rename(world: Finished, how: str) -> None:
    sink = world.root / "out/rest"
    name = "below/it/in-00002.log" if how == "below" else "in-00001.log"
    whole = (sink / name).read_bytes()
    if how == "below":
        shutil.rmtree(sink / "below")
    elif how != "taken back":
        (sink / name).unlink()
    with Observer(world.root / "out", scenario.outputs()) as observer:
        if how == "taken back":
            (sink / name).unlink()
        elif how == "unknown":
            (sink / "in-99999.log").write_bytes(whole)
        else:
            (sink / name).parent.mkdir(parents=True, exist_ok=True)
            with open(sink / name, "wb", buffering=0) as out:
                out.write(whole[:10])
                if how != "in place":
                    assert wait_for(lambda: bool(observer.saw), 60)
                out.write(whole[10:])
        assert wait_for(lambda: bool(observer.saw), 60)
    broken = promises.judge(msgspec.structs.replace(world, saw=observer.saw))
    assert any(wrong.startswith("O3") for wrong in broken), broken


def test_a_process_that_stays_is_named(world: Finished) -> None:
    log = world.root / "held-open"
    with open(log, "w") as out, subprocess.Popen(["sleep", "60"], stdout=out) as stray:
        try:
            assert wait_for(lambda: bool(promises.judge(world)), 60)
            broken = promises.judge(world)
        finally:
            stray.kill()
    assert [wrong for wrong in broken if wrong.startswith("O10") and str(stray.pid) in wrong]


def test_a_program_that_leaves_a_process_is_found_out(tmp_path: Path) -> None:
    root = tmp_path / "world"
    root.mkdir()
    leave = "import subprocess; subprocess.Popen(['sleep', '61'], start_new_session=True)"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scenario, "GRACE", 0.2)
        ended = scenario.run(root, entry=("-c", leave))
    assert len(ended.strays) == 1
    assert "sleep 61" in ended.strays[0]


def test_bytes_that_are_nowhere_are_missed(world: Finished) -> None:
    content(world, "who.bin").unlink()
    assert promises.unaccounted(world.root) == ["gone before it was done: who.bin"]
    # What was deleted because it is done is not missed, whatever the moment.
    assert "in-00004.log" not in str(promises.unaccounted(world.root))
    sql(world, "UPDATE file SET disposed_ns = NULL")
    assert any("in-00004.log" in each for each in promises.unaccounted(world.root))


def test_a_fault_that_ends_nothing_in_time_is_told(world: Finished) -> None:
    """The program is not waited for without end: one that hangs fails the walk, with what it said."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scenario, "TIME_LIMIT", 0.5)
        with pytest.raises(AssertionError, match="hangs"):
            scenario.run(world.root, entry=("-c", "import time; time.sleep(600)"))
