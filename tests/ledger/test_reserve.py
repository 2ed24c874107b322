"""The reserve file: what must be committed on a full disk is, and nothing new begins until there is room."""

from __future__ import annotations

import asyncio
import os
import subprocess

import pytest

from filemill.durable import Durable, Failpoints
from filemill.ledgers.sqlite.ledger import SqliteLedger
from filemill.ledgers.sqlite.reserve import Reserve, reserve_size
from filemill.model.deeds import Deed
from filemill.model.errors import SystemFault
from filemill.testing.clock import FakeClock
from filemill.testing.ids import SequentialIds
from filemill.testing.journey import Journey

SIZE = 1 << 20
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")


@pytest.fixture
def disk(tmp_path):
    """A data directory on a file system of 8 MB."""
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", tmp_path],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("no mounts here")
    yield tmp_path
    subprocess.run(["umount", "-l", tmp_path], check=True)


def fill(disk):
    with open(disk / "ballast", "ab", buffering=0) as out:
        for size in (1 << 16, 4096, 1):
            try:
                while out.write(b"x" * size) == size:
                    pass
            except OSError:
                continue


async def opened(disk, reserve):
    durable = Durable(Failpoints("test"))
    return await SqliteLedger.open(str(disk / "ledger.db"), durable=durable, reserve=reserve)


async def until_full(journey, reserve=None):
    """Work until the ledger's log must grow on the full disk; the fault that this met, if it met one."""
    for number in range(500):
        try:
            deed = Deed("ana", journey.clock.wall_ns())
            await journey.ledger.note("test", [f"{number}" + "x" * 3_000], "", deed)
        except SystemFault as fault:
            return fault
        if reserve is not None and reserve.spent:
            return None
    raise AssertionError("the disk is not full")


async def begun(disk, reserve):
    return Journey(await opened(disk, reserve), SequentialIds(), FakeClock())


def test_what_runs_is_finished_on_the_reserve_and_nothing_begins(disk):
    async def go():
        reserve = Reserve(str(disk), SIZE)
        journey = await begun(disk, reserve)
        ledger = journey.ledger
        assert os.stat(disk / "reserve").st_blocks * 512 >= SIZE, "its room is really taken"
        (order,) = await journey.running()
        await journey.queued(1)
        fill(disk)
        assert await until_full(journey, reserve) is None, "every commit went through"
        assert reserve.spent
        assert not (disk / "reserve").exists()
        assert await ledger.stage([journey.stage(order)]) == [True]
        assert await ledger.finish([journey.finish(order)]) == [True]
        for begins in (journey.lease, lambda: ledger.begin_claims([journey.claim()])):
            with pytest.raises(SystemFault, match="nothing new begins") as told:
                await begins()
            assert "free some space" in told.value.help
        os.unlink(disk / "ballast")
        assert len(await journey.lease()) == 1
        assert (disk / "reserve").stat().st_size == SIZE
        await ledger.close()

    asyncio.run(go())


def test_without_it_nothing_can_be_committed(disk):
    async def go():
        journey = await begun(disk, None)
        (order,) = await journey.running()
        fill(disk)
        assert isinstance(await until_full(journey), SystemFault)
        with pytest.raises(SystemFault, match="disk is full"):
            await journey.ledger.stage([journey.stage(order)])
        os.unlink(disk / "ballast")
        assert await journey.ledger.stage([journey.stage(order)]) == [True]
        await journey.ledger.close()

    asyncio.run(go())


def test_a_start_on_a_full_disk_lives_on_what_was_left_and_begins_nothing(disk):
    async def go():
        journey = await begun(disk, Reserve(str(disk), SIZE))
        await journey.queued(3)
        await journey.lease(1)
        await journey.ledger.close()
        fill(disk)
        again = Reserve(str(disk), SIZE)
        journey = await begun(disk, again)
        assert (await journey.ledger.recover(journey.clock.wall_ns(), 10)).interrupted == 1
        await until_full(journey, again)
        assert again.spent
        await journey.ledger.close()
        fill(disk)
        with pytest.raises(SystemFault, match="is full") as told:
            await opened(disk, Reserve(str(disk), SIZE))
        assert "free some space" in told.value.help
        os.truncate(disk / "ballast", os.stat(disk / "ballast").st_size - (SIZE // 2))
        third = Reserve(str(disk), SIZE)
        journey = await begun(disk, third)
        assert third.spent, "there was no room to make it"
        with pytest.raises(SystemFault, match="nothing new begins"):
            await journey.lease()
        os.unlink(disk / "ballast")
        assert await journey.lease()
        await journey.ledger.close()

    asyncio.run(go())


def test_its_size(disk):
    assert reserve_size(str(disk), None) == (8 << 20) // 64
    assert reserve_size(str(disk), 4096) == 4096
    assert reserve_size("/", None) <= 16 << 20


def test_none_is_wanted_and_a_command_makes_none(disk):
    Reserve(str(disk), SIZE).prepare()
    command = Reserve(str(disk))
    command.prepare()
    assert command.size == SIZE
    assert command.give_up()
    assert not command.spent
    assert not command.give_up()
    Reserve(str(disk), SIZE).prepare()
    none = Reserve(str(disk), 0)
    none.prepare()
    assert not (disk / "reserve").exists()
    assert not none.spent
