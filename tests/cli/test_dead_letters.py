"""dead show, dead ls, dead export: over what a real run left, as processes."""

import json
import os
import signal
import subprocess
import time

import apsw
import pytest
from shell import FILEMILL, Shell

INSIDE = True

CONFIG = """\
version: 1
sources:
  partners: {folder: inbox, create: true, settle: 10ms, tags: ["partner:{dir}"]}
tags:
  orders: {name: "*.csv", header: [order_id]}
  logs: {name: "*.jsonl"}
  packed: {name: "*.gz"}
  nested: {name: "*.json"}
pipelines:
  orders: {when: orders, steps: [read_csv, steps.add_vat, {write: out}]}
  logs: {when: logs, tolerance: 2, steps: [read_jsonl, {write: out}]}
  packed: {when: packed, steps: [decompress, read_csv, steps.add_vat, {write: out}]}
  nested: {when: nested, tolerance: 1, steps: [{read_json: {at: data}}, steps.add_vat, {write: out}]}
sinks:
  out: {folder: out}
"""
STEPS = """\
from helper import fifth


def add_vat(row: dict) -> dict:
    print("looking at", row["order_id"])
    return row | {"vat": fifth(row["amount"])}
"""
HELPER = """\
def fifth(amount):
    return float(amount) / 5
"""
ORDERS = b'order_id,amount\r\nA-1,100\r\nA-2,x y\r\nA-3,"a\r\nb"\r\nA-4,\x1b[2J\r\n'
NESTED = (
    b'{"data": [{"order_id": 1, "amount": "5"},\n {"order_id": 2, "amount": "no"}], "more": 1}\n'
)


def letters(folder):
    """A project with two dead files of one cause, one of another, and one that is done with a bad record."""
    import gzip

    (folder / "filemill.yaml").write_text(CONFIG)
    (folder / "steps.py").write_text(STEPS)
    (folder / "helper.py").write_text(HELPER)
    inbox = folder / "inbox" / "acme"
    inbox.mkdir(parents=True)
    (inbox / "orders 1.csv").write_bytes(ORDERS)
    (inbox / "-rf \x1b[2J.csv").write_bytes(b"order_id,amount\nB-1,yy\n")
    (inbox / "late.csv.gz").write_bytes(gzip.compress(b"order_id,amount\nC-1,zz\n"))
    (inbox / "l.jsonl").write_bytes(b'{"a":1}\nnope\n{"a":2}\n')
    (inbox / "n.json").write_bytes(NESTED)
    Shell(folder)("run", "--once", code=1)
    return folder


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return letters(tmp_path_factory.mktemp("letters"))


@pytest.fixture
def ask(project, filemill):
    filemill.folder = project
    return filemill


def shown(done):
    return json.loads(done.stdout)


def run_of(ask, name):
    """(file, run) of the file of this name."""
    (item,) = shown(ask("files", "ls", name, "--json"))["items"]
    return item["id"], item["runs"][0]["id"]


def group_of(ask, pipeline="orders"):
    page = shown(ask("dead", "ls", "--json"))
    return next(g for g in page["groups"] if g["pipeline"] == pipeline)


def test_a_person_sees_what_failed_why_and_what_to_do(ask):
    file, run = run_of(ask, "orders 1.csv")
    out = ask("dead", "show", file).stdout
    head, why, own, printed, bad, kept, after = out.split("\n\n")
    assert "acme/orders 1.csv  ✗ DEAD at steps.add_vat  permanent, 1 try" in head
    assert f"file {file[:8]}  run {run[:8]}  group D-" in head
    assert "tags partner:acme orders" in head
    assert "3 of 4 records are bad" in why
    assert "help: mend the step and redrive the run" in why
    assert own.splitlines() == [
        "Your code",
        "  helper.py:2 in fifth",
        "      return float(amount) / 5",
        "  steps.py:6 in add_vat",
        '      return row | {"vat": fifth(row["amount"])}',
    ]
    assert "| looking at A-2" in printed
    assert bad.splitlines()[0] == "Bad records (3)"
    assert "line 4  steps.add_vat" in bad
    assert "      A-2,x y" in bad
    assert r'      A-3,"a\r\nb"' in bad
    assert r"      A-4,\x1b[2J" in bad
    assert "the original, 57 B" in kept
    assert "nothing: it is safe to do again" in kept
    assert f"filemill dead redrive {file[:8]}" in after
    assert all(line.isprintable() for line in out.splitlines())


