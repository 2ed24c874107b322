"""Options of the folder source, units, ignored names and mounts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from filemill.ports.units import (
    Duration,
    LocalPath,
    Size,
    format_duration,
    format_size,
    parse_duration,
    parse_size,
)
from filemill.sources.folder import FolderSource
from filemill.sources.mounts import file_systems, without_events
from filemill.sources.names import Ignore


def options(**given):
    return FolderSource.Options(folder="in", **given)


def test_defaults_are_the_documented_ones():
    assert options().model_dump() == {
        "folder": "in",
        "tags": (),
        "ignore": (),
        "recursive": True,
        "create": False,
        "settle": 0.5,
        "settle_unproven": 10.0,
        "poll": "auto",
        "claim": "rename",
        "after": "archive",
        "duplicates": "process",
        "permissions": "warn",
        "max_size": None,
        "types": (),
        "priority": 0,
    }


def test_text_becomes_what_it_means_and_a_dump_validates_again():
    made = options(
        settle="2s",
        max_size="200MB",
        types="text/csv",
        tags=["a", "b"],
        recursive="no",
        poll="5s",
        priority="7",
    )
    assert (made.settle, made.max_size, made.types) == (2.0, 200_000_000, ("text/csv",))
    assert (made.poll, made.recursive, made.priority) == (5.0, False, 7)
    assert FolderSource.Options(**made.model_dump()) == made


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"settle": "500"}, "write a number and a unit"),
        ({"settle": "-1s"}, "not a duration"),
        ({"max_size": "200"}, "write a number and a unit"),
        ({"poll": "sometimes"}, "auto, always, never"),
        ({"after": "burn"}, "'archive', 'delete' or 'keep'"),
        ({"fodler": "x"}, "Extra inputs"),
        ({"folder": " "}, "a path is missing"),
    ],
)
def test_wrong_values_say_how_to_write_them(wrong, said):
    with pytest.raises(ValidationError) as caught:
        FolderSource.Options(**({"folder": "in"} | wrong))
    assert len(caught.value.errors()) == 1
    assert said in str(caught.value)


class Paths(BaseModel):
    path: LocalPath


def test_relative_paths_follow_the_root():
    assert Paths.model_validate({"path": "a/../b"}, context={"root": "/conf"}).path == "/conf/b"
    assert Paths.model_validate({"path": "/x"}, context={"root": "/conf"}).path == "/x"
    assert Paths(path="x").path == "x"


@given(st.integers(0, 10**9))
def test_durations_read_back(ms):
    assert parse_duration(format_duration(ms / 1000)) == pytest.approx(ms / 1000)


@given(st.integers(0, 10**15))
def test_sizes_show_at_most_their_meaning(size):
    assert parse_size(format_size(size)) == pytest.approx(size, rel=0.06)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("500ms", 0.5),
        ("5m", 300),
        ("1h30m", 5400),
        ("0", 0),
        (" 2 s ", 2),
        ("1.5h", 5400),
        ("30d", 2592000),
    ],
)
def test_durations(text, value):
    assert parse_duration(text) == value


@pytest.mark.parametrize("text", ["99999999999d", "9" * 400 + "s", "36500d36500d"])
def test_what_nobody_waits_for_is_no_duration(text):
    """Moments so far away have no number in the ledger."""
    assert parse_duration("36500d") > 0
    with pytest.raises(ValueError, match="hundred years"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("200MB", 200_000_000),
        ("16MiB", 16 << 20),
        ("0", 0),
        ("1.5 GiB", 3 << 29),
        ("512b", 512),
        ("4kB", 4000),
    ],
)
def test_sizes(text, value):
    assert parse_size(text) == value


class Units(BaseModel):
    wait: Duration
    size: Size


def test_schema_of_units_is_text_for_editors():
    schema = Units.model_json_schema()
    assert {each["type"] for each in schema["properties"].values()} == {"string"}


def test_ignore_globs():
    ignore = Ignore(["*.bak", "ÄRGER*", "sub/*.me"])
    assert ignore(b"A.BAK", b"A.BAK")
    assert ignore("ärger.txt".encode(), "ärger.txt".encode())
    assert ignore(b"sub/x.ME", b"x.ME")
    assert not ignore(b"x.me", b"x.me")
    assert not ignore(b"\xff.csv", b"\xff.csv")
    assert Ignore(["?.csv"])(b"\xff.csv", b"\xff.csv")
    assert not Ignore([])(b"a\n.csv", b"a\n.csv")
    assert Ignore(["a*"])(b"a\n.csv", b"a\n.csv")


def test_mounts_that_need_polling(tmp_path):
    info = tmp_path / "mountinfo"
    info.write_text(
        "1 0 8:1 / / rw - ext4 /dev/a rw\n"
        "2 1 0:9 / /srv/in\\040box rw shared:1 - nfs4 host:/x rw\n"
        "3 1 0:8 / /srv/local rw - xfs /dev/b rw\n"
        "4 1 0:7 / /srv/local/far rw - fuse.sshfs host rw\n"
        "5 1 0:7 / /srvx rw - cifs host rw\n"
    )
    where = str(info)
    assert file_systems(b"/srv/in box/deep", where) == {"nfs4"}
    assert without_events(file_systems(b"/srv/local", where)) == ["fuse.sshfs"]
    assert without_events(file_systems(b"/var", where)) == []
    assert file_systems(b"/srv/none", where) == {"ext4"}
    assert file_systems(b"/x", str(tmp_path / "nowhere")) == frozenset()
