"""Tag rules on real files: every key, its why, patterns that cannot run away, users' taggers."""

from __future__ import annotations

import hashlib
import os

import pytest

from filemill.model.errors import UsageError
from filemill.model.files import FileRef, TagHit
from filemill.model.plan import Plan, SourcePlan, TagRulePlan
from filemill.routing import inspection
from filemill.routing.globs import NameGlob, PathGlob, fold
from filemill.routing.inspection import Inspector
from filemill.routing.patterns import check_pattern, contains

TABLE = b"order_id,amount\n1,2.50\n2,3.00\n"


@pytest.fixture
def drop(tmp_path):
    """Puts a file into content; answers with its FileRef."""
    counter = iter(range(10_000))

    def put(data=TABLE, relative=b"acme/orders.csv", **more):
        path = os.fsencode(tmp_path / f"c{next(counter)}")
        with open(path, "wb") as out:
            out.write(data)
        values = {
            "file": os.path.basename(path).decode(),
            "path": path,
            "relative": relative,
            "size": len(data),
            "source": "partners",
            "arrived_ns": 0,
        }
        return FileRef(**(values | more))

    return put


def plan(*rules, **more):
    return Plan(1, "/", "/d", tags=rules, **more)


def hits(file, *rules):
    (facts,) = Inspector(plan(*rules)).inspect([file])
    assert not facts.error
    return {hit.tag: hit.why for hit in facts.tags}


def refusal(file, rule):
    (one,) = Inspector(plan(rule)).examine([file], explain=True)
    (judged,) = one.judged
    assert not judged.holds
    return judged.why


def test_facts_of_a_file(drop):
    (facts,) = Inspector(plan()).inspect([drop(attributes={"k": "v"})])
    assert facts.digest == hashlib.sha256(TABLE).hexdigest()
    assert facts.media == "text/csv"
    assert facts.header == ("order_id", "amount")
    assert facts.attributes == {"k": "v"}
    (facts,) = Inspector(plan()).inspect([drop(relative=b"a.png")])
    assert facts.attributes == {"mismatch": "image/png"}


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ({"name": ("*.txt", "*.CSV")}, "name *.CSV"),
        ({"path": ("acme/*.csv",)}, "path acme/*.csv"),
        ({"source": ("other", "partners")}, "source partners"),
        ({"size": (None, 1000)}, "size 30B"),
        ({"size": (30, 30)}, "size 30B"),
        ({"mime": ("text/*",)}, "mime is text/csv"),
        ({"mime": ("application/csv",)}, "mime is text/csv"),
        ({"header": ("amount", "order_id")}, "header has amount, order_id"),
        ({"content": (r"^2,3\.00$",)}, r"content matches ^2,3\.00$"),
        ({"content": ("nope", "order")}, "content matches order"),
        ({}, ""),
        (
            {"name": ("*.csv",), "header": ("order_id",)},
            "name *.csv, header has order_id",
        ),
    ],
)
def test_keys_that_hold(drop, rule, why):
    assert hits(drop(), TagRulePlan("t", **rule)) == {"t": why}


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ({"name": ("*.txt", "*.log")}, "name is orders.csv, not *.txt or *.log"),
        ({"path": ("*.csv",)}, "path is acme/orders.csv, not *.csv"),
        ({"source": ("other",)}, "source is partners, not other"),
        ({"size": (1000, None)}, "size is 30B, not 1kB or more"),
        ({"size": (None, 29)}, "size is 30B, not 29B or less"),
        ({"mime": ("image/*",)}, "mime is text/csv, not image/*"),
        ({"header": ("order_id", "vat")}, "header has no vat (it has order_id, amount)"),
        ({"content": ("nope",)}, "content does not match nope"),
        ({"name": ("*.csv",), "mime": ("image/*",)}, "mime is text/csv, not image/*"),
    ],
)
def test_keys_that_do_not_hold(drop, rule, why):
    assert refusal(drop(), TagRulePlan("t", **rule)) == why
    assert hits(drop(), TagRulePlan("t", **rule)) == {}


def test_any_rule_of_a_tag_is_enough_and_the_first_is_the_why(drop):
    rules = [TagRulePlan("t", name=(glob,)) for glob in ("*.txt", "*.csv", "orders*")]
    assert hits(drop(), *rules) == {"t": "name *.csv"}