def test_every_command_that_is_offered_exists(ask):
    import typer

    from filemill.cli import application
    from filemill.cli.main import COMMANDS, load

    for name in COMMANDS:
        load(name)
    root = typer.main.get_command(application.app)
    offered = [
        line
        for name in ("orders 1.csv", "late.csv.gz")
        for each in shown(ask("dead", "show", run_of(ask, name)[1], "--json"))["letters"]
        for line in each["next"]
    ]
    assert len(offered) > 5
    for line in offered:
        _, group, command, *_ = line.split()
        assert command in root.commands[group].commands, line


def test_as_json(ask):
    file, run = run_of(ask, "orders 1.csv")
    told = shown(ask("dead", "show", file, "--json"))
    assert told["schema"] == "filemill.letter/1"
    assert told["file"]["id"] == file
    (letter,) = told["letters"]
    assert letter["run"] == run
    assert [(f["path"], f["line"], f["own"]) for f in letter["frames"]] == [
        ("steps.py", 6, True),
        ("helper.py", 2, True),
    ]
    assert letter["bad_texts"] == ["A-2,x y", r'A-3,"a\r\nb"', r"A-4,\x1b[2J"]
    assert letter["original_kept"]


def test_a_group_says_why_it_is_one(ask):
    group = group_of(ask)
    assert (group["count"], group["status"]) == (2, "new")
    out = ask("dead", "show", group["group"]).stdout
    assert "NEW  2 runs  orders > steps.add_vat" in out
    for line in ("pipeline     orders", "step         steps.add_vat", "error        ValueError"):
        assert f"  {line}\n" in out
    # The values differ, the cause does not.
    assert "could not convert string to float: <value> (helper.py:<n> in fifth)" in out
    assert "  partner:acme 2/2" in out
    assert "  rev 1 2/2" in out
    told = shown(ask("dead", "show", group["group"], "--json"))
    assert told["schema"] == "filemill.dead-group/1"
    assert told["group"]["why"]["error"] == "ValueError"
    assert len(told["items"]) == 2
    assert "nothing dead is of a group" in ask("dead", "show", "D-000000", code=2).stderr


def test_a_group_that_is_resolved_is_hidden_until_it_happens_again(tmp_path, filemill):
    letters(tmp_path)
    group = group_of(filemill)
    db = apsw.Connection(str(tmp_path / ".filemill" / "ledger.db"))
    say = "INSERT OR REPLACE INTO cause VALUES (?, ?, 1, 'ana', 'the feed is mended')"
    db.execute(say, (group["fingerprint"], time.time_ns()))
    done = filemill("dead", "ls")
    assert group["group"] not in done.stdout
    assert "1 resolved group not shown: --all" in done.stderr
    assert group["group"] not in {
        g["group"] for g in shown(filemill("dead", "ls", "--json"))["groups"]
    }
    names = {item["name"] for item in shown(filemill("dead", "ls", "--json"))["items"]}
    assert names == {"acme/late.csv.gz"}
    assert "RESOLVED" in filemill("dead", "ls", "--all").stdout
    assert "resolved" in filemill("dead", "show", group["group"]).stdout
    (tmp_path / "inbox" / "acme" / "again.csv").write_text("order_id,amount\nD-1,qq\n")
    filemill("run", "--once", code=1)
    again = next(
        g for g in shown(filemill("dead", "ls", "--json"))["groups"] if g["pipeline"] == "orders"
    )
    assert (again["fingerprint"], again["count"], again["status"]) == (
        group["fingerprint"],
        3,
        "regressed",
    )
    assert (
        "by ana (rev 1), and it happened again: the feed is mended"
        in filemill("dead", "show", group["group"]).stdout
    )


