"""The folder source alone: what it sights, what it says, when its folder goes and comes."""

# ruff: noqa: ASYNC240 -- the loop has nothing else to do

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
import time

import pytest

from filemill.model.errors import UsageError
from filemill.model.events import EventsMissed, SourceMissing, SourceNotice, SourceReturned
from filemill.ports.clock import SystemClock
from filemill.ports.source import Proof, SourceContext
from filemill.sources import following
from filemill.sources.folder import FolderSource


class Watch:
    """One folder source and everything it said."""

    def __init__(self, folder: bytes, **options):
        self.folder = folder
        self.sightings = []
        self.slices = []
        """How many sightings came together, each time: between two the loop may turn."""
        self.events = []
        self.waiting = 0
        self.source = FolderSource(
            SourceContext(
                name="in",
                options=FolderSource.Options(folder=os.fsdecode(folder), **options),
                sighted=self.take,
                emit=self.events.append,
                clock=SystemClock(),
                backlog=lambda: self.waiting,
            )
        )

    def take(self, sightings):
        self.slices.append(len(sightings))
        self.sightings.extend(sightings)

    @contextlib.asynccontextmanager
    async def open(self):
        await self.source.start()
        try:
            yield self
        finally:
            await self.source.stop()

    def names(self):
        return {each.relative for each in self.sightings}

    def said(self, kind):
        return [event for event in self.events if isinstance(event, kind)]

    async def until(self, condition, seconds=60.0):
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, (self.sightings[-10:], self.events)
            await asyncio.sleep(0.005)

    async def quiet(self):
        """Scans are over and nothing more comes."""
        await self.source.scanned()
        self.sightings.clear()


def write(path: bytes, data: bytes = b"x") -> None:
    with open(path, "wb") as out:
        out.write(data)


@pytest.fixture
def folder(tmp_path):
    path = os.fsencode(tmp_path / "in")
    os.mkdir(path)
    return path


def run(work):
    asyncio.run(asyncio.wait_for(work, 60))


def test_each_way_of_arriving_has_its_proof(folder, tmp_path):
    async def work():
        async with Watch(folder).open() as watch:
            await watch.quiet()
            write(folder + b"/written")
            write(folder + b"/../aside")
            os.rename(folder + b"/../aside", folder + b"/renamed")
            os.link(folder + b"/renamed", folder + b"/linked")
            await watch.until(lambda: len(watch.names()) == 3)
            assert {s.relative: s.proof for s in watch.sightings} == {
                b"written": Proof.CLOSED,
                b"renamed": Proof.RENAMED,
                b"linked": Proof.NONE,
            }
            assert {s.path for s in watch.sightings} == {folder + b"/" + n for n in watch.names()}

    run(work())


def test_temporary_hidden_and_ignored_names_are_not_sighted(folder):
    async def work():
        names = [
            *(b"a.part", b"a.filepart", b"a.TMP", b"a.crdownload", b"a~", b".hidden", b"b.swp"),
            *(b"x.BAK", b"y.bak", b"ok.txt"),
        ]
        os.makedirs(folder + b"/old/deep")
        os.makedirs(folder + b"/.filemill/claimed")
        os.makedirs(folder + b"/sub")
        write(folder + b"/old/deep/f")
        write(folder + b"/.filemill/claimed/f")
        write(folder + b"/sub/skip.me")
        for name in names[:5]:
            write(folder + b"/" + name)
        async with Watch(folder, ignore=["*.bak", "old", "sub/*.ME"]).open() as watch:
            await watch.source.scanned()
            for name in names[5:]:
                write(folder + b"/" + name)
            await watch.until(lambda: b"ok.txt" in watch.names())
            assert watch.names() == {b"ok.txt"}
            os.rename(folder + b"/a.part", folder + b"/a")
            await watch.until(lambda: b"a" in watch.names())
            assert watch.sightings[-1].proof is Proof.RENAMED

    run(work())


def test_new_nested_folders_filled_before_they_are_watched(folder):
    async def work():
        async with Watch(folder).open() as watch:
            await watch.quiet()
            expected = set()
            for number in range(
                30
            ):  # the loop does not run meanwhile: no watch can be added in time
                deep = b"n%d/a/b/c" % number
                os.makedirs(folder + b"/" + deep)
                write(folder + b"/" + deep + b"/f")
                expected.add(deep + b"/f")
            await watch.until(lambda: watch.names() >= expected)
            write(folder + b"/n3/a/b/c/later")
            await watch.until(lambda: b"n3/a/b/c/later" in watch.names())
            assert watch.said(EventsMissed) == []

    run(work())


