"""Names of outputs: templates, hostile names, and that nothing ever leaves the root."""

from __future__ import annotations

import datetime as dt
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filemill.model.files import FileRef
from filemill.model.runs import publication_id
from filemill.sinks.naming import (
    NAME_MAX,
    PATH_MAX,
    NameTemplate,
    check_template,
    confine,
    other_name,
    split_name,
)


def file(relative: bytes = b"acme/a.csv", **more) -> FileRef:
    at = dt.datetime(2026, 3, 29, 0, 30, 15, tzinfo=dt.UTC)
    values = {
        "file": "f1",
        "path": b"/c/f1",
        "relative": relative,
        "size": 1,
        "source": "partners",
        "arrived_ns": int(at.timestamp()) * 1_000_000_000 + 999_999_999,
        "tags": ("partner:acme", "orders"),
        "digest": "0123456789abcdef",
    }
    return FileRef(**(values | more))


@pytest.mark.parametrize(
    ("template", "name"),
    [
        ("{path}", b"acme/a.csv"),
        ("{name}", b"a.csv"),
        ("{stem}.{ext}", b"a.csv"),
        ("{stem}-done.{ext}", b"a-done.csv"),
        ("{date}/{digest8}-{name}", b"2026-03-29/01234567-a.csv"),
        ("{time}", b"003015"),
        ("{pipeline}/{id}", b"orders/f1"),
        ("{tag:partner}/{name}", b"acme/a.csv"),
        ("{tag:nobody}/{name}", b"none/a.csv"),
    ],
)
def test_placeholders(template, name):
    assert NameTemplate(template).render(file(), "orders") == name


def test_date_is_the_arrival_in_the_timezone_given():
    assert (
        NameTemplate("{date}T{time}", "Europe/Berlin").render(file(), "p") == b"2026-03-29T013015"
    )
    later = file(arrived_ns=file().arrived_ns + 3600 * 10**9)  # across the change to summer time
    assert NameTemplate("{date}T{time}", "Europe/Berlin").render(later, "p") == b"2026-03-29T033015"


def test_suffix_follows_the_format_only_where_the_name_is_the_files_own():
    assert NameTemplate("{path}").render(file(), "p", b".jsonl") == b"acme/a.jsonl"
    assert NameTemplate("x-{name}").render(file(), "p", b".jsonl") == b"x-a.jsonl"
    assert NameTemplate("{stem}.out").render(file(), "p", b".jsonl") == b"a.out"
    assert NameTemplate("{path}").render(file(b"no-extension"), "p", b".csv") == b"no-extension.csv"
    assert NameTemplate("{path}").render(file(b"v1.2/data"), "p", b".csv") == b"v1.2/data.csv"


def test_a_name_without_extension_leaves_no_dot():
    assert NameTemplate("{stem}.{ext}").render(file(b"README"), "p") == b"README"
    assert NameTemplate("{stem}.{ext}").render(file(b".profile"), "p") == b".profile"


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("{nmae}", "did you mean `{name}`"),
        ("{digest}", "did you mean `{digest8}`"),
        ("{zzzzzz}", "there are {path}"),
        ("{tag:}", "names no tag"),
        ("{tag:Not A Tag}", "names no tag"),
        ("{name", "without its partner"),
        ("name}", "without its partner"),
        ("/abs/{name}", "leading `/`"),
        ("../{name}", "would leave"),
        ("a/../../{name}", "would leave"),
        (".filemill/{name}", "staged"),
        ("{date}/", "cannot end"),
        ("", "a name is needed"),
        ("a\0{name}", "NUL"),
    ],
)
def test_a_template_is_judged_before_anything_runs(template, says):
    with pytest.raises(ValueError) as caught:
        check_template(template)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("hostile", "name"),
    [
        (b"../../etc/passwd", b"%2e%2e/%2e%2e/etc/passwd"),
        (b"/etc/passwd", b"etc/passwd"),
        (b"a//./b", b"a/b"),
        (b"a\0b", b"a%00b"),
        (b".filemill/x.1", b"%2efilemill/x.1"),
        (b".FileMill/x.1", b"%2eFileMill/x.1"),
        (b"a/.filemill", b"a/.filemill"),
        (b"..", b"%2e%2e"),
        (b"", b"f1"),
        (b"./", b"f1"),
        (b"-rf", b"-rf"),
        (b"two\nlines\t \xff\xfe", b"two\nlines\t \xff\xfe"),
        (b"...", b"..."),
    ],
)
def test_hostile_names_are_made_harmless_and_others_keep_their_bytes(hostile, name):
    assert NameTemplate("{path}").render(file(hostile), "p") == name


def test_a_tag_cannot_climb_out():
    assert NameTemplate("{tag:partner}/{name}").render(file(tags=("partner:..",)), "p") == (
        b"%2e%2e/a.csv"
    )


def test_long_names_keep_their_extension_and_differ():
    one = confine(b"a" * 300 + b"1.csv", "f")
    other = confine(b"a" * 300 + b"2.csv", "f")
    assert len(one) == NAME_MAX
    assert one.endswith(b".csv")
    assert one != other


def test_a_long_name_is_cut_between_characters():
    name = confine("ä".encode() * 200 + b".csv", "f")
    assert len(name) <= NAME_MAX
    name.decode()


def test_a_path_too_deep_for_the_system_is_shortened():
    deep = b"/".join([b"d" * 200] * 30) + b"/a.csv"
    assert len(confine(deep, "f")) < 300
    assert confine(deep, "f").endswith(b"/a.csv")


@given(
    st.binary(max_size=600)
    | st.lists(st.sampled_from([b"..", b".", b"", b".filemill", b"a", b"\0", b"x" * 300])).map(
        b"/".join
    )
)
def test_whatever_a_file_is_called_its_output_stays_below_the_root(relative):
    for template in ("{path}", "{name}", "{stem}.{ext}", "x/{stem}{ext}"):
        name = NameTemplate(template).render(file(relative), "p", b".jsonl")
        assert name
        assert b"\0" not in name
        assert len(name) <= PATH_MAX + NAME_MAX + 40
        parts = name.split(b"/")
        assert all(0 < len(part) <= NAME_MAX and part not in (b".", b"..") for part in parts)
        assert parts[0].lower() != b".filemill"
        assert os.path.normpath(b"/root/" + name).startswith(b"/root/")


def test_other_names():
    assert other_name(b"a.csv", 2) == b"a-2.csv"
    assert other_name(b"acme/a", 11) == b"acme/a-11"
    assert other_name(b".profile", 2) == b".profile-2"
    long = b"x" * 251 + b".csv"
    assert len(other_name(long, 2)) == NAME_MAX
    assert other_name(long, 2) != other_name(long, 3)


def test_split_name():
    assert split_name(b"a.tar.gz") == (b"a.tar", b".gz")
    assert split_name(b".profile") == (b".profile", b"")
    assert split_name(b"...") == (b"...", b"")
    assert split_name(b"a.") == (b"a", b".")


def test_publication_ids_tell_apart_what_concatenation_would_not():
    assert publication_id("r1", "s", b"n") == publication_id("r1", "s", b"n")
    assert publication_id("r1", "s", b"n") != publication_id("r", "1s", b"n")
    assert len(publication_id("r1", "s", b"n")) == 32
