"""try: what a file would become, as a whole process over whole projects; and that nothing is left of it."""

import json
import os
import re
import zipfile
from pathlib import Path

import msgspec
import pytest

from filemill.cli.trial_shapes import shape
from filemill.config import load
from filemill.model.errors import UsageError
from filemill.ports.registry import Registry
from filemill.service.explaining import arrival_of
from filemill.service.trying import try_file

CONFIG = """\
version: 1
sources:
  inbox: {folder: inbox, max_size: 200B}
tags:
  orders: {name: "*.csv", header: [order_id, amount]}
  feed: {name: "feed*"}
  text: {name: "*.log"}
  broken: {name: "*.broken"}
pipelines:
  orders:
    when: orders
    tolerance: 1
    steps:
      - read_csv: {types: {amount: float}}
      - filter: "amount > 0"
      - tag_records: {big: "amount >= 1000"}
      - steps.add_vat: {rate: 0.2}
        if: not big
      - route:
          big: {steps: [{derive: {half: "amount / 2"}}], to: review}
          else: orders
  copy:
    when: feed
    steps: [{write: orders}]
  lines:
    when: text
    exclusive: true
    steps: [read_lines, {write: orders}]
  all-text:
    when: text and feed
    steps: [read_lines, {write: review}]
  broken:
    when: broken
    steps: [read_csv, {steps.misbehave: {how: raises}}, {write: review}]
sinks:
  orders: {folder: out/orders}
  review: {folder: out/review, format: jsonl}
"""
STEPS = """\
import os, signal
from filemill import Reject, Retry


def add_vat(row: dict, *, rate: float = 0.2) -> dict:
    print("adding to", row["order_id"])
    if not row["order_id"]:
        raise Reject("an order needs an id")
    return row | {"vat": round(row["amount"] * rate, 2)}


def misbehave(frame: "polars.DataFrame", *, how: str):
    print("x" * 200_000 + "the last words \\x1b[2J")
    if how == "raises":
        raise KeyError("nope")
    if how == "retry":
        raise Retry("busy", after=60)
    if how == "dies":
        os.kill(os.getpid(), signal.SIGSEGV)
    if how == "hangs":
        signal.pause()


def stop(rows: "Iterable[dict]"):
    for row in rows:
        raise KeyError("nope")
        yield row


from collections.abc import Iterable

import polars
"""
ORDERS = """\
order_id,customer,amount
A-1,Berg & Tal,100
A-2,Hafen Nord,1500
A-3,Café Süd,0
"""


@pytest.fixture
def project(filemill):
    (filemill.folder / "filemill.yaml").write_text(CONFIG)
    (filemill.folder / "steps.py").write_text(STEPS)
    (filemill.folder / "inbox").mkdir()
    (filemill.folder / "tmp").mkdir()
    filemill.environ["TMPDIR"] = str(filemill.folder / "tmp")
    return filemill


def everything(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))


def put(project, text, name="a.csv"):
    (project.folder / name).write_text(text)
    return name


def tried(project, name, code=0, **options):
    """The one pipeline of a trial, and the whole document; without the process of the command itself."""
    registry = Registry()
    plan = load(str(project.folder / "filemill.yaml"), environ={}, registry=registry).plan
    arrival = arrival_of(os.fsencode(project.folder / name), plan, registry)
    found = try_file(arrival, plan, registry, **options)
    assert found.fine is (code == 0)
    document = json.loads(msgspec.json.encode(shape(found)))
    return document["items"][0] if document["items"] else None, document


def test_every_step_is_shown_and_nothing_is_left(project):
    put(project, ORDERS)
    before = everything(project.folder)
    done = project("try", "a.csv", "--color", "always")
    changed = "A-1,Berg & Tal,100\x1b[32m,20.0\x1b[0m"  # coloured
    assert changed in done.stdout
    done.stdout = re.sub("\x1b\\[[0-9]*m", "", done.stdout)
    assert everything(project.folder) == before
    assert done.stderr == ""
    said = done.stdout.splitlines()
    assert said[0] == "a.csv  81 B  text/csv  from cli"
    assert "  filter  3 in, 2 out, 1 filtered" in done.stdout
    assert "  tag_records  2 in, 2 out, 1 tagged big" in done.stdout
    assert "      A-2,Hafen Nord,1500  [big]" in said
    assert "    ~ A-1,Berg & Tal,100,20.0" in said
    assert "      big: 1 → derive → review" in said
    assert "      | adding to A-1" in said
    assert "    review  out/review/a.jsonl  1 record, " in done.stdout
    assert said[-1] == "✓ It would be done.   (nothing written)"