def test_source_tags_come_first_and_say_where_from(drop):
    source = SourcePlan("partners", "folder", {}, ("partner:{dir}", "feed"))
    rules = (TagRulePlan("feed", name=("*",)),)
    file = drop(tags=("partner:acme", "feed"))
    (facts,) = Inspector(plan(*rules, sources=(source,))).inspect([file])
    assert facts.tags == (
        TagHit("partner:acme", "source", "source partners (dir)"),
        TagHit("feed", "source", "source partners"),
    )


# -- globs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("glob", "name", "fits"),
    [
        ("*.csv", b"A.CSV", True),
        ("*.csv", b"a.csv.gz", False),
        ("*.log*", b"x.log.1", True),
        ("data-[0-9]?.csv", b"DATA-12.csv", True),
        ("ÄRGER*", "ärger.txt".encode(), True),
        ("café*", "cafe\u0301.txt".encode(), True),
        ("*.csv", b"\xff\xfe.csv", True),
        ("*", b"two\nlines", True),
        ("?.csv", b"\xff.csv", True),
        ("[!a].csv", b"b.csv", True),
    ],
)
def test_name_globs(glob, name, fits):
    assert NameGlob(glob).matches(fold(name)) is fits


@pytest.mark.parametrize(
    ("glob", "path", "fits"),
    [
        ("acme/*.csv", b"acme/a.csv", True),
        ("acme/*.csv", b"acme/old/a.csv", False),
        ("acme/**/*.csv", b"acme/a.csv", True),
        ("acme/**/*.csv", b"acme/x/y/A.csv", True),
        ("**/a.csv", b"a.csv", True),
        ("**", b"a/b/c", True),
        ("*/a", b"a", False),
        ("acme/**", b"acme/x", True),
        ("/acme/*", b"acme/x", True),
    ],
)
def test_path_globs(glob, path, fits):
    assert PathGlob(glob).matches(fold(path)) is fits


@pytest.mark.timeout(30)  # what runs away here would take longer than anybody lives
def test_globs_do_not_run_away():
    assert not NameGlob("*a" * 60 + "b").matches("a" * 255)
    assert not PathGlob("**/x" * 30).matches("/".join("y" * 200))


# -- content patterns -----------------------------------------------------------------------------


def test_lines_and_flags_are_as_grep_has_them():
    text = "first\r\nsecond line\r\nthird\n"
    assert contains("^second line$", [text]) == [True]
    assert contains("(?i)^SECOND", [text, "x"]) == [True, False]
    assert contains("first.second", [text]) == [False]


@pytest.mark.timeout(60)
def test_a_pattern_that_would_hang_a_backtracking_engine_is_linear(drop):
    file = drop(b"a" * 1_000_000 + b"!\n", b"a.txt")
    assert hits(file, TagRulePlan("t", content=("^(a+)+$", "(a|aa)+$", "(.*)*x"))) == {}


@pytest.mark.parametrize(
    ("pattern", "says"),
    [
        ("(?=x)", "look-around"),
        (r"(a)\1", "backreferences"),
        ("[", "unclosed"),
        ("((a{1000}){1000}){1000}", "size limit"),
    ],
)
def test_patterns_that_cannot_be_linear_are_refused_with_help(pattern, says):
    with pytest.raises(UsageError) as caught:
        check_pattern(pattern)
    assert says in caught.value.message
    assert "current expression" not in caught.value.message
    assert caught.value.help
    with pytest.raises(UsageError):
        Inspector(plan(TagRulePlan("t", content=(pattern,))))


def test_only_the_first_mebibyte_is_searched_and_it_says_so(drop):
    file = drop(b"x" * (1 << 20) + b"needle", b"a.txt")
    assert refusal(file, TagRulePlan("t", content=("needle",))) == (
        "content does not match needle (in its first MiB)"
    )


def test_a_line_cut_by_that_limit_has_no_end(drop):
    lines = b"word word\n" * 110_000  # the limit falls into a line: "word w"
    assert hits(drop(lines, b"a.txt"), TagRulePlan("t", content=("^word word$",)))
    assert hits(drop(lines, b"a.txt"), TagRulePlan("t", content=("^word w$",))) == {}


def test_content_that_is_no_utf8_can_be_searched(drop):
    assert hits(drop(b"\xff\xfe%PDF\x00", b"a"), TagRulePlan("t", content=("%PDF",)))


