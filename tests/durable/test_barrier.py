"""Which way makes a group durable: the fixed choice, and the measured one with what syncs teach it."""

import errno
import json
import os

import pytest

from filemill.durable import Durable, Failpoints
from filemill.durable.barrier import GROUP, Barrier, Measured, Way, barrier_of
from filemill.durable.costs import NAME, Costs, Measurement, recall, remember
from filemill.durable.mounts import mount_of
from filemill.durable.syncing import sync_abreast

MS = 1_000_000
NOW = 1_750_000_000 * 10**9
DISK = Costs(one=1_050_000, more=MS // 5, whole=2 * MS)


class Hands:
    """A clock that is set by hand."""

    now = 1_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Hands()


def measurement(place, costs=DISK, **other):
    known = {"mount": mount_of(os.fsencode(place)).told, "kernel": os.uname().release, **other}
    return Measurement(str(place), at_ns=NOW, costs=costs, **known)


def measured(place, clock, costs=DISK):
    """(a barrier that goes by these costs, the device of `place`)."""
    remember(str(place / NAME), [measurement(place, costs)])
    return Measured(str(place / NAME), clock), os.stat(place).st_dev


def changes_at(barrier, device):
    """From so many on by syncfs."""
    return next((n for n in range(2, 600) if barrier.way(device, n) is Way.WHOLE), None)


@pytest.mark.parametrize(
    ("costs", "threshold"),
    [
        (DISK, 12),
        (Costs(one=4 * MS, more=MS // 4, whole=MS // 2), 2),
        (Costs(one=7_000, more=1_000, whole=7_000), 3),
        (Costs(one=MS, more=0, whole=900 * MS), None),
    ],
)
def test_the_costs_say_from_how_many_on_the_whole_file_system_is_synced(
    tmp_path, clock, costs, threshold
):
    assert costs.threshold == threshold
    barrier, device = measured(tmp_path, clock, costs)
    assert changes_at(barrier, device) == threshold


def test_small_groups_are_synced_one_by_one_and_larger_ones_at_once(tmp_path, clock):
    barrier, device = measured(tmp_path, clock)
    assert [barrier.way(device, n) for n in (1, 2, 3)] == [Way.EACH] * 3
    assert barrier.way(device, GROUP) is Way.ABREAST
    quick, device = measured(tmp_path, clock, Costs(one=50_000, more=40_000, whole=3 * MS))
    assert quick.way(device, GROUP) is Way.EACH, "threads cost more than they save"


def test_where_nothing_is_known_the_choice_is_fixed(tmp_path, clock):
    barrier, device = measured(tmp_path, clock)
    for unknown, other in ((barrier, device + 1), (Measured(str(tmp_path / "no"), clock), device)):
        ways = [unknown.way(other, n) for n in range(1, 9)]
        assert ways == [Barrier().way(other, n) for n in range(1, 9)]
        assert changes_at(unknown, other) == GROUP


@pytest.mark.parametrize(
    "other", [{"mount": "8:1 rw ext4 /dev/sda rw"}, {"kernel": "2.6.32"}], ids=["mount", "kernel"]
)
def test_what_was_measured_on_another_mount_or_kernel_does_not_count(tmp_path, clock, other):
    path = str(tmp_path / NAME)
    remember(path, [measurement(tmp_path, **other)])
    assert recall(path) == {}
    assert changes_at(Measured(path, clock), os.stat(tmp_path).st_dev) == GROUP


@pytest.mark.parametrize("text", [b"", b"{", b'[{"place": 1}]', b"\xff" * 40, None])
def test_a_damaged_memory_is_none(tmp_path, clock, text):
    path = tmp_path / NAME
    path.mkdir() if text is None else path.write_bytes(text)
    assert recall(str(path)) == {}
    assert changes_at(Measured(str(path), clock), os.stat(tmp_path).st_dev) == GROUP


def test_the_memory_is_readable_and_its_owners_alone(tmp_path):
    path = tmp_path / NAME
    remember(str(path), [measurement(tmp_path)])
    assert path.stat().st_mode & 0o777 == 0o600
    assert json.loads(path.read_text())[0]["costs"] == {
        "one": 1_050_000,
        "more": 200_000,
        "whole": 2_000_000,
    }
    assert recall(str(path))[os.stat(tmp_path).st_dev].costs == DISK
    assert os.listdir(tmp_path) == [NAME]


def test_what_another_process_measures_is_seen_after_a_moment(tmp_path, clock):
    device = os.stat(tmp_path).st_dev
    barrier = Measured(str(tmp_path / NAME), clock)
    assert changes_at(barrier, device) == GROUP
    remember(str(tmp_path / NAME), [measurement(tmp_path)])
    assert changes_at(barrier, device) == GROUP
    clock.now += 6
    assert changes_at(barrier, device) == DISK.threshold


def test_a_syncfs_that_strangers_hold_up_is_avoided_for_a_while(tmp_path, clock):
    barrier, device = measured(tmp_path, clock)
    assert barrier.way(device, 32) is Way.WHOLE
    for _ in range(3):
        barrier.took(device, Way.WHOLE, 32, 0.1)
        clock.now += 0.2
    assert barrier.way(device, 32) is Way.ABREAST
    assert changes_at(barrier, device) > 32
    clock.now += 120
    assert changes_at(barrier, device) == DISK.threshold, "it is tried again"


def test_where_both_ways_are_slow_the_better_one_stays(tmp_path, clock):
    barrier, device = measured(tmp_path, clock)
    for _ in range(20):
        way = barrier.way(device, 64)
        slow = 8 * (DISK.whole_beside() if way is Way.WHOLE else DISK.apart(64)) / 1e9
        barrier.took(device, way, 64, slow)
        clock.now += 0.1
    assert barrier.way(device, 64) is Way.WHOLE


def test_one_sync_out_of_the_way_teaches_little(tmp_path, clock):
    barrier, device = measured(tmp_path, clock)
    barrier.took(device, Way.WHOLE, 64, 3_600.0)
    clock.now += 45
    assert barrier.way(device, 64) is Way.WHOLE


def test_processes_that_count_their_actions_choose_as_ever(tmp_path, clock):
    measured(tmp_path, clock, Costs(one=4 * MS, more=MS // 4, whole=MS // 2))
    assert isinstance(barrier_of(str(tmp_path), Failpoints("server")), Measured)
    for armed in (Failpoints("server", "rename:99:EIO"), Failpoints("server", "", "/dev/null")):
        assert type(barrier_of(str(tmp_path), armed)) is Barrier


class Always(Barrier):
    def __init__(self, way):
        self._way = way
        self.heard = []

    def way(self, device, count):
        return self._way

    def took(self, device, way, count, seconds):
        self.heard.append((device, way, count))


def group(tmp_path, count=20):
    for number in range(count):
        (tmp_path / f"{number}").write_bytes(b"x" * 100)
    return [os.fsencode(tmp_path / f"{number}") for number in range(count)], [os.fsencode(tmp_path)]


@pytest.mark.parametrize(
    ("way", "counts"),
    [
        (Way.EACH, {"sync_file": 20, "sync_directory": 1}),
        (Way.ABREAST, {"sync_file": 20, "sync_directory": 1}),
        (Way.WHOLE, {"sync_group": 1}),
    ],
)
def test_each_way_is_counted_and_told(tmp_path, way, counts):
    barrier = Always(way)
    durable = Durable(Failpoints("test"), barrier=barrier)
    durable.sync_group(*group(tmp_path))
    assert durable.failpoints.counts == counts
    assert barrier.heard == [(os.stat(tmp_path).st_dev, way, 21)]


@pytest.mark.parametrize("way", list(Way))
@pytest.mark.parametrize("number", [1, 7])
def test_an_injected_error_condemns_the_group_whichever_way(tmp_path, way, number):
    point = "sync_group:1:EIO" if way is Way.WHOLE else f"sync_file:{number}:EIO"
    barrier = Always(way)
    durable = Durable(Failpoints("test", point), barrier=barrier)
    with pytest.raises(OSError, match="injected"):
        durable.sync_group(*group(tmp_path))
    assert barrier.heard == [], "a sync that failed says nothing of how long one takes"


@pytest.mark.parametrize("way", list(Way))
def test_without_syncs_nothing_is_done_whichever_way(tmp_path, way):
    barrier = Always(way)
    durable = Durable(Failpoints("test"), sync=False, barrier=barrier)
    durable.sync_group([b"/not/there"], [b"/not"])
    assert not durable.failpoints.counts
    assert barrier.heard == []


@pytest.mark.parametrize("lost", [0, 5, 19])
def test_at_once_all_are_tried_and_the_first_error_is_said(tmp_path, lost, monkeypatch):
    files, folders = group(tmp_path)
    tried = []

    def sync(path):
        tried.append(path)
        if path in (files[lost], files[-1]):
            raise OSError(errno.EIO, "broken", path)

    monkeypatch.setattr("filemill.durable.syncing.sync_path", sync)
    with pytest.raises(OSError, match="broken") as failed:
        sync_abreast(files, folders)
    assert failed.value.filename == files[lost]
    assert sorted(tried) == sorted(files + folders)


def test_a_file_that_is_gone_condemns_the_group(tmp_path):
    files, folders = group(tmp_path)
    os.unlink(files[9])
    for way in (Way.EACH, Way.ABREAST):
        with pytest.raises(FileNotFoundError):
            Durable(Failpoints("test"), barrier=Always(way)).sync_group(files, folders)


def test_where_no_thread_can_be_started_one_does_it_all(tmp_path, monkeypatch):
    def refuse(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("threading.Thread.start", refuse)
    tried = []
    monkeypatch.setattr("filemill.durable.syncing.sync_path", tried.append)
    files, folders = group(tmp_path)
    sync_abreast(files, folders)
    assert tried == files + folders