def test_the_json_tells_the_same(project):
    put(project, ORDERS)
    one, document = tried(project, "a.csv", records=1)
    assert (document["done"], document["held"], document["next"]) == (True, None, None)
    assert document["file"]["name"] == "a.csv"
    assert [hit["tag"] for hit in document["file"]["tags"]] == ["from:cli", "orders"]
    assert (one["state"], one["records"], one["bad"]) == ("done", 3, 0)
    steps = {step["step"]: step for step in one["steps"]}
    vat = steps["steps.add_vat"]
    assert (vat["taken"], vat["given"], vat["if"]) == (1, 1, "not big")
    assert vat["header"] == "order_id,customer,amount,vat"
    assert vat["records"] == [
        {
            "record": 1,
            "line": 2,
            "text": "A-1,Berg & Tal,100,20.0",
            "before": "A-1,Berg & Tal,100",
            "tags": [],
            "cut": False,
        }
    ]
    assert steps["derive"]["inside"] == "big of route"
    plain = {"emitted": False}
    assert steps["route"]["branches"] == [
        {"when": "big", "steps": ["derive"], "sinks": ["review"], "records": 1} | plain,
        {"when": "else", "steps": [], "sinks": ["orders"], "records": 1} | plain,
    ]
    outputs = {each["sink"]: each for each in one["outputs"]}
    assert outputs["orders"]["head"] == "order_id,customer,amount,vat\nA-1,Berg & Tal,100,20.0\n"
    assert outputs["orders"]["path"] == str(project.folder / "out/orders/a.csv")


def test_a_trial_gives_what_a_run_gives(project):
    put(project, ORDERS)
    one, _ = tried(project, "a.csv")
    project("run", "--once", "a.csv", "-q")
    for each in one["outputs"]:
        assert Path(each["path"]).read_text() == each["head"]
    # The names are taken now, and a trial says what would become of that.
    again, _ = tried(project, "a.csv")
    names = [(os.path.basename(each["path"]), each["taken"]) for each in again["outputs"]]
    assert sorted(names) == [("a-2.csv", "numbered"), ("a-2.jsonl", "numbered")]


def test_bad_records_are_shown_with_their_bytes(project):
    put(project, ORDERS + ",nobody,5\nA-5,too,many,cells\n")
    one, _ = tried(project, "a.csv", code=1)
    assert (one["state"], one["bad"], one["outputs"]) == ("dead", 2, [])
    assert one["error"]["type"] == "BadRecords"
    bad = [each for step in one["steps"] for each in step["bad_records"]]
    assert [(each["line"], each["type"], each["text"]) for each in bad] == [
        (6, "FieldCount", "A-5,too,many,cells"),
        (5, "Reject", ",nobody,5"),
    ]
    assert one["error"]["help"].startswith("mend the records")


@pytest.mark.parametrize(
    ("how", "state", "says"),
    [
        ("raises", "dead", "KeyError"),
        ("retry", "tried again", "busy"),
        ("dies", "tried again", "killed by SIGSEGV"),
        ("hangs", "tried again", "timed out after 1s"),
    ],
)
def test_a_step_that_fails_is_named_with_its_last_words(project, how, state, says):
    config = CONFIG.replace("how: raises}}", f"how: {how}}}, timeout: 1s}}")
    (project.folder / "filemill.yaml").write_text(config)
    put(project, ORDERS, "a.broken")
    before = everything(project.folder)
    said = project("try", "a.broken", code=1).stdout
    assert everything(project.folder) == before
    assert "✗ failed at steps.misbehave" in said
    assert says in said
    assert "the last words \\x1b[2J" in said
    assert "write  not " in said
    if how == "raises":
        # Looked for record by record, and blamed on each; with the line of the user's code.
        assert "steps.misbehave  3 in, 0 out, 3 bad" in said
        assert re.search(r"✗ line 2  KeyError: .*\(steps\.py:\d+ in misbehave\)", said)
        assert "site-packages" not in said
    assert said.splitlines()[-1].split("be ")[1].startswith(state)


