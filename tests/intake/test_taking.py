"""Files into the ledger on a real file system: what is taken, when, and what never is."""

# ruff: noqa: ASYNC110, ASYNC230, ASYNC240, SIM115 -- the loop has nothing else to do

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import stat
import time

import pytest
from intake_world import World

from filemill.intake.dispose import dispose
from filemill.model.errors import UsageError
from filemill.model.events import (
    FileIgnored,
    FileIngested,
    FileRejected,
    FileVanished,
    SystemTrouble,
)
from filemill.ports.ledger import Disposal

HOSTILE = [
    b"plain.csv",
    b"with space.csv",
    b"-leading-dash",
    b"new\nline.csv",
    b"tab\tquote'\".csv",
    b"bad-utf8-\xff\xfe.csv",
    "umlaut-ä.csv".encode(),
    "umlaut-a\u0308.csv".encode(),
    "rtl-\u202egnp.csv".encode(),
    b"   ",
    b"x" * 251 + b".csv",
    b"%2e%2e%2f",
    b"C:\\con",
    b"*?[a]",
]


@pytest.fixture
def base(tmp_path):
    return os.fsencode(tmp_path)


def run(work):
    asyncio.run(asyncio.wait_for(work, 60))


def test_renamed_in_is_taken_at_once_moved_and_said(base):
    async def work():
        async with World(base, settle="20s", settle_unproven="20s").open() as world:
            await world.source.scanned()
            began = time.monotonic()
            world.drop("a.csv", b"id\n1\n")
            await world.count(1)
            assert time.monotonic() - began < 5
            assert world.taken() == {b"a.csv": [b"id\n1\n"]}
            assert os.listdir(world.inbox) == []
            (said,) = world.said(FileIngested)
            assert (said.file, said.size, said.relative) == (world.refs[0].file, 5, b"a.csv")
            assert stat.S_IMODE(os.stat(world.content_root).st_mode) == 0o700
            await world.intake.idle()
            assert await world.ledger.live() == 1

    run(work())


def test_copied_in_slices_with_pauses_is_never_half_taken(base):
    async def work():
        async with World(base, settle="20ms", settle_unproven="40ms").open() as world:
            whole = b""
            with open(world.path("slow.bin"), "wb", buffering=0) as out:
                for number in range(6):
                    piece = b"%d" % number * 1000
                    out.write(piece)
                    whole += piece
                    await world.source.scanned()
                    await asyncio.sleep(0.1)  # far longer than both settle times
                    assert world.refs == []
            await world.count(1)
            assert world.taken() == {b"slow.bin": [whole]}

    run(work())


def test_closed_in_place_is_taken_after_settle(base):
    async def work():
        async with World(base, settle="300ms").open() as world:
            await world.source.scanned()
            began = time.monotonic()
            world.write("a", b"1")
            await world.count(1)
            assert time.monotonic() - began >= 0.3

    run(work())


def test_what_lies_there_at_start_is_taken(base):
    async def work():
        world = World(base)
        for number in range(300):
            world.drop(f"d{number % 7}/{number}.txt", b"%d" % number)
        async with world.open():
            await world.count(300)
            await world.intake.idle()
            assert {r: d for r, (d,) in world.taken().items()} == {
                b"d%d/%d.txt" % (n % 7, n): b"%d" % n for n in range(300)
            }

    run(work())


def test_hostile_names_are_kept_to_the_byte(base):
    async def work():
        async with World(base).open() as world:
            for name in HOSTILE:
                world.drop(name, name)
            await world.count(len(HOSTILE))
            assert world.taken() == {name: [name] for name in HOSTILE}

    run(work())


def test_links_and_devices_are_left_alone_and_said_once(base):
    async def work():
        world = World(base)
        secret = base + b"/secret"
        with open(secret, "wb") as out:
            out.write(b"secret")
        os.makedirs(base + b"/elsewhere")
        with open(base + b"/elsewhere/f", "wb") as out:
            out.write(b"secret")
        os.mkfifo(world.path("fifo"))
        os.symlink(secret, world.path("link"))
        os.symlink(b"nowhere", world.path("dangling"))
        os.symlink(b"loop", world.path("loop"))
        os.symlink(base + b"/elsewhere", world.path("folder-link"))
        server = socket.socket(socket.AF_UNIX)
        here = os.getcwd()
        os.chdir(world.inbox)
        server.bind("socket")
        os.chdir(here)
        async with world.open():
            await world.source.scanned()
            world.drop("good")
            await world.count(1)
            for _ in range(2):
                await world.source.scanned()
            await world.intake.idle()
            assert list(world.taken()) == [b"good"]
            assert sorted(os.listdir(world.inbox)) == sorted(
                [b"fifo", b"link", b"dangling", b"loop", b"folder-link", b"socket"]
            )
            assert sorted(e.relative for e in world.said(FileIgnored)) == sorted(
                os.listdir(world.inbox)
            )
        server.close()

    run(work())


