"""Steps on whole files through a real executor: decompress, transcode, unpack, emit."""

from __future__ import annotations

import gzip
import io
import lzma
import os
import zipfile
from pathlib import Path
from typing import Any

import msgspec
import pytest
from milling import Mill, balanced, route, step

from filemill.durable import Durable, Failpoints
from filemill.model.errors import FailureKind
from filemill.model.plan import Tolerance
from filemill.model.runs import MAX_DEPTH, RunOrder

CSV = "id,città\n1,Zürich\n2,Köln\n"
WRITE = step("write", to=["out"])


def zipped(**files: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in files.items():
            archive.writestr(name.replace("__", "/") + ".csv", data)
    return out.getvalue()


def scratch(mill: Mill) -> list[str]:
    """Whatever is in the data directory beside the children."""
    return [
        str(path)
        for path in (mill.folder / "data").rglob("*")
        if path.is_file() and "children" not in path.parts
    ]


def staged_children(mill: Mill) -> list[Path]:
    return sorted(path for path in (mill.folder / "data/children").rglob("*") if path.is_file())


def at_depth(order: RunOrder, depth: int) -> RunOrder:
    return msgspec.structs.replace(order, file=msgspec.structs.replace(order.file, depth=depth))


# -- decompress and transcode -------------------------------------------------------------------------


def test_a_chain_of_file_steps_before_a_reader(mill: Mill) -> None:
    steps = [
        step("decompress"),
        step("transcode", candidates=["cp1252"]),
        step("read_csv"),
        step("filter", where="id = 2"),
        WRITE,
    ]
    orders = [
        mill.order("x/a.csv.gz", gzip.compress(CSV.encode("cp1252")) * 1),
        mill.order("b.CSV.XZ", lzma.compress(CSV.encode("utf-16"))),
        mill.order("plain.csv", CSV.encode()),
        mill.order("empty.csv", b""),
    ]
    results, outputs = mill.run(steps, *orders)
    assert [result.failure for result in results] == [None] * 4
    wanted = "id,città\n2,Köln\n".encode()
    assert [outputs[name].get("out") for name in ("x/a.csv.gz", "b.CSV.XZ", "plain.csv")] == [
        wanted
    ] * 3
    names = [result.outputs[0].name for result in results[:3]]
    assert names == [b"x/a.csv", b"b.CSV", b"plain.csv"]
    assert all(balanced(result) for result in results)
    assert scratch(mill) == []


def test_many_members_are_one_file_and_its_digest_is_of_what_was_written(mill: Mill) -> None:
    import hashlib

    order = mill.order("a.log.gz", gzip.compress(b"one\n") + gzip.compress(b"two\n"))
    arrived = msgspec.structs.replace(order.file, digest="0" * 64)
    (result,), outputs = mill.run(
        [step("decompress"), WRITE], msgspec.structs.replace(order, file=arrived)
    )
    assert outputs["a.log.gz"]["out"] == b"one\ntwo\n"
    assert result.outputs[0].digest == hashlib.sha256(b"one\ntwo\n").hexdigest()


@pytest.mark.parametrize(
    ("data", "options", "said"),
    [
        (gzip.compress(CSV.encode(), mtime=0)[:-4], {}, "ends early, at byte"),
        (gzip.compress(CSV.encode(), mtime=0)[:-8] + b"\0" * 8, {}, "damaged between byte"),
        (gzip.compress(CSV.encode(), mtime=0) + b"and then some", {}, "from byte"),
        (b"\x1f\x8b\x08", {}, "ends early, at byte 3"),
        (b"", {}, "ends early, at byte 0"),
        (CSV.encode(), {"format": "gz"}, "this is no gzip data (byte 0)"),
        (gzip.compress(bytes(5_000), mtime=0), {"max_size": 4_999}, "more than"),
        (gzip.compress(bytes(65 << 20), mtime=0), {}, "times its size"),
    ],
)
def test_a_bad_file_fails_alone_with_nothing_staged(
    mill: Mill, data: bytes, options: dict[str, Any], said: str
) -> None:
    good = mill.order("good.csv.gz", gzip.compress(CSV.encode()))
    bad = mill.order("bad.csv.gz", data)
    steps = [step("decompress", **options), step("read_csv"), WRITE]
    if options.get("format") or options.get("max_size"):
        good = mill.order("good.csv.gz", gzip.compress(b"a\n1\n"))
    results, outputs = mill.run(steps, good, bad)
    assert results[0].failure is None
    assert outputs["good.csv.gz"]["out"]
    failure = results[1].failure
    assert failure is not None
    assert (failure.kind, failure.step) == (FailureKind.PERMANENT, "decompress")
    assert said in failure.message
    assert failure.help
    assert not failure.traceback
    assert len(mill.staged()) == 1
    assert scratch(mill) == []


@pytest.mark.parametrize(
    ("data", "options", "said"),
    [
        (b"id,a\n1,\x81\n", {"from": "cp1252"}, "byte 7 is not cp1252"),
        (CSV.encode("cp1252"), {"from": "utf-8"}, "byte 7 is not utf-8"),
        ("a,b\n".encode("utf-16-le") + b"\x00\xdc", {"from": "utf-16"}, "byte 8 is not utf-16-le"),
        (CSV.encode("utf-8") + "3,é\n".encode("cp1252"), {}, "byte 30 is not utf-8"),
    ],
)
def test_text_that_does_not_decode_names_its_byte(
    mill: Mill, data: bytes, options: dict[str, Any], said: str
) -> None:
    (result,), _ = mill.run(
        [step("transcode", **options), step("read_csv"), WRITE], mill.order("a.csv", data)
    )
    assert result.failure is not None
    assert said in result.failure.message
    assert result.failure.kind is FailureKind.PERMANENT
    assert mill.staged() == []
    assert scratch(mill) == []


# -- unpack -------------------------------------------------------------------------------------------


def test_each_entry_becomes_a_child_and_every_attempt_makes_the_same_ones(mill: Mill) -> None:
    data = zipped(a=b"id\n1\n", deep__b=b"id\n2\n", empty=b"")
    order = mill.order("in/feed.zip", data)
    steps = [step("unpack", tags=["part"]), WRITE]
    (result,), outputs = mill.run(steps, order)
    assert outputs["in/feed.zip"]["out"] == data, "the archive itself is passed on"
    children = result.children
    assert [child.relative for child in children] == [
        b"in/feed.zip/a.csv",
        b"in/feed.zip/deep/b.csv",
        b"in/feed.zip/empty.csv",
    ]
    assert {child.tags for child in children} == {("part",)}
    for child, content in zip(children, (b"id\n1\n", b"id\n2\n", b""), strict=True):
        path = Path(os.fsdecode(child.staged))
        assert path.read_bytes() == content
        status = path.stat()
        assert (child.identity.inode, child.identity.size) == (status.st_ino, len(content))
        assert child.identity.mtime_ns == status.st_mtime_ns
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.name == f"{child.file}.1"
    again = msgspec.structs.replace(order, fence=2, attempt=2)
    (second,), _ = mill.run(steps, again)
    assert [child.file for child in second.children] == [child.file for child in children]
    assert not {c.staged for c in second.children} & {c.staged for c in children}
    (other,), _ = mill.run(steps, msgspec.structs.replace(order, run="another"))
    assert not {c.file for c in other.children} & {c.file for c in children}
    assert scratch(mill) == []


def test_a_refused_archive_leaves_no_child_and_its_neighbours_have_theirs(mill: Mill) -> None:
    evil = io.BytesIO()
    with zipfile.ZipFile(evil, "w") as archive:
        archive.writestr("good.csv", b"id\n")
        archive.writestr("../../evil.csv", b"id\n")
    orders = [
        mill.order("good.zip", zipped(a=b"1")),
        mill.order("evil.zip", evil.getvalue()),
        mill.order("none.zip", b"id,a\n1,2\n"),
    ]
    results, _ = mill.run([step("unpack")], *orders)
    assert [len(result.children) for result in results] == [1, 0, 0]
    failures = [result.failure for result in results]
    assert failures[0] is None
    assert failures[1] is not None
    assert failures[2] is not None
    assert "leaves its archive by `..`" in failures[1].message
    assert "this is no archive" in failures[2].message
    assert {failures[1].kind, failures[2].kind} == {FailureKind.PERMANENT}
    assert staged_children(mill) == [Path(os.fsdecode(results[0].children[0].staged))]


@pytest.mark.parametrize(("depth", "option", "fits"), [(2, 3, True), (3, 3, False), (8, 8, False)])
def test_archives_within_archives_end(mill: Mill, depth: int, option: int, fits: bool) -> None:
    order = at_depth(mill.order("a.zip", zipped(a=b"1")), depth)
    (result,), _ = mill.run([step("unpack", max_depth=option)], order)
    assert bool(result.children) is fits
    assert (result.failure is None) is fits


# -- emit ---------------------------------------------------------------------------------------------


def test_records_are_emitted_as_a_file_of_their_own(mill: Mill) -> None:
    steps = [
        step("read_csv"),
        step("tag_records", tags={"big": "n > 1"}),
        step("emit", tags=["part", "x:y"], name="{stem}-big.csv", format="jsonl", guard="big"),
        WRITE,
    ]
    orders = [mill.order("in/a.csv", b"n\n1\n2\n3\n"), mill.order("b.csv", b"n\n1\n")]
    results, outputs = mill.run(steps, *orders)
    assert [result.failure for result in results] == [None, None]
    (child,) = results[0].children
    assert child.relative == b"in/a.csv/a-big.csv"
    assert child.tags == ("part", "x:y")
    assert Path(os.fsdecode(child.staged)).read_bytes() == b'{"n":2}\n{"n":3}\n'
    assert results[1].children == (), "no record, no child"
    assert outputs["in/a.csv"] == {"out": b"n\n1\n2\n3\n"}, "what is emitted is passed on"
    assert all(balanced(result) for result in results)
    assert [output.sink for output in results[0].outputs] == ["out"]


def test_the_file_as_it_stands_is_emitted(mill: Mill) -> None:
    steps = [step("decompress"), step("emit", tags=["plain"])]
    (result,), _ = mill.run(steps, mill.order("a.csv.gz", gzip.compress(b"n\n1\n")))
    (child,) = result.children
    assert child.relative == b"a.csv/a.csv"
    assert Path(os.fsdecode(child.staged)).read_bytes() == b"n\n1\n"


def test_a_child_too_deep_is_a_permanent_error(mill: Mill) -> None:
    steps = [step("read_csv"), step("emit"), WRITE]
    orders = [
        at_depth(mill.order("a.csv", b"n\n1\n"), MAX_DEPTH - 1),
        at_depth(mill.order("b.csv", b"n\n1\n"), MAX_DEPTH),
    ]
    results, _ = mill.run(steps, *orders)
    assert len(results[0].children) == 1
    failure = results[1].failure
    assert failure is not None
    assert (failure.kind, failure.step) == (FailureKind.PERMANENT, "emit")
    assert "when" in failure.help
    guarded = [step("read_csv"), step("emit", guard="nothing"), WRITE]
    (result,), _ = mill.run(guarded, orders[1])
    assert result.failure is None, "too deep to emit, not to be worked on"


def test_a_run_that_fails_emits_nothing(mill: Mill) -> None:
    steps = [step("read_csv"), step("emit"), step("select", columns=["n"]), WRITE]
    orders = [mill.order("good.csv", b"n,m\n1,2\n"), mill.order("bad.csv", b"n,m\n1,2\n1\n")]
    results, _ = mill.run(steps, *orders, tolerance=Tolerance(0))
    assert [len(result.children) for result in results] == [1, 0]
    assert results[1].failure is not None
    assert len(staged_children(mill)) == 1


def test_a_route_behind_an_emitted_file(mill: Mill) -> None:
    steps = [step("emit", guard="keep"), route()((None, ["out"]))]
    (result,), outputs = mill.run(steps, mill.order("a.bin", b"\0\1", tags=["keep"]))
    assert outputs["a.bin"]["out"] == b"\0\1"
    assert [child.relative for child in result.children] == [b"a.bin/a.bin"]


@pytest.mark.parametrize("action", ["rename", "sync_file"])
def test_a_full_disk_under_the_children_is_the_machines_trouble(mill: Mill, action: str) -> None:
    executor = mill.executor([step("unpack")])
    failing = Failpoints("worker", f"{action}:1:ENOSPC")
    executor._sinks._durable = Durable(failing)
    (result,) = executor.execute([mill.order("a.zip", zipped(a=b"1", b=b"2"))], lambda _: None)
    assert failing.counts[action]
    assert result.failure is not None
    assert result.failure.kind is FailureKind.SYSTEM
    assert "free some space" in result.failure.help
    assert staged_children(mill) == []