# -- taggers --------------------------------------------------------------------------------------


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A user's module with taggers, importable under a name of its own."""
    name = f"own_taggers_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(
        """
def several(file):
    with file.open() as data:
        first = data.readline()
    return ["size:small", "Acme Ltd"] if first == b"order_id,amount\\n" and file.media == "text/csv" else []
def yes(file): return True
def no(file): return None
def boom(file): raise KeyError("amount")
def junk(file): return 7
def by_path(file): return open(file.path)
def reserved(file): return "not"
def greedy(file):
    with file.open() as data: data.read()
    with file.open() as data: return len(data.read()) == file.size
value = 3
"""
    )
    monkeypatch.syspath_prepend(tmp_path)
    return name


def test_taggers_give_their_rules_tag_and_more(drop, module):
    assert hits(drop(), TagRulePlan("t", tagger=f"{module}.several")) == {
        "t": f"tagger {module}.several",
        "size:small": f"tagger {module}.several",
        "acme%20ltd": f"tagger {module}.several",
    }
    assert list(hits(drop(), TagRulePlan("t", name=("*.csv",), tagger=f"{module}.yes"))) == ["t"]
    assert hits(drop(), TagRulePlan("t", tagger=f"{module}.greedy"))
    assert hits(drop(), TagRulePlan("t", tagger=f"{module}.no")) == {}
    assert refusal(drop(), TagRulePlan("t", tagger=f"{module}.no")).endswith("gave nothing")


def test_a_tagger_is_asked_only_when_every_other_key_holds(drop, module):
    assert hits(drop(), TagRulePlan("t", name=("*.x",), tagger=f"{module}.boom")) == {}


@pytest.mark.parametrize("function", ["boom", "junk", "reserved", "by_path"])
def test_a_tagger_that_fails_is_its_files_error_alone(drop, module, function):
    rule = TagRulePlan("t", name=("bad*",), tagger=f"{module}.{function}")
    bad, good = drop(relative=b"bad.csv", tags=("a",)), drop()
    facts = Inspector(plan(rule)).inspect([bad, good])
    assert facts[0].error.startswith(f"tagger {module}.{function}: ")
    assert [hit.tag for hit in facts[0].tags] == ["a"]
    assert not facts[1].error


@pytest.mark.parametrize("path", ["nosuchmodule.f", "{}.nope", "{}.value", "plain"])
def test_a_tagger_that_cannot_be_imported_is_a_usage_error(module, path):
    with pytest.raises(UsageError, match="tagger"):
        Inspector(plan(TagRulePlan("t", tagger=path.format(module))))


# -- reading --------------------------------------------------------------------------------------


def test_a_file_that_cannot_be_read_does_not_disturb_its_neighbours(drop):
    gone, good = drop(), drop()
    os.unlink(gone.path)
    facts = Inspector(plan(TagRulePlan("t", name=("*",)))).inspect([gone, good])
    assert "FileNotFoundError" in facts[0].error
    assert [hit.tag for hit in facts[1].tags] == ["t"]


@pytest.mark.parametrize("size", [len(TABLE) - 1, len(TABLE) + 1, 5 << 20])
def test_content_of_another_length_than_claimed_is_an_error(drop, size):
    (facts,) = Inspector(plan()).inspect([drop(size=size)])
    assert "were claimed" in facts.error


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 5_000_000])
def test_digests_of_any_length(drop, size):
    data = os.urandom(1000) * (size // 1000 + 1)
    (facts,) = Inspector(plan()).inspect([drop(data[:size])])
    assert facts.digest == hashlib.sha256(data[:size]).hexdigest()


def test_groups_with_much_content_are_inspected_in_parts(drop, monkeypatch):
    monkeypatch.setattr(inspection, "_HELD", 100)
    files = [drop(TABLE + b"%d,x\n" % i, file=f"f{i}") for i in range(10)]
    inspector = Inspector(plan(TagRulePlan("t", content=("^7,x",))))
    facts = inspector.inspect(files)
    assert [one.file for one in facts] == [f"f{i}" for i in range(10)]
    assert [i for i, one in enumerate(facts) if one.tags] == [7]


def test_no_descriptor_is_left_open(drop, module):
    inspector = Inspector(plan(TagRulePlan("t", tagger=f"{module}.several")))
    before = len(os.listdir("/proc/self/fd"))
    inspector.inspect([drop() for _ in range(20)])
    assert len(os.listdir("/proc/self/fd")) == before
