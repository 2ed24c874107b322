"""files, dead, held, status: over a ledger with one file of every kind, as processes."""

import json
import os
import subprocess
import sys

import pytest
from test_command_line import imported

INSIDE = True


def shown(done):
    return json.loads(done.stdout)


def test_files_ls_has_one_row_per_file_the_latest_first(ask):
    lines = ask("files", "ls").stdout.splitlines()
    assert lines[0].split() == ["ID", "NAME", "STATE", "PIPELINE", "AGE", "SIZE", "WHAT"]
    assert [line.split()[0] for line in lines[1:]] == [
        "eeeeeeee",
        "dddddddd",
        "cccccccc",
        "bbbbbbbc",
        "bbbbbbbb",
        "aaaaaaaa",
    ]
    assert "check: D-" in lines[4]
    assert "SchemaError: column 'amount' missing" in lines[4]
    assert "failed, again at" in lines[2]
    assert lines[6].endswith("412 records, 2 bad")


def test_names_are_harmless(ask):
    for words in (
        ["files", "ls"],
        ["files", "show", "cc"],
        ["held", "ls"],
        ["files", "show", "aa"],
    ):
        out = ask(*words).stdout
        assert all(line.isprintable() for line in out.splitlines())
    assert r"evil\x1b[2J\xff.csv" in ask("held", "ls").stdout


def test_files_ls_as_json(ask):
    page = shown(ask("files", "ls", "--state", "dead", "--json"))
    assert page["schema"] == "filemill.files/1"
    assert page["next"] is None
    first = page["items"][0]
    assert first["id"] == "bbbbbbbc22222"
    assert first["tags"] == ["partner:acme", "orders"]
    assert first["runs"][0]["error"]["step"] == "check"
    assert first["runs"][0]["error"]["group"].startswith("D-")
    assert first["arrived_at"].endswith("Z")


def test_pages_follow_each_other(ask):
    seen, after = [], []
    for _ in range(10):
        page = shown(ask("--json", "files", "ls", "--limit", "4", *after))
        seen += [item["id"] for item in page["items"]]
        if page["next"] is None:
            break
        after = ["--after", page["next"]]
    assert len(seen) == len(set(seen)) == 6


@pytest.mark.parametrize(
    ("words", "count"),
    [
        (["--tag", "orders"], 5),
        (["--tag", "partner:*"], 6),
        (["--pipeline", "orders"], 4),
        (["orders-04"], 3),
        (["*.csv"], 6),
        (["--since", "5m"], 0),
        (["--since", "1h"], 6),
        (["--state", "rejected"], 1),
        (["--state", "live"], 1),
    ],
)
def test_filters(ask, words, count):
    assert len(shown(ask("files", "ls", "--json", *words))["items"]) == count


def test_nothing_matches_is_said_beside_the_data(ask):
    done = ask("files", "ls", "no-such-name")
    assert done.stdout == ""
    assert done.stderr == "no file matches\n"


def test_a_file_that_is_not_utf8_keeps_its_bytes_in_json(ask):
    import base64

    (item,) = shown(ask("held", "ls", "--json"))["items"]
    assert base64.b64decode(item["name_base64"]) == b"evil\x1b[2J\xff.csv"
    assert item["reason"] == "unrouted"


def test_files_show_tells_everything(ask):
    out = ask("files", "show", "aa").stdout
    for said in (
        "acme/orders-0412.csv  ✓ done  aaaaaaaa22222",
        "name *.csv, header has order_id",
        "acknowledged  content and row are durable",
        "412 in, 407 out, 3 filtered, 2 bad",
        "1 output published, exactly once",
        f"{ask.folder}/out/acme/orders-0412.csv",
        "412 read = 407 out + 3 filtered + 2 bad",
        "line 1  bytes 10-20  filter  FieldCount: 3 fields, not 2",
    ):
        assert said in out
    steps = [line.split()[1] for line in out.splitlines() if line.startswith("           │")]
    assert steps == ["read_csv", "filter", "write", "412"]


def test_files_show_takes_a_run_a_prefix_or_a_name(ask):
    by_file = shown(ask("files", "show", "aaaaaaaa22222", "--json"))
    assert shown(ask("files", "show", "r0aaa", "--json")) == by_file
    assert shown(ask("files", "show", "acme/orders-0412.csv", "--json")) == by_file
    assert by_file["file"]["runs"][0]["outputs"][0]["records"] == 407


