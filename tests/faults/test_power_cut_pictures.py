"""Pictures of mounted disks, taken at random moments under load: from each one all comes to its end."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from picturing import judge_pictures
from program import Program
from recorded import Recorded
from recording import BLOCK, Disk

pytestmark = [pytest.mark.crash, pytest.mark.timeout(180)]


@pytest.mark.slow
def test_pictures_taken_under_load_lose_and_double_nothing(
    recorded: Recorded, start: Callable[..., Program]
) -> None:
    """`tests/torture` does it with hundreds."""
    judged = judge_pictures(recorded, start, 5)
    assert judged.wrong == []


@pytest.mark.parametrize(
    "control", ["the ledger is not", "the names of outputs and claims are not"]
)
def test_a_picture_shows_a_sync_that_is_left_out(
    recorded: Recorded, start: Callable[..., Program], control: str
) -> None:
    """The negative controls: SQLite's `synchronous=NORMAL`, and an fsync that is dropped."""
    judged = judge_pictures(recorded, start, 16, control)
    print(judged.pictures, len(judged.wrong), *judged.wrong[:4], sep="\n")
    assert judged.wrong


def test_a_picture_has_all_that_was_flushed_and_any_part_of_the_rest() -> None:
    disk = Disk(16 * BLOCK)
    disk.write(0, bytes([1]) * 4 * BLOCK)
    disk.flush()
    disk.write(2 * BLOCK, bytes([2]) * 4 * BLOCK)
    disk.write(5 * BLOCK + 7, b"three")
    seen = set()
    for seed in range(300):
        kept = disk.picture(random.Random(seed))
        assert kept[0] == kept[1] == bytes([1]) * BLOCK
        seen.add(tuple(kept[n][0] if n in kept else 0 for n in range(2, 6)))
    assert {(1, 1, 0, 0), (2, 2, 2, 2), (2, 2, 0, 0)} <= seen, "nothing, all, and the first ones"
    assert (1, 2, 0, 2) in seen, "any of them"
    assert disk.read(5 * BLOCK + 5, 8) == b"\2\2three\2", "who reads sees what was written last"