def test_a_folder_swapped_for_a_link_between_sighting_and_claim_is_not_followed(base):
    async def work():
        world = World(base)
        world.room = 0
        os.makedirs(base + b"/etc")
        with open(base + b"/etc/f", "wb") as out:
            out.write(b"precious")
        async with world.open():
            world.drop("d/f", b"mine")
            await world.until(lambda: world.intake.backlog("in") == 1)
            shutil.rmtree(world.path("d"))
            os.symlink(base + b"/etc", world.path("d"))
            world.room = 10
            world.intake.poke()
            await world.intake.idle()
            assert world.refs == []
            assert os.path.exists(base + b"/etc/f")

    run(work())


def test_the_same_name_twice_quickly_is_two_files(base):
    async def work():
        async with World(base).open() as world:
            await world.source.scanned()
            for number in range(50):
                world.drop("same", b"%d" % number)
                while os.path.exists(world.path("same")):
                    await asyncio.sleep(0)
            await world.count(50)
            assert world.taken() == {b"same": [b"%d" % n for n in range(50)]}

    run(work())


def test_without_room_nothing_is_taken(base):
    async def work():
        world = World(base)
        world.room = 0
        async with world.open():
            world.drop("a")
            await world.until(lambda: world.intake.backlog("in") == 1)
            await asyncio.sleep(0.2)
            assert world.refs == []
            assert os.path.exists(world.path("a"))
            world.room = 1
            await world.count(1)

    run(work())


def test_a_hard_link_is_copied_and_only_its_name_goes(base):
    async def work():
        async with World(base).open() as world:
            await world.source.scanned()
            other = base + b"/other"
            with open(other, "wb") as out:
                out.write(b"linked")
            os.link(other, world.path("name"))
            await world.count(1)
            await world.intake.idle()
            assert not os.path.exists(world.path("name"))
            with open(other, "ab") as out:
                out.write(b" and changed")
            assert world.taken() == {b"name": [b"linked"]}
            assert os.listdir(world.path(".filemill/claimed")) == []

    run(work())


@pytest.mark.skipif(not os.path.isdir("/dev/shm"), reason="needs a second file system")
def test_across_file_systems_the_original_goes_only_after_the_commit(base):
    async def work():
        world = World(base)
        shm = b"/dev/shm/filemill-test-%d" % os.getpid()
        world.content_root = shm + b"/content"
        os.makedirs(shm)
        try:
            async with world.open():
                assert os.stat(shm).st_dev != os.stat(base).st_dev
                for number in range(20):
                    world.drop(f"d/{number}", b"%d" % number * 1000)
                await world.count(20)
                await world.intake.idle()
                assert world.taken() == {b"d/%d" % n: [b"%d" % n * 1000] for n in range(20)}
                assert os.listdir(world.path("d")) == []
                assert os.listdir(world.path(".filemill/claimed")) == []
        finally:
            shutil.rmtree(shm)

    run(work())


def test_kept_files_stay_and_are_taken_once_per_version(base):
    async def work():
        world = World(base, after="keep", ledger=os.fsdecode(base) + "/ledger")
        async with world.open():
            world.drop("a", b"one")
            await world.count(1)
            for _ in range(3):
                await world.source.scanned()
            await world.intake.idle()
            assert len(world.refs) == 1
            world.write("a", b"three")
            await world.count(2)
        async with world.open():  # another server: only the ledger remembers
            await world.source.scanned()
            await world.intake.idle()
            assert [r.file for r in world.refs] == list(
                dict.fromkeys(r.file for r in world.refs)
            ) + [r.file for r in world.recovered.uninspected]
            assert world.taken()[b"a"][:2] == [b"one", b"three"]
            with open(world.path("a"), "rb") as file:
                assert file.read() == b"three"

    run(work())


