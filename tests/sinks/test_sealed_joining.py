"""Parts of an output that is encrypted for its reader wait as ciphertext, go on after a crash, and open as one."""

from __future__ import annotations

import gzip
import os

import pyrage
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_folder_staging import csv_batch, order

from filemill.durable import Durable, Failpoints
from filemill.encryption.age import Corrupt, Opener
from filemill.model.runs import ChunkRange
from filemill.ports.sink import SinkContext
from filemill.sinks.folder import FolderSink
from filemill.sinks.folder_options import FolderOptions

OURS, READER = pyrage.x25519.Identity.generate(), pyrage.x25519.Identity.generate()
KEEPERS = (str(OURS.to_public()),)
OPENER = Opener(str(OURS))
CANARY = "CaNaRy4711"


@pytest.fixture
def root(tmp_path):
    return tmp_path / "out"


def make(root, keepers=KEEPERS, **options):
    options = FolderOptions(folder=str(root), encrypt=str(READER.to_public()), **options)
    context = SinkContext("out", options, "UTC", Durable(Failpoints("worker", "")))
    context.keepers = keepers
    sink = FolderSink(context)
    sink.prepare()
    return sink


def part(sink, number, rows):
    """One chunk's part, as a worker answers with it and the server takes it over."""
    stager = sink.stager([order(0, chunk=ChunkRange(number, 0, 0, 1, 1))])
    stager.write(csv_batch([(0, f"{row},{CANARY}") for row in rows]))
    ((made,),) = stager.finish().values()
    received = sink.receive(made)
    stager.release()
    return received


def pour(joined):
    def write(out):
        with open(joined.path, "rb") as source:
            OPENER.stream(source, out, ours=True)

    return write


def finished(sink, joining):
    joined = joining.joined()
    joining.sealed(sink.seal_up(pour(joined), joined.target))
    return joining.finish()


def opened(output):
    with open(output.staged, "rb") as made:
        data = made.read()
    assert len(data) == output.size
    plain = pyrage.decrypt(data, [READER])
    assert len(plain) == output.plain
    return plain


def text(parts):
    return "".join(["a,b\n", *(f"{row},{CANARY}\n" for rows in parts for row in rows)]).encode()


def plain_in(folder):
    return [p for p in folder.rglob("*") if p.is_file() and CANARY.encode() in p.read_bytes()]


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(st.lists(st.integers(0, 99), min_size=1, max_size=5), min_size=1, max_size=5),
    st.data(),
)
def test_what_is_joined_is_one_age_file_whenever_it_was_gone_on_with(root, parts, data):
    sink = make(root)
    again = data.draw(st.integers(0, len(parts) - 1))
    joining = sink.joining(7)
    for number, rows in enumerate(parts):
        if number == again and number:
            mark = joining.mark()
            lost = part(sink, number, [7, 7, 7])
            joining.append(lost)  # joined, and not marked: a crash comes between
            joining.leave()
            joining = sink.joining(7, mark)
        one = part(sink, number, rows)
        joining.append(one)
        sink.forget([one.staged])
        assert plain_in(root) == []
    output = finished(sink, joining)
    assert opened(output) == text(parts)
    assert os.listdir(root / ".filemill") == [os.path.basename(os.fsdecode(output.staged))]
    os.unlink(output.staged)


def test_compressed_parts_are_joined_too(root):
    sink = make(root, compress="gz")
    joining = sink.joining(7)
    for number in range(3):
        joining.append(part(sink, number, [number]))
    assert gzip.decompress(opened(finished(sink, joining))) == text([[0], [1], [2]])


def test_a_part_that_is_larger_than_memory_should_be_is_never_on_the_disk(root, monkeypatch):
    monkeypatch.setattr("filemill.sinks.staged_file._PART_IN_MEMORY", 100)
    sink = make(root)
    joining = sink.joining(7)
    joining.append(part(sink, 0, range(500)))
    assert plain_in(root) == []
    assert opened(finished(sink, joining)) == text([range(500)])


def test_what_was_joined_and_changed_since_is_not_gone_on_with(root):
    sink = make(root)
    joining = sink.joining(7)
    joining.append(part(sink, 0, range(9)))
    mark = joining.mark()
    joining.leave()
    with open(mark.staged, "r+b") as spool:
        spool.seek(mark.size // 2)
        byte = spool.read(1)
        spool.seek(-1, 1)
        spool.write(bytes([byte[0] ^ 1]))
    assert sink.joining(7, mark) is None
    assert os.listdir(root / ".filemill") == []


def test_damage_that_comes_before_it_is_encrypted_publishes_nothing(root):
    sink = make(root)
    joining = sink.joining(7)
    joining.append(part(sink, 0, range(9)))
    joined = joining.joined()
    with open(joined.path, "r+b") as spool:
        spool.seek(-60, 2)
        spool.write(b"x" * 20)
    with pytest.raises(Corrupt):
        sink.seal_up(pour(joined), joined.target)
    assert not os.path.exists(joined.target)
    joining.abort()
    assert os.listdir(root / ".filemill") == []


def test_without_encrypted_content_nothing_waits_to_be_joined(root):
    assert make(root).joins("csv", more=False)
    assert not make(root, keepers=()).joins("csv", more=False)