def test_not_recursive(folder):
    async def work():
        os.mkdir(folder + b"/sub")
        write(folder + b"/sub/f")
        async with Watch(folder, recursive="false").open() as watch:
            await watch.source.scanned()
            os.mkdir(folder + b"/sub2")
            write(folder + b"/sub2/f")
            write(folder + b"/f")
            await watch.until(lambda: b"f" in watch.names())
            await watch.source.scanned()
            assert watch.names() == {b"f"}

    run(work())


def test_overflow_is_said_and_loses_nothing(folder):
    with open("/proc/sys/fs/inotify/max_queued_events") as file:
        limit = int(file.read())
    if limit > 20_000:
        pytest.skip("the event queue is too long here to overflow quickly")

    async def work():
        async with Watch(folder, poll="never").open() as watch:
            await watch.quiet()
            number = limit // 2 + 500
            for each in range(number):  # two events a file, and nobody reads them
                write(folder + b"/%d" % each)
            await watch.until(lambda: len(watch.names()) == number, 30)
            assert any(event.overflow for event in watch.said(EventsMissed))

    run(work())


def test_a_scan_counts_what_events_missed(folder):
    async def work():
        async with Watch(folder).open() as watch:
            write(folder + b"/announced")
            await watch.source.scanned()
            write(folder + b"/also-announced")
            await watch.source.scanned()
            await watch.source.scanned()
            assert watch.said(EventsMissed) == []
            follower = watch.source._follower
            follower._watches.add(b"", b"/proc/self")  # deaf: the root's events go elsewhere
            follower._watches._prefixes.clear()
            write(folder + b"/unannounced")
            await watch.source.scanned()
            assert [event.found for event in watch.said(EventsMissed)] == [1]

    run(work())


def test_a_folder_that_goes_and_comes_back(folder, monkeypatch):
    monkeypatch.setattr(following, "PROBE", 0.05)

    async def work():
        async with Watch(folder).open() as watch:
            await watch.quiet()
            os.rename(folder, folder + b".away")
            await watch.until(lambda: watch.said(SourceMissing))
            await asyncio.sleep(0.2)
            assert len(watch.said(SourceMissing)) == 1
            write(folder + b".away/meanwhile")
            os.rename(folder + b".away", folder)
            await watch.until(lambda: watch.said(SourceReturned))
            assert b"meanwhile" in watch.names()
            write(folder + b"/after")
            await watch.until(lambda: b"after" in watch.names())
            shutil.rmtree(folder)
            await watch.until(lambda: len(watch.said(SourceMissing)) == 2)
            await watch.source.scanned()  # does not hang

    run(work())


def test_a_folder_replaced_by_another(folder, monkeypatch):
    monkeypatch.setattr(following, "PROBE", 0.05)

    async def work():
        async with Watch(folder).open() as watch:
            await watch.quiet()
            os.rename(folder, folder + b".old")
            os.mkdir(folder)
            await asyncio.sleep(0.1)
            write(folder + b"/new")
            await watch.until(lambda: b"new" in watch.names())
            write(folder + b".old/stranger")
            await watch.source.scanned()
            assert b"stranger" not in watch.names()

    run(work())


def test_folders_moved_about_inside_are_followed(folder):
    async def work():
        os.makedirs(folder + b"/a/b")
        async with Watch(folder).open() as watch:
            await watch.quiet()
            os.rename(folder + b"/a", folder + b"/z")
            await asyncio.sleep(0.05)
            await watch.source.scanned()
            write(folder + b"/z/b/f")
            await watch.until(lambda: watch.names() == {b"z/b/f"})
            os.rename(folder + b"/z/b", folder + b"/../out")
            await asyncio.sleep(0.05)
            await watch.source.scanned()
            write(folder + b"/../out/stranger")
            write(folder + b"/z/g")
            await watch.until(lambda: b"z/g" in watch.names())
            assert watch.names() == {b"z/b/f", b"z/g"}

    run(work())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "inotify, settle 500ms"),
        ({"poll": "always", "settle": "2s"}, "scanned every 2s, settle 2s"),
        ({"poll": "5s"}, "inotify, scanned every 5s, settle 500ms"),
    ],
)
def test_it_says_how_it_watches(folder, options, said):
    async def body():
        async with Watch(folder, **options).open() as watch:
            return watch.source.watching()

    assert asyncio.run(body()) == (os.fsdecode(folder), said)