def test_a_writer_that_slips_in_gets_its_file_back(base):
    """The lease test after the rename sees a writer who opened the file during it."""

    async def work():
        world = World(base)
        async with world.open():
            await world.source.scanned()
            held = []
            adopt = world.content.adopt

            def slow_adopt(source: bytes, reference: str) -> None:
                if not held:
                    held.append(open(world.path("a"), "ab", buffering=0))
                adopt(source, reference)

            world.content.adopt = slow_adopt
            world.drop("a", b"first")
            await world.until(lambda: held and os.path.exists(world.path("a")))
            await asyncio.sleep(0.1)
            assert world.refs == []
            held[0].write(b" second")
            held[0].close()
            await world.count(1)
            assert world.taken() == {b"a": [b"first second"]}
            await world.intake.idle()
            assert len(world.content.references()) == 1

    run(work())


def test_a_file_replaced_during_the_rename_is_taken_as_itself(base):
    async def work():
        world = World(base)
        async with world.open():
            await world.source.scanned()
            adopt, swapped = world.content.adopt, []

            def swapping(source: bytes, reference: str) -> None:
                if not swapped:
                    swapped.append(1)
                    world.drop("a", b"newer version")
                adopt(source, reference)

            world.content.adopt = swapping
            world.drop("a", b"old")
            await world.count(1)
            await world.intake.idle()
            assert world.taken() == {b"a": [b"newer version"]}

    run(work())


def test_put_back_never_replaces_what_came_meanwhile(base):
    async def work():
        world = World(base)
        async with world.open():
            await world.source.scanned()
            adopt, held = world.content.adopt, []

            def meddling(source: bytes, reference: str) -> None:
                if held:
                    adopt(source, reference)
                    return
                held.append(open(world.path("a.txt"), "ab", buffering=0))
                adopt(source, reference)
                world.drop("a.txt", b"another")

            world.content.adopt = meddling
            world.drop("a.txt", b"first")
            await world.until(lambda: held)
            held[0].write(b" more")
            held[0].close()
            await world.count(2)
            assert world.taken() == {b"a.txt": [b"another"], b"a-2.txt": [b"first more"]}

    run(work())


def test_limits_reject_visibly_and_lose_nothing(base):
    async def work():
        world = World(base, max_size="10B", types=["text/csv", "*.log"])
        async with world.open():
            world.drop("big.csv", b"x" * 11)
            world.drop("a.exe", b"x")
            world.drop("a.csv", b"x")
            world.drop("A.LOG", b"x")
            await world.until(lambda: len(world.said(FileIngested)) == 4)
            await world.intake.idle()
            assert sorted(world.taken()) == [b"A.LOG", b"a.csv"]
            assert sorted(e.relative for e in world.said(FileRejected)) == [b"a.exe", b"big.csv"]
            assert len(world.content.references()) == 4

    run(work())


def test_tags_of_the_source(base):
    async def work():
        world = World(base, tags=["partner:{dir}", "fed"])
        async with world.open():
            world.drop("Acme Co/deep/a", b"1")
            world.drop("b", b"2")
            await world.count(2)
            assert {r.relative: r.tags for r in world.refs} == {
                b"Acme Co/deep/a": ("partner:acme%20co", "fed"),
                b"b": ("fed",),
            }

    run(work())


def test_a_vanished_file_is_said_only_if_it_was_there(base):
    async def work():
        world = World(base)
        async with world.open():
            await world.source.scanned()
            world.write("gone", b"x")
            os.unlink(world.path("gone"))
            await world.intake.idle()
            await world.until(lambda: world.intake.backlog("in") == 0)
            assert world.said(FileVanished) == []
            adopt = world.content.adopt

            def vanishing(source: bytes, reference: str) -> None:
                os.unlink(world.path("v"))
                adopt(source, reference)

            world.content.adopt = vanishing
            world.drop("v")
            await world.until(lambda: world.said(FileVanished))
            await world.intake.idle()
            assert await world.ledger.live() == 0

    run(work())


