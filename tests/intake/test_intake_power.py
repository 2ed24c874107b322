"""What a power cut can undo of a claim: renames and removals that were made and not yet durable, each by hand."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from pathlib import Path

import apsw
import pytest
from intake_world import World

from filemill.contents.local import LocalContent
from filemill.durable import Durable, Failpoints
from filemill.model.events import SystemTrouble
from filemill.model.files import Identity

DATA = b"the only copy"


@pytest.fixture
def elsewhere():
    """A folder on another file system than `tmp_path`."""
    place = Path(f"/dev/shm/filemill-power-{os.getpid()}")
    if not place.parent.is_dir():
        pytest.skip("needs a second file system")
    place.mkdir()
    yield os.fsencode(place)
    shutil.rmtree(place)


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """Each life ends before what the disk let neither finish nor undo is tried again."""
    monkeypatch.setattr("filemill.intake.unfinished.FIRST_PAUSE", 60.0)


def world_of(base, elsewhere=b"", **options):
    world = World(base, ledger=os.fsdecode(base) + "/ledger", settle="1ms", **options)
    world.content_root = (elsewhere or base) + b"/content"
    return world


async def take(world, fail=""):
    """One life: everything in the source taken, or as far as the fault lets it come."""
    async with world.open(fail=fail):
        await asyncio.wait({world.intake._sweeping})
        await world.source.scanned()
        await asyncio.wait({asyncio.ensure_future(world.intake.idle())}, timeout=1 if fail else 10)


def states(world):
    with contextlib.closing(apsw.Connection(world.ledger_path)) as db:
        return [state for (state,) in db.execute("SELECT state FROM file")]


def held(world):
    folder = world.inbox + b"/.filemill/claimed"
    return [folder + b"/" + name for name in os.listdir(folder)] if os.path.isdir(folder) else []


def left_claiming(world):
    """A file held aside and copied, its row CLAIMING: where a power cut may strike."""
    world.drop(b"a.txt", DATA)
    asyncio.run(take(world, fail="sync_file:1:EIO,rename:3:EIO"))
    assert states(world) == ["claiming"], world.events
    assert len(held(world)) == 1
    assert len(world.content.references()) == 1


def test_a_copy_whose_original_is_back_in_its_place_is_taken_anew(tmp_path, elsewhere):
    """The copy lasted, the renaming of its original did not."""
    world = world_of(os.fsencode(tmp_path), elsewhere)
    left_claiming(world)
    os.rename(held(world)[0], world.path(b"a.txt"))
    world.events.clear()
    asyncio.run(take(world))
    assert not world.said(SystemTrouble)  # the copy that was removed is no orphan
    assert world.taken() == {b"a.txt": [DATA]}
    assert states(world) == ["ingested"]
    assert len(world.content.references()) == 1
    assert held(world) == []


def test_a_claim_that_stays_stuck_keeps_the_original_that_it_holds_aside(tmp_path, elsewhere):
    """It cannot be put back now: it is the only file, not what an acknowledged one left behind."""
    world = world_of(os.fsencode(tmp_path), elsewhere)
    left_claiming(world)
    asyncio.run(take(world, fail="rename:1:EIO"))
    assert states(world) == ["claiming"]
    assert len(held(world)) == 1
    asyncio.run(take(world))
    assert world.taken() == {b"a.txt": [DATA]}
    assert held(world) == []


@pytest.mark.parametrize("after", ["archive", "delete"])
def test_an_original_that_comes_back_after_its_commit_is_let_go_again(tmp_path, elsewhere, after):
    world = world_of(os.fsencode(tmp_path), elsewhere, after=after)
    world.drop(b"a.txt", DATA)
    asyncio.run(take(world))
    with contextlib.closing(apsw.Connection(world.ledger_path)) as db:
        content = str(db.execute("SELECT content FROM file").get)
        db.execute("UPDATE file SET state = 'inspected', disposed_ns = 1")
    back = world.inbox + b"/.filemill/claimed/" + content.replace("/", ".").encode()
    with open(back, "wb") as out:
        out.write(DATA)
    asyncio.run(take(world))
    assert held(world) == []
    assert not world.said(SystemTrouble)
    assert len(world.refs) == 1


@pytest.mark.parametrize("left", [0, 1])
def test_what_is_deleted_durably_is_synced_in_the_folder_that_is_left(tmp_path, left):
    durable = Durable(Failpoints("server"))
    content = LocalContent(os.fsencode(tmp_path) + b"/content", durable)
    content.open()
    first, second = content.reserve(["aaaaa1", "aaaaa2"])
    content.put(b"x", first)
    if left:
        content.put(b"x", second)
    content.reserve(
        [f"b{n}" for n in range(4_095)]
    )  # so that the first bucket is not the current one
    before = durable.failpoints.counts["sync_directory"]
    content.delete([first])
    assert durable.failpoints.counts["sync_directory"] == before
    content.delete([first], durable=True)
    assert durable.failpoints.counts["sync_directory"] == before + 1


def test_a_version_is_the_same_whatever_its_device_is_called():
    one = Identity(1, 2, 3, 4)
    assert one.is_version(Identity(9, 2, 3, 4))
    assert not one.is_version(Identity(1, 9, 3, 4))
    assert not one.is_version(Identity(1, 2, 9, 4))
    assert not one.is_version(Identity(1, 2, 3, 9))