def test_polling_alone(folder):
    async def work():
        async with Watch(folder, poll="100ms").open() as watch:
            follower = watch.source._follower
            follower._unwatch()
            follower._events = False
            await watch.quiet()
            write(folder + b"/polled")
            await watch.until(lambda: b"polled" in watch.names())

    run(work())


def test_scans_pause_while_intake_has_enough(folder, monkeypatch):
    async def work():
        for number in range(3000):
            write(folder + b"/%d" % number)
        watch = Watch(folder)
        watch.waiting = following.BACKLOG + 1
        async with watch.open():
            await watch.until(lambda: watch.sightings)
            await asyncio.sleep(0.2)
            assert len(watch.names()) < 3000
            watch.waiting = 0
            await watch.until(lambda: len(watch.names()) == 3000)

    run(work())


def test_a_full_scan_leaves_the_loop_its_turns(folder):
    """What a scan of 20,000 names finds comes in slices, with turns of the loop between them."""

    async def work():
        for number in range(20_000):
            os.mknod(folder + b"/%d" % number)
        async with Watch(folder).open() as watch:
            await watch.until(lambda: len(watch.sightings) >= 20_000, seconds=60)
        assert max(watch.slices) <= 5_000

    run(work())


def test_a_missing_folder_says_what_to_do(tmp_path):
    missing = os.fsencode(tmp_path / "no such")

    async def work():
        with pytest.raises(UsageError) as caught:
            await Watch(missing).source.start()
        assert "mkdir -p" in caught.value.help
        assert "create: true" in caught.value.help
        async with Watch(missing, create="true").open():
            assert os.path.isdir(missing)
        write(missing + b"/file")
        with pytest.raises(UsageError, match="not a folder"):
            await Watch(missing + b"/file").source.start()

    run(work())


def test_permissions(folder):
    async def work():
        os.chmod(folder, 0o777)
        async with Watch(folder).open() as watch:
            (notice,) = watch.said(SourceNotice)
            assert "everybody" in notice.message
            assert "chmod o-w" in notice.help
        async with Watch(folder, permissions="off").open() as watch:
            assert watch.events == []
        with pytest.raises(UsageError, match="everybody"):
            await Watch(folder, permissions="strict").source.start()
        os.chmod(folder, 0o775)
        async with Watch(folder, permissions="strict").open() as watch:
            assert watch.events == []
        if os.geteuid() == 0:
            os.chown(folder, 12345, 12345)
            with pytest.raises(UsageError, match="another user"):
                await Watch(folder, permissions="strict").source.start()

    run(work())


LIMITED = """
import asyncio, os, sys
sys.path.insert(0, os.path.dirname(sys.argv[1]))
from test_folder_watching import Watch, write, SourceNotice, following
following.LIMITED_POLL = 0.1
async def main(folder):
    for n in range(20):
        os.makedirs(folder + b"/d%d" % n)
    async with Watch(folder).open() as watch:
        await watch.until(lambda: watch.said(SourceNotice))
        write(folder + b"/d0/f"); write(folder + b"/d19/f")
        await watch.until(lambda: watch.names() == {b"d0/f", b"d19/f"})
        assert "limit" in watch.said(SourceNotice)[0].message
        print("polled")
asyncio.run(main(os.fsencode(sys.argv[2])))
"""


@pytest.mark.parametrize("limit", ["max_inotify_watches", "max_inotify_instances"])
def test_at_the_limit_of_watches_the_tree_is_polled(folder, limit):
    number = 5 if limit.endswith("watches") else 0
    script = f'echo {number} > /proc/sys/user/{limit} && exec "$@"'
    done = subprocess.run(
        [
            "unshare",
            "-Ur",
            "sh",
            "-c",
            script,
            "sh",
            sys.executable,
            "-c",
            LIMITED,
            __file__,
            folder,
        ],
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )
    if "unshare" in done.stderr or "cannot create" in done.stderr:
        pytest.skip("user namespaces are not allowed here")
    assert done.stdout == "polled\n", done.stderr