@pytest.mark.parametrize(
    "fault",
    [
        *("rename:1:ENOSPC", "sync_file:2:EIO", "rename:1:EIO", "sync_directory:3:EIO"),
        "sync_directory:4:EIO",
        # It can be neither finished nor undone at once.
        *("sync_file:1:EIO,rename:2:EIO", "sync_directory:4:EIO,rename:2:EIO"),
    ],
)
def test_a_failing_disk_leaves_files_where_they_are_and_goes_on(base, fault):
    async def work():
        world = World(base)
        async with world.open(fail=fault):
            world.drop("a", b"1")
            await world.count(1, 15)
            assert world.taken() == {b"a": [b"1"]}
            await world.intake.idle()
            assert await world.ledger.live() == 1
            assert len(world.content.references()) == 1
            assert len(world.said(FileIngested)) == 1

    run(work())


def test_take_copies_named_files_and_knows_them_again(base):
    async def work():
        world = World(base, tags=["partner:{dir}"])
        async with world.open(source=False):
            inside = world.drop("acme/a.csv", b"1")
            outside = base + b"/b.csv"
            with open(outside, "wb") as out:
                out.write(b"2")
            link = base + b"/link"
            os.symlink(outside, link)
            ids = await world.intake.take([inside, outside], tags=["once"])
            assert [r.file for r in world.refs] == ids
            assert [r.tags for r in world.refs] == [("partner:acme", "once"), ("from:cli", "once")]
            assert [r.source for r in world.refs] == ["in", "cli"]
            assert os.path.exists(inside)
            assert os.path.exists(outside)
            assert await world.intake.take([inside, link]) == [None, None]
            with pytest.raises(UsageError):
                await world.intake.take([base + b"/nowhere"])
            with pytest.raises(UsageError):
                await world.intake.take([base])

    run(work())


def test_take_again_takes_a_known_file_once_more(base):
    async def work():
        world = World(base)
        async with world.open(source=False):
            path = base + b"/b.csv"
            with open(path, "wb") as out:
                out.write(b"2")
            (first,) = await world.intake.take([path])
            (again,) = await world.intake.take([path], again=True)
            assert again is not None
            assert again != first

    run(work())


def test_copied_and_archived_files_are_known_to_the_next_server(base):
    async def work():
        world = World(base, claim="copy", ledger=os.fsdecode(base) + "/ledger")
        world.drop("a", b"one")
        for _ in range(2):
            async with world.open():
                await world.source.scanned()
                await world.intake.idle()
        assert len({ref.file for ref in world.refs}) == 1
        assert os.listdir(world.inbox) == [b"a"]

    run(work())


def test_a_stopped_intake_is_idle_though_a_file_is_still_written(base):
    async def work():
        async with World(base).open() as world:
            with open(world.path("open"), "wb", buffering=0) as out:
                out.write(b"x")
                await world.source.scanned()
                waiting = asyncio.create_task(world.intake.idle())
                await asyncio.sleep(0.1)
                assert not waiting.done()
                await world.intake.stop()
                await asyncio.wait_for(waiting, 60)
                assert os.path.exists(world.path("open"))

    run(work())


def test_a_named_file_that_is_being_written_is_copied_whole(base):
    async def work():
        world = World(base)
        async with world.open(source=False):
            path = base + b"/growing"
            with open(path, "wb", buffering=0) as out:
                out.write(b"first ")
                taking = asyncio.create_task(world.intake.take([path]))
                await asyncio.sleep(0.2)
                out.write(b"second")
            await taking
            assert world.taken() == {b"growing": [b"first second"]}

    run(work())


def test_dispose_applies_after_and_says_so(base):
    async def work():
        world = World(base)
        async with world.open(source=False):
            for name in ("a", "b", "c"):
                world.content.put(b"x", f"bucket/{name}")
            done = []

            class Ledger:
                async def disposed(self, files, at_ns):
                    assert len(world.content.references()) == 3, "the ledger comes first"
                    done.extend(files)
                    return [True, True, False]

            number = await dispose(
                [
                    Disposal("a", "bucket/a", b"", "archive", "rename"),
                    Disposal("b", "bucket/b", b"", "delete", "rename"),
                    Disposal("c", "bucket/c", b"", "delete", "rename"),
                ],
                ledger=Ledger(),
                content=world.content,
                clock=world.intake._clock,
                emit=world.events.append,
            )
            assert number == 2
            assert sorted(world.content.references()) == ["bucket/a", "bucket/c"]

    run(work())


def test_trouble_is_said_once_and_over(base):
    async def work():
        world = World(base)
        async with world.open(fail="rename:1:EIO,rename:2:EIO"):
            world.drop("a", b"1")
            await world.count(1, 15)
            assert len(world.said(SystemTrouble)) == 1

    run(work())