def test_the_books_of_a_step_that_raised_stay_open(project):
    config = CONFIG.replace("steps.misbehave: {how: raises}", "steps.stop: ")
    (project.folder / "filemill.yaml").write_text(config)
    one, _ = tried(project, put(project, ORDERS, "a.broken"), code=1)
    assert (one["state"], one["error"]["step"], one["error"]["type"]) == (
        "dead",
        "steps.stop",
        "KeyError",
    )
    assert 'steps.py", line ' in one["error"]["traceback"]
    counts = {key: one["steps"][1][key] for key in ("taken", "given", "filtered", "bad")}
    assert counts == {"taken": 3, "given": 0, "filtered": 0, "bad": 0}  # nothing was filtered
    assert one["steps"][2]["begun"] is False


def test_until_ends_there_also_within_a_branch(project):
    put(project, ORDERS)
    one, _ = tried(project, "a.csv", until="filter")
    assert [step["step"] for step in one["steps"]] == ["read_csv", "filter"]
    assert (one["stopped"], one["outputs"]) == (True, [])
    one, _ = tried(project, "a.csv", until="derive")
    assert [step["step"] for step in one["steps"]][-2:] == ["route", "derive"]
    assert one["steps"][-1]["records"][0]["text"] == "A-2,Hafen Nord,1500,,750.0"
    assert one["outputs"] == []


@pytest.mark.parametrize(
    ("options", "says", "advice"),
    [
        ({"until": "filtr"}, "no such step: `filtr`", "did you mean `filter`?"),
        ({"pipeline": "order"}, "no pipeline `order`", "did you mean `orders`?"),
    ],
)
def test_a_wrong_name_is_answered_with_the_likely_one(project, options, says, advice):
    put(project, ORDERS)
    with pytest.raises(UsageError, match=says) as error:
        tried(project, "a.csv", **options)
    assert advice in error.value.help


def test_a_file_that_is_not_there(project):
    assert "neither a file here" in project("try", "nowhere.csv", code=2).stderr


def test_several_pipelines_and_one_that_does_not_match(project):
    put(project, ORDERS, "feed.csv")
    said = project("try", "feed.csv").stdout
    assert said.splitlines()[-1] == "✓ Pipelines: 2 done.   (nothing written)"
    _, document = tried(project, "feed.csv", until="filter")
    assert [(each["state"], each["why"]) for each in document["items"]] == [
        ("done", None),
        ("skipped", "it has no step `filter`"),
    ]
    said = project("try", "feed.csv", "-p", "lines").stdout
    assert "it does not match: no tag text; tried because of -p" in said
    assert "read_lines  4 in, 4 out" in said


def test_what_no_pipeline_would_get(project):
    put(project, "x", "unknown.bin")
    said = project("try", "unknown.bin", code=1).stdout
    assert "‖ It would be held: unrouted." in said
    put(project, "x", "feed.log")
    _, document = tried(project, "feed.log", code=1)
    assert "exclusive" in document["held"]
    put(project, ORDERS + "A-9,x,1\n" * 40, "inbox/big.csv")
    said = project("try", "inbox/big.csv", code=1).stdout
    assert "✗ It would be rejected before any pipeline: " in said
    assert "over max_size" in said
    assert (
        "  filter  43 in, 42 out" in said
    )  # what the pipelines would make of it is shown all the same
    explained = project("explain", "inbox/big.csv", code=1).stdout
    assert "It would be rejected: " in explained
    assert "over max_size" in explained
    assert "match" in explained  # what would have it, were it smaller
    told = json.loads(project("explain", "inbox/big.csv", "--json", code=1).stdout)
    assert "over max_size" in told["rejected"]
    assert told["runs"] == []