def test_a_dead_file_shows_its_error_help_and_with_v_its_traceback(ask):
    out = ask("files", "show", "bbbbbbbb").stdout
    assert "✗ dead at check" in out
    assert "SchemaError: column 'amount' missing" in out
    assert "help: fix the header or alias it" in out
    assert "steps.py" not in out
    assert 'File "steps.py", line 31' in ask("files", "show", "bbbbbbbb", "-v").stdout


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ("aaaaaaab", "aaaaaaaa (acme/orders-0412.csv)"),
        ("orders-0412.cvs", "aaaaaaaa"),
        ("bbbbbbb", "several"),
        ("zzzz", "files ls"),
    ],
)
def test_an_id_that_is_none_gets_a_suggestion(ask, wanted, said):
    assert said in ask("files", "show", wanted, code=2).stderr


def test_dead_ls_groups_by_cause(ask):
    out = ask("dead", "ls").stdout
    assert out.startswith("2 runs in 1 group\n")
    assert out.count("D-") == 1
    assert "orders > check  2 runs" in out
    page = shown(ask("dead", "ls", "--json"))
    assert page["total"] == 2
    (group,) = page["groups"]
    assert group["count"] == 2
    assert {item["id"] for item in page["items"]} == {"bbbbbbbb22222", "bbbbbbbc22222"}
    assert "2 runs  orders > check" in ask("dead", "show", group["group"]).stdout
    assert ask("dead", "ls", "D-000000").stderr == "no group D-000000\n"


def test_what_no_file_has_is_asked_about(ask):
    said = ask("files", "ls", "--pipeline", "odrers").stderr
    assert (
        said == "no file matches\nhelp: no file has the pipeline `odrers`; did you mean `orders`?\n"
    )
    assert (
        "no file has the tag `nosuch:thing`" in ask("files", "ls", "--tag", "nosuch:thing").stderr
    )


def test_dead_show_is_about_the_dead(ask):
    assert "DEAD at check" in ask("dead", "show", "bbbbbbbb").stdout
    assert "is not dead, it is done" in ask("dead", "show", "aaaaaaaa", code=2).stderr


def test_held_show_says_why_and_what_next(ask):
    out = ask("held", "show", "cccccccc").stdout
    assert "unrouted" in out
    assert "filemill explain cccccccc" in out
    assert "is not held" in ask("held", "show", "aaaaaaaa", code=2).stderr


def test_status(ask):
    out = ask("status").stdout
    assert "2 dead  (filemill dead ls)" in out
    assert "files  6" in out
    told = shown(ask("status", "--json"))
    assert told["schema"] == "filemill.status/1"
    assert told["files"] == {"live": 1, "done": 1, "dead": 2, "held": 1, "rejected": 1}
    assert told["total"] == 6


@pytest.mark.parametrize(
    "words",
    [["files", "ls"], ["files", "show", "aa"], ["dead", "ls"], ["held", "ls"], ["status"]],
)
def test_reading_commands_import_neither_polars_nor_the_configuration(told, words, monkeypatch):
    monkeypatch.chdir(told)
    assert not imported(words) & {"polars", "yaml", "rich", "filemill.config.loading"}


def test_in_ascii_the_drawing_is_ascii(ask):
    environ = ask.environ | {"PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
    done = subprocess.run(
        [sys.executable, "-m", "filemill", "files", "show", "aa"],
        cwd=ask.folder, env=environ, capture_output=True, check=True,
    )  # fmt: skip
    assert done.stdout.decode("ascii")
    assert b"v done" in done.stdout


def test_the_data_directory_can_be_named_without_a_configuration(told, filemill, tmp_path):
    assert os.listdir(tmp_path) == []
    done = filemill("files", "ls", "--json", FILEMILL_DATA_DIR=str(told / ".filemill"))
    assert len(shown(done)["items"]) == 6


def test_no_ledger_yet(filemill, tmp_path):
    (tmp_path / "filemill.yaml").write_text("version: 1\n")
    assert "nothing has run here yet" in filemill("files", "ls", code=2).stderr
