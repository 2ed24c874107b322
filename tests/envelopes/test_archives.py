"""Archives: every file of them, or none and why. The walk runs in its limited process, as in earnest."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import os
import tarfile
import zipfile
from pathlib import Path

import archives
import pytest
from backports import zstd
from hypothesis import example, given, settings
from hypothesis import strategies as st

from filemill.envelopes import tars
from filemill.envelopes.compression import Damaged, OverBudget
from filemill.envelopes.entries import Limits, Refused, entry_path
from filemill.envelopes.unpacking import unpack
from filemill.envelopes.walking import walk

LIMITS = Limits(size=1 << 30, ratio=200, entries=1_000)
PACKED = {
    "tar.gz": archives.tgz,
    "tar.zst": lambda files: zstd.compress(archives.tarred(files)),
    "tar.bz2": lambda files: bz2.compress(archives.tarred(files)),
    "tar.xz": lambda files: lzma.compress(archives.tarred(files)),
    "zip": lambda files: archives.zipped([(name.decode(), data) for name, data in files.items()]),
}


def unpacked(folder: Path, data: bytes, limits: Limits = LIMITS) -> dict[bytes, bytes]:
    """What an archive holds by path, in order; everything on disk is below `folder`."""
    (folder / "archive").write_bytes(data)
    (folder / "work").mkdir()
    found = unpack(os.fsencode(folder / "archive"), str(folder / "work"), limits)
    return {name: Path(os.fsdecode(path)).read_bytes() for path, name in found}


def left(folder: Path) -> list[str]:
    """Whatever is on disk beside the archive and the list of entries."""
    names = [str(path.relative_to(folder)) for path in folder.rglob("*")]
    return sorted(set(names) - {"archive", "work", "work/manifest"})


@pytest.mark.parametrize("kind", list(PACKED))
def test_every_file_of_every_kind(tmp_path: Path, kind: str) -> None:
    made = unpacked(tmp_path, PACKED[kind](archives.FILES))
    assert list(made.items()) == list(archives.FILES.items())


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_zip_methods(tmp_path: Path, method: int) -> None:
    data = archives.zipped({"a/": b"", "a/b": b"12345" * 99, "c": b""}, method)
    assert unpacked(tmp_path, data) == {b"a/b": b"12345" * 99, b"c": b""}


def test_names_keep_their_bytes(tmp_path: Path) -> None:
    data = archives.zipped({"./a//XX.csv": b"1"}).replace(b"XX", b"\xff\xe4")
    assert unpacked(tmp_path, data) == {b"a/\xff\xe4.csv": b"1"}


NAMES = st.lists(
    st.binary(min_size=1, max_size=120).filter(
        lambda b: (
            not {b"/", b"\0", b"\\"} & {b[i : i + 1] for i in range(len(b))}
            and b not in (b".", b"..")
            and b[1:2] != b":"
        )
    ),
    min_size=1,
    max_size=4,
).map(b"/".join)


@settings(max_examples=60, deadline=None)
@given(
    files=st.dictionaries(NAMES, st.binary(max_size=1_200), max_size=5),
    form=st.sampled_from([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
    piece=st.integers(1, 700),
)
def test_tar_is_read_as_it_was_written(files: dict[bytes, bytes], form: int, piece: int) -> None:
    try:
        data = archives.tarred(files, form, folders=("some/folder",))
    except ValueError:
        return  # a name that ustar cannot hold
    read = io.BytesIO(data)
    made = [
        (path, b"".join(parts)) for path, parts in tars.entries(lambda n: read.read(min(n, piece)))
    ]
    assert made == list(files.items())


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_cut_tar_is_an_error(data: st.DataObject) -> None:
    whole = archives.tarred(archives.FILES)
    ends = len(whole.rstrip(b"\0")) + 512
    at = data.draw(st.integers(0, ends - 512))
    found = tars.entries(io.BytesIO(whole[:at]).read)
    with pytest.raises(Damaged, match="ends early"):
        list(found)  # asking for the next one reads the rest of each


REFUSED = {
    "zip: absolute": archives.zipped({"/etc/passwd": b"x"}),
    "zip: leaves": archives.zipped({"good": b"", "../../x": b"x"}),
    "zip: leaves within": archives.zipped({"a/../../x": b"x"}),
    "zip: leaves by backslashes": archives.zipped({"a\\..\\..\\x": b"x"}),
    "zip: a drive": archives.zipped({"C:\\x": b"x"}),
    "zip: a NUL": archives.renamed(archives.zipped({"aXb": b"x"}), b"aXb", b"a\0b"),
    "zip: a symbolic link": archives.zipped_entry("link", b"/etc/passwd", 0o120777),
    "zip: a device": archives.zipped_entry("null", b"", 0o020666),
    "zip: a long name": archives.zipped({"a/" * 600 + "b": b""}),
    "zip: a long part": archives.zipped({"a" * 256: b""}),
    "zip: deep": archives.zipped({"/".join("a" * 65): b""}),
    "zip: shares bytes": archives.overlapping(),
    "tar: absolute": archives.tarred({b"/etc/passwd": b"x"}),
    "tar: leaves": archives.tarred({b"good": b"", b"../x": b"x"}),
    "tar: a symbolic link": archives.tarred_entry("link", tarfile.SYMTYPE, "/etc"),
    "tar: a link": archives.tarred_entry("link", tarfile.LNKTYPE, "good"),
    "tar: a device": archives.tarred_entry("null", tarfile.CHRTYPE),
    "tar: a FIFO": archives.tarred_entry("pipe", tarfile.FIFOTYPE),
    "tar: sparse": archives.tarred_entry("sparse", b"0", **{"GNU.sparse.major": "1"}),
    "tar: leaves by a pax header": archives.tarred_entry("good", b"0", path="../x"),
    "tar: a folder that leaves": archives.tarred({}, folders=("../x",)),
    "none": b"id,a\n1,2\n" * 200,
    "a compressed file": gzip.compress(b"id\n1\n" * 999),
}


def walked(folder: Path, data: bytes) -> None:
    """The walk alone, without its process."""
    (folder / "archive").write_bytes(data)
    with contextlib.chdir(folder), open("archive", "rb", buffering=0) as source:
        walk(source, LIMITS)


@pytest.mark.parametrize("name", list(REFUSED))
def test_what_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(Refused) as caught:
        walked(tmp_path, REFUSED[name])
    assert caught.value.help
    assert "\0" not in caught.value.message


def test_an_encrypted_entry_says_what_to_do(tmp_path: Path) -> None:
    data = archives.zipped({"secret.csv": b"x"})
    # Bit 0 of the flags, in the entry and in the directory.
    data = data.replace(b"PK\x03\x04\x14\0\0", b"PK\x03\x04\x14\0\x01").replace(
        b"PK\x01\x02\x14\x03\x14\0\0", b"PK\x01\x02\x14\x03\x14\0\x01"
    )
    with pytest.raises(Refused, match=r"'secret\.csv' is encrypted") as caught:
        unpacked(tmp_path, data)
    assert "decrypt it" in caught.value.help


DAMAGED = {
    "zip: cut": archives.zipped({"a": b"12345" * 99})[:-30],
    "zip: followed by something": archives.zipped({"a": b"1"}) + b"more",
    "zip: a wrong sum": archives.zipped({"a": b"12345678"}, 0).replace(b"12345678", b"12345679"),
    "zip: a lying size": archives.lying(zeros=1 << 20),
    "tar: cut": archives.tarred(archives.FILES)[:3_000],
    "tar: damaged": archives.tarred({b"a": b"", b"b": b""}).replace(b"b\0", b"c\0"),
    "tar: two in one": archives.tarred({b"a": b"1"}) + archives.tarred({b"b": b"2"}),
    "tar: backwards": archives.endless_tar(),
    "tar.gz: cut": archives.tgz(archives.FILES)[:-5],
    "tar.gz: a wrong sum": archives.tgz(archives.FILES)[:-8] + b"\0" * 8,
}


@pytest.mark.parametrize("name", list(DAMAGED))
def test_what_is_damaged(tmp_path: Path, name: str) -> None:
    with pytest.raises(Damaged):
        walked(tmp_path, DAMAGED[name])


@pytest.mark.parametrize(
    ("error", "data"),
    [
        (Refused, archives.tarred({b"good": b"x" * 9_000, b"../x": b""})),
        (Damaged, archives.tgz({b"good": b"x" * 9_000, b"a": b""})[:-5]),
    ],
)
def test_nothing_is_left_of_what_came_before_an_error(
    tmp_path: Path, error: type[Exception], data: bytes
) -> None:
    with pytest.raises(error):
        unpacked(tmp_path, data)
    assert left(tmp_path) == []


BOMBS = {
    "zip": (lambda: archives.zipped({"a": bytes(66 << 20)}), LIMITS),
    "tar.gz": (lambda: archives.tgz({b"a": bytes(66 << 20)}), LIMITS),
    "too big": (lambda: archives.tarred({b"a": b"123", b"b": b"456"}), Limits(5, 200, 10)),
    "too many": (lambda: archives.zipped({str(n): b"" for n in range(12)}), Limits(5, 200, 11)),
    "too many in a tar": (
        lambda: archives.tarred({b"%d" % n: b"" for n in range(12)}),
        Limits(5, 200, 11),
    ),
}


@pytest.mark.parametrize("name", list(BOMBS))
def test_a_bomb_ends_at_its_budget(tmp_path: Path, name: str) -> None:
    make, limits = BOMBS[name]
    with pytest.raises(OverBudget) as caught:
        unpacked(tmp_path, make(), limits)
    assert left(tmp_path) == []
    assert "raise `max_" in caught.value.help


def test_the_size_that_comes_out_counts_and_not_the_one_that_is_said(tmp_path: Path) -> None:
    """A stored size of ten bytes: nothing is believed of it, and no more than its budget is ever written."""
    with pytest.raises((Damaged, OverBudget)):
        unpacked(tmp_path, archives.lying(8 << 20), Limits(1 << 20, 200, 10))
    assert left(tmp_path) == []


@example(b"./\\x")
@example(b"a/./C:\\x")
@example(b".//C:/x")
@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=40) | st.text("./\\ab:C\0", max_size=12).map(str.encode))
def test_a_path_never_leaves_its_archive(raw: bytes) -> None:
    try:
        path = entry_path(raw)
    except Refused:
        return
    assert not path.startswith(b"/")
    parts = path.split(b"/") if path else []
    assert not {b"", b".", b".."} & set(parts)
    assert b"\0" not in path
    assert entry_path(path) == path