def test_a_hostile_name_and_hostile_records_reach_no_terminal(project):
    name = os.fsencode(project.folder) + b"/evil\x1b[2J\xff.log"
    with open(name, "wb") as file:
        file.write(b"\x1b[31mred\n")
    path = os.fsdecode(b"evil\x1b[2J\xff.log")
    said = project("try", path).stdout
    assert "evil\\x1b[2J\\xff.log" in said
    assert "\\x1b[31mred" in said
    assert "\x1b" not in said


def test_a_dead_letter_is_tried_again_after_mending(project):
    put(project, ORDERS, "a.broken")
    project("run", "--once", "a.broken", code=1)
    os.remove(project.folder / "a.broken")
    items = json.loads(project("files", "ls", "--json").stdout)["items"]
    identity = items[0]["id"][:8]
    said = project("try", identity, code=1).stdout
    assert "✗ failed at steps.misbehave" in said
    (project.folder / "filemill.yaml").write_text(CONFIG.replace("how: raises", "how: nothing"))
    steps = project.folder / "steps.py"
    steps.write_text(STEPS.replace('if how == "raises":', "return frame\n    if how:"))
    before = (project.folder / ".filemill/ledger.db").stat().st_mtime_ns
    document = json.loads(project("try", identity, "--json").stdout)
    assert document["schema"] == "filemill.try/1"
    assert (document["done"], document["file"]["id"]) == (True, items[0]["id"])
    assert (project.folder / ".filemill/ledger.db").stat().st_mtime_ns == before


def test_of_a_big_file_the_first_chunk(project):
    (project.folder / "filemill.yaml").write_text("chunk_size: 64KiB\n" + CONFIG)
    put(project, "order_id,amount\n" + "A-1,5\n" * 40_000)
    one, _ = tried(project, "a.csv", until="filter")
    assert 0 < one["records"] < 40_000
    assert one["read_to"] < 40_000 * 6
    one, _ = tried(project, "a.csv", until="filter", whole=True)
    assert (one["records"], one["read_to"]) == (40_000, None)


def test_child_files_are_shown_with_the_way_they_would_go(project):
    (project.folder / "filemill.yaml").write_text(
        CONFIG.replace("  copy:\n    when: feed", "  boxes: {when: box, steps: [unpack]}\n  copy:\n    when: feed")
        .replace("tags:\n", 'tags:\n  box: {name: "*.zip"}\n')
    )  # fmt: skip
    with zipfile.ZipFile(project.folder / "b.zip", "w") as box:
        box.writestr("in/a.csv", ORDERS)
        box.writestr("note\x1b[2J.txt", "hello")
    before = everything(project.folder)
    said = project("try", "b.zip").stdout
    assert everything(project.folder) == before
    assert "    b.zip/in/a.csv  81 B  from:cli orders → orders" in said
    assert "    b.zip/note\\x1b[2J.txt  5 B  from:cli → held: unrouted" in said


def test_files_that_would_come_out_of_it(project):
    steps = "steps: [{unpack: {tags: [part]}}, {emit: {name: copy.zip}}]"
    (project.folder / "filemill.yaml").write_text(
        "version: 1\ntags: {box: {name: '*.zip'}}\n"
        f"pipelines: {{boxes: {{when: box and not part, {steps}}}}}\nsinks: {{}}\n"
    )
    with zipfile.ZipFile(project.folder / "a.zip", "w") as archive:
        archive.writestr("in/b.csv", "x\n1\n")
    said = project("try", "a.zip").stdout
    assert "  files of their own\n    a.zip/in/b.csv  4 B  from:cli part → held: unrouted\n" in said
    assert "emit:" not in said
    assert "no output" not in said
    (one,) = json.loads(project("try", "a.zip", "--json").stdout)["items"]
    assert [(each["name"], each["tags"], each["runs"]) for each in one["children"]] == [
        ("a.zip/in/b.csv", ["from:cli", "part"], []),
        ("a.zip/copy.zip", ["box", "from:cli"], ["boxes"]),
    ]
    assert not (project.folder / ".filemill").exists()
