"""Measuring how a disk syncs: in the background, cheaply, and nothing is left of it, whatever ends it."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from filemill.durable import Durable, Failpoints
from filemill.durable.barrier import Barrier, Measured
from filemill.durable.costs import NAME, Costs, recall
from filemill.durable.measuring import SCRATCH, measure, sweep
from filemill.ports.clock import SystemClock
from filemill.service import syncing
from filemill.service.syncing import OLD, SyncMeasuring, refresh

NOW = 1_750_000_000 * 10**9
DAY = 86_400 * 10**9


def test_it_measures_and_leaves_nothing(tmp_path):
    found = measure(os.fsencode(tmp_path), NOW)
    assert found.at_ns == NOW
    assert found.costs.one > 0
    assert found.costs.more > 0
    assert found.costs.whole > 0
    assert found.holds()
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(not os.path.isdir("/dev/shm"), reason="needs a second file system")
def test_one_place_of_each_device_is_measured_and_remembered(tmp_path):
    memory = f"/dev/shm/filemill-measuring-{os.getpid()}"
    os.mkdir(memory)
    path = str(tmp_path / NAME)
    try:
        (tmp_path / "sink").mkdir()
        places = [*map(os.fsencode, (tmp_path, tmp_path / "sink", memory)), b"/not/there"]
        refresh(path, places, NOW)
        devices = {os.stat(place).st_dev for place in (tmp_path, memory)}
        known = recall(path)
        assert known.keys() == devices
        assert os.listdir(memory) == []
        assert sorted(os.listdir(tmp_path)) == ["sink", NAME]
        refresh(path, places[:2], NOW)
        assert recall(path).keys() == {os.stat(tmp_path).st_dev}, (
            "a place that is gone is forgotten"
        )
    finally:
        os.rmdir(memory)


def test_what_is_fresh_is_kept_and_what_is_old_is_measured_again(tmp_path):
    path, places = str(tmp_path / NAME), [os.fsencode(tmp_path)]

    def when():
        return [each.at_ns for each in recall(path).values()]

    refresh(path, places, NOW)
    before = os.stat(path).st_ino
    refresh(path, places, NOW + DAY - 1)
    assert (when(), os.stat(path).st_ino) == ([NOW], before)
    later = NOW + int(OLD * 1e9)
    refresh(path, places, later)
    assert when() == [later]
    refresh(path, places, NOW)
    assert when() == [NOW], "one of the future is as good as none"


def test_a_place_that_cannot_be_written_to_is_passed_over(tmp_path):
    (tmp_path / SCRATCH.decode()).write_text("a file in its way")
    refresh(str(tmp_path / NAME), [os.fsencode(tmp_path)], NOW)
    assert recall(str(tmp_path / NAME)) == {}


@pytest.mark.crash
def test_what_a_kill_leaves_is_swept_by_the_next(tmp_path):
    program = (
        "import os, signal, sys\n"
        "from filemill.durable import measuring\n"
        "def end(folder): os.kill(os.getpid(), signal.SIGKILL)\n"
        "measuring.sync_file_system = end\n"
        "measuring.measure(os.fsencode(sys.argv[1]), 1)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, tmp_path], check=False)
    assert done.returncode == -signal.SIGKILL
    assert os.listdir(tmp_path) == [SCRATCH.decode()]
    assert os.listdir(tmp_path / SCRATCH.decode())
    sweep(os.fsencode(tmp_path))
    assert os.listdir(tmp_path) == []
    subprocess.run([sys.executable, "-c", program, tmp_path], check=False)
    refresh(str(tmp_path / NAME), [os.fsencode(tmp_path)], NOW)
    assert os.listdir(tmp_path) == [NAME]


def measuring(durable, tmp_path, busy=lambda: False):
    return SyncMeasuring(
        durable, places=lambda: [os.fsencode(tmp_path)], clock=SystemClock(), busy=busy
    )


async def until(there, seconds=60.0):
    end = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < end
        await asyncio.sleep(0.01)


@pytest.fixture
def soon(monkeypatch):
    monkeypatch.setattr(syncing, "FIRST", 0.05)


def test_in_the_background_the_loop_goes_on_and_the_choice_follows(tmp_path, soon, monkeypatch):
    path = tmp_path / NAME
    entered, seen = threading.Event(), threading.Event()
    held_up = []

    def slow(folder):
        entered.set()
        if not seen.wait(20):
            held_up.append(folder)
        time.sleep(0.3)

    monkeypatch.setattr("filemill.durable.measuring.sync_file_system", slow)
    durable = Durable(Failpoints("test"), barrier=Measured(str(path)))

    async def main():
        work = measuring(durable, tmp_path)
        work.start()
        await until(entered.is_set)
        seen.set()
        await until(path.exists)
        await work.stop()
        await work.stop()

    asyncio.run(main())
    assert not held_up, "a sync held the loop up"
    (found,) = recall(str(path)).values()
    assert found.costs.whole >= 0.3e9


def test_it_waits_for_a_moment_of_rest_and_stops_at_any(tmp_path, soon):
    durable = Durable(Failpoints("test"), barrier=Measured(str(tmp_path / NAME)))
    working = True

    async def main():
        nonlocal working
        work = measuring(durable, tmp_path, busy=lambda: working)
        work.start()
        await asyncio.sleep(0.3)
        assert os.listdir(tmp_path) == []
        working = False
        await until((tmp_path / NAME).exists)
        await work.stop()
        again = measuring(durable, tmp_path)
        again.start()
        await again.stop()

    asyncio.run(main())
    assert os.listdir(tmp_path) == [NAME]


@pytest.mark.parametrize(
    ("sync", "fixed"), [(False, False), (True, True)], ids=["durability process", "a fixed choice"]
)
def test_where_nothing_follows_from_it_nothing_is_measured(tmp_path, soon, sync, fixed):
    barrier = Barrier() if fixed else Measured(str(tmp_path / NAME))
    durable = Durable(Failpoints("test"), sync=sync, barrier=barrier)

    async def main():
        work = measuring(durable, tmp_path)
        work.start()
        await asyncio.sleep(0.3)
        await work.stop()

    asyncio.run(main())
    assert os.listdir(tmp_path) == []


def test_a_disk_where_syncs_take_long_is_left_after_one_round(tmp_path, monkeypatch):
    done = []

    def slow(folder):
        done.append(folder)
        time.sleep(0.1)

    monkeypatch.setattr("filemill.durable.measuring.sync_file_system", slow)
    costs = measure(os.fsencode(tmp_path), NOW).costs
    assert len(done) == 1
    assert isinstance(costs, Costs)
    assert costs.whole >= 0.1e9