def test_originals_are_exported_with_their_reasons(ask, tmp_path):
    to = tmp_path / "out here"
    done = ask("dead", "export", "--all", "--to", str(to))
    names = sorted(os.listdir(to))
    assert len(names) == 6
    assert not [name for name in names if name.startswith((".", "-"))]
    assert all(name.isprintable() for name in names)
    _, run = run_of(ask, "orders 1.csv")
    assert (to / f"orders 1.{run[:8]}.csv").read_bytes() == ORDERS
    reason = json.loads((to / f"orders 1.{run[:8]}.csv.reason.json").read_text())
    assert reason["schema"] == "filemill.reason/1"
    assert (reason["run"], reason["step"], reason["error"]) == (run, "steps.add_vat", "BadRecords")
    assert [bad["line"] for bad in reason["bad_records"]] == [3, 4, 6]
    assert "Done. OK=3 FAIL=0 SKIP=0 TOTAL=3" in done.stderr
    # What is there already stays as it is, mended or not.
    (to / f"orders 1.{run[:8]}.csv").write_text("mended")
    done = ask("dead", "export", "--all", "--to", str(to))
    assert "OK=0 FAIL=0 SKIP=3" in done.stderr
    assert (to / f"orders 1.{run[:8]}.csv").read_text() == "mended"


def test_bad_records_are_exported_alone_as_their_reader_reads_them(ask, tmp_path):
    for name, suffix, wanted in (
        ("orders 1.csv", ".csv", ORDERS.replace(b"A-1,100\r\n", b"")),
        ("l.jsonl", ".jsonl", b"nope\n"),
        ("n.json", ".json", b'{"data":[\n{"order_id": 2, "amount": "no"}\n]}\n'),
    ):
        _, run = run_of(ask, name)
        ask("dead", "export", run, "--records", "--to", str(tmp_path))
        (path,) = tmp_path.glob(f"*.{run[:8]}.bad{suffix}")
        assert path.read_bytes() == wanted


def test_records_of_a_changed_file_cannot_be_taken_out_of_the_original(ask, tmp_path):
    file, _ = run_of(ask, "late.csv.gz")
    assert "a step changed the file" in (
        ask("dead", "export", file, "--records", "--to", str(tmp_path), code=1).stderr
    )
    assert "filemill dead edit" in ask("dead", "show", file).stdout
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["dead", "export"], "say what to export"),
        (["dead", "export", "x", "--all"], "say what to export"),
        (["dead", "export", "D-000000"], "nothing dead is of a group"),
        (["dead", "export", "l.jsonl"], "no file or run"),
        (["dead", "export", "acme/l.jsonl"], "is not dead, it is done"),
    ],
)
def test_what_cannot_be_exported_is_said(ask, words, said):
    assert said in ask(*words, code=2).stderr


@pytest.mark.parametrize(
    "point", ["sync_file:1", "rename:1", "sync_file:2", "rename:2", "rename:3"]
)
def test_an_export_that_is_killed_leaves_nothing_half_and_goes_on(ask, tmp_path, point):
    words = [*FILEMILL, "dead", "export", "--all", "--to", str(tmp_path)]
    killed = subprocess.run(
        words,
        cwd=ask.folder,
        env=ask.environ | {"FILEMILL_FAIL": f"export.{point}:kill"},
        capture_output=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    for path in tmp_path.iterdir():
        if path.name.endswith(".reason.json") and not path.name.startswith("."):
            assert json.loads(path.read_text())["schema"] == "filemill.reason/1"
            assert (tmp_path / path.name.removesuffix(".reason.json")).exists()
    ask("dead", "export", "--all", "--to", str(tmp_path))
    names = sorted(os.listdir(tmp_path))
    assert len(names) == 6
    assert not [name for name in names if name.startswith(".")]
    (orders,) = tmp_path.glob("orders 1.*.csv")
    assert orders.read_bytes() == ORDERS


def test_a_copy_that_is_killed_in_the_middle_of_its_bytes_has_no_visible_name(tmp_path):
    script = (
        "import os, signal, sys\n"
        "from filemill.durable import Durable, Failpoints\n"
        "from filemill.service.copying import Copies\n"
        "def halves():\n"
        "    yield b'half'\n"
        "    if len(sys.argv) > 2:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    yield b' and half'\n"
        "copies = Copies(sys.argv[1], Durable(Failpoints('test')))\n"
        "with copies.alone():\n"
        "    copies.add('a.csv', halves(), b'{}')\n"
    )
    words = [FILEMILL[0], "-c", script, str(tmp_path)]
    assert subprocess.run([*words, "kill"], check=False).returncode == -signal.SIGKILL
    assert [name for name in os.listdir(tmp_path) if not name.startswith(".")] == []
    assert subprocess.run(words, check=False).returncode == 0
    assert sorted(os.listdir(tmp_path)) == ["a.csv", "a.csv.reason.json"]
    assert (tmp_path / "a.csv").read_bytes() == b"half and half"
