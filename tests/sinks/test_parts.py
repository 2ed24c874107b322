"""Memory for parts: used again once nobody wants the part, and never before."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from filemill.durable import Durable, Failpoints
from filemill.model.files import FileRef
from filemill.model.runs import ChunkRange, RunOrder, StagedOutput
from filemill.sinks.joining import FolderJoining
from filemill.sinks.parts import Parts, hold
from filemill.sinks.permitting import Permissions
from filemill.sinks.staged_file import StagedFile

pytestmark = pytest.mark.skipif(not Parts().possible, reason="no files in memory here")


def receive(descriptor: int) -> int:
    received = os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY)
    hold(received)
    return received


def test_a_part_that_is_wanted_is_not_used_again() -> None:
    parts = Parts()
    first = parts.take()
    os.write(first, b"first")
    received = receive(first)
    parts.give(first)

    second = parts.take()
    assert second != first
    os.pwrite(second, b"other", 0)
    assert os.pread(received, 5, 0) == b"first"

    os.close(received)  # however that came about
    parts.give(second)
    assert {parts.take(), parts.take()} == {first, second}


def test_a_part_that_a_step_closed_is_not_used() -> None:
    parts = Parts()
    first = parts.take()
    parts.give(first)
    other = os.open(os.devnull, os.O_RDWR)
    os.dup2(other, first)  # closed, and its number is somebody else's now

    assert parts.take() != first
    parts.empty()
    assert os.fstat(first).st_rdev == os.fstat(other).st_rdev, "not ours to close"


def test_what_rests_holds_no_memory_but_what_is_wanted() -> None:
    parts = Parts()
    free, wanted = parts.take(), parts.take()
    os.write(wanted, b"wanted")
    received = receive(wanted)
    parts.give(free)
    parts.give(wanted)

    parts.empty()

    for descriptor in (free, wanted):
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(descriptor)
    assert os.pread(received, 6, 0) == b"wanted"


def staged(
    tmp_path: Path, parts: Parts, number: int, data: bytes
) -> tuple[StagedFile, StagedOutput]:
    file = FileRef("f", os.fsencode(tmp_path / "a.txt"), b"a.txt", 100, "in", 0)
    order = RunOrder("r", file, "p", 1, 1, 1, chunk=ChunkRange(number, 0, 1))
    output = StagedFile("out", os.fsencode(tmp_path), order, b"a.txt", parts)
    output.add(memoryview(data), 1)
    return output, output.close(Durable(Failpoints("worker")), "suffix", Permissions())


def test_a_shorter_part_is_joined_without_what_its_memory_held_before(tmp_path: Path) -> None:
    parts = Parts()
    joining = FolderJoining(Durable(Failpoints("worker")), os.fsencode(tmp_path), 1, Permissions())
    for number, data in enumerate((b"a longer one\n", b"short\n", b"")):
        output, part = staged(tmp_path, parts, number, data)
        joining.append(part)
        output.release()
    joined = joining.finish()

    assert joined is not None
    assert Path(os.fsdecode(joined.staged)).read_bytes() == b"a longer one\nshort\n"
    assert joined.size == 19


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to others")
def test_what_is_joined_of_parts_is_whose_it_should_be(tmp_path: Path) -> None:
    durable = Durable(Failpoints("worker"))
    joining = FolderJoining(durable, os.fsencode(tmp_path), 1, Permissions(0o600, "65534:7"))
    output, part = staged(tmp_path, Parts(), 0, b"whole\n")
    joining.append(part)
    output.release()
    joined = joining.finish()
    assert joined is not None
    seen = os.stat(joined.staged)
    assert (seen.st_uid, seen.st_gid, seen.st_mode & 0o777) == (65534, 7, 0o600)


def test_a_part_that_is_shorter_than_its_worker_said_is_not_joined(tmp_path: Path) -> None:
    parts = Parts()
    joining = FolderJoining(Durable(Failpoints("worker")), os.fsencode(tmp_path), 1, Permissions())
    output, part = staged(tmp_path, parts, 0, b"whole\n")
    os.truncate(part.staged, 3)

    with pytest.raises(OSError, match="shorter than its worker said"):
        joining.append(part)
    output.release()
    assert joining.mark() is None
