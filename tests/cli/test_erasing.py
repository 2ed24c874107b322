"""`filemill files erase`: nothing of somebody is left but ids in the audit, and nothing of anybody else goes."""

from __future__ import annotations

import json
import zipfile

import pytest

from serving import serving, until

INSIDE = True

SECRET = "OlafSecret"
CONFIG = """\
version: 1
workers: 1
failed: {folder: errors}
sources:
  inbox: {folder: inbox, settle: 5ms, settle_unproven: 20ms, tags: ["partner:{dir}"]}
tags:
  table: {name: "*.csv"}
  packed: {name: "*.zip"}
pipelines:
  tables: {when: table, steps: [read_csv, {derive: {m: "a || 'x'"}}, {derive: {k: "CAST(n AS INTEGER)"}}, write: out]}
  packs: {when: packed, steps: [unpack: {}]}
sinks:
  out: {folder: out}
"""


@pytest.fixture
def mill(filemill):
    (filemill.folder / "filemill.yaml").write_text(CONFIG)
    for partner, bad in (("olaf", "two"), ("bo", "2")):
        folder = filemill.folder / "inbox" / partner
        folder.mkdir(parents=True)
        text = f"a,n\n{SECRET if partner == 'olaf' else partner},1\n"
        (folder / f"{partner}-good.csv").write_text(text)
        (folder / f"{partner}-bad.csv").write_text(text + f"y,{bad}\n")
        (folder / f"{partner}-held.xyz").write_text(text)
        with zipfile.ZipFile(folder / f"{partner}-pack.zip", "w") as pack:
            pack.writestr(f"{partner}-inner.csv", text)
    filemill("run", "--once", code=1)
    return filemill


def listed(mill, *words):
    return {
        each["name"]: each["state"]
        for each in json.loads(mill("files", "ls", "--json", *words).stdout)["items"]
    }


def traces(mill, *words):
    """Files of the data directory and of what failed in which one of these words stands."""
    places = [mill.folder / ".filemill", mill.folder / "errors"]
    return sorted(
        str(path.relative_to(mill.folder))
        for place in places
        for path in place.rglob("*")
        if path.is_file()
        and any(word.encode() in path.read_bytes() or word in path.name for word in words)
    )


def test_all_of_one_partner_goes_and_all_of_the_other_stays(mill):
    before = listed(mill)
    assert traces(mill, SECRET)
    told = mill("files", "erase", "--tag", "partner:olaf", "--dry-run")
    assert "would erase 5 files" in told.stderr
    assert listed(mill) == before
    refused = mill("files", "erase", "--tag", "partner:olaf", code=2)
    assert "nobody to ask" in refused.stderr
    done = mill("files", "erase", "--tag", "partner:olaf", "--yes", "--reason", "he asked")
    assert done.stdout.startswith("erased 5 files")
    assert "what was published is left to you, 2 outputs:" in done.stderr
    assert "olaf-good.csv" in done.stderr
    left = {name: state for name, state in before.items() if "olaf" not in name}
    assert len(left) == 5
    assert listed(mill) == left
    mill("run", "--once")  # copies of what failed are a server's to remove
    mill("gc", "--compact")
    assert traces(mill, SECRET, "olaf-") == []
    assert list((mill.folder / "out").rglob("olaf-good.csv")), "what was published is its reader's"
    assert mill("verify", "--deep").returncode == 0
    rows = json.loads(mill("audit", "ls", "--action", "erase", "--json").stdout)["items"]
    assert len(rows) == 5
    assert {row["detail"].get("reason") for row in rows} == {"he asked"}
    assert "olaf-" not in json.dumps(rows)
    assert "is whole" in mill("audit", "verify").stdout


def test_what_is_at_work_stays_and_its_parent_with_it(mill):
    (mill.folder / "inbox" / "olaf" / "late.zip").write_bytes(b"")
    with zipfile.ZipFile(mill.folder / "inbox" / "olaf" / "late.zip", "w") as pack:
        pack.writestr("late-inner.csv", "a,n\n1,1\n")
    mill("pause", "tables")
    with serving(mill.folder, mill.environ):
        until(lambda: "late.zip/late-inner.csv" in str(listed(mill)))
        until(lambda: listed(mill).get("olaf/late.zip") == "done")
        done = mill("files", "erase", "olaf/late.zip", "--yes", code=1)
        assert "2 had moved on" in done.stdout
        assert listed(mill)["olaf/late.zip"] == "done"
        mill("files", "cancel", "olaf/late.zip/late-inner.csv")
        done = mill("files", "erase", "olaf/late.zip", "--yes", "--json")
        assert [each["moved"] for each in json.loads(done.stdout)["items"]] == [True, True]
        assert "late" not in str(listed(mill))
        assert not traces_of_content(mill, "late")


def traces_of_content(mill, word):
    root = mill.folder / ".filemill" / "content"
    return [
        path for path in root.rglob("*") if path.is_file() and word.encode() in path.read_bytes()
    ]


def test_mistakes_change_nothing(mill):
    before = listed(mill)
    for words in ([], ["x", "--tag", "a"], ["nothing-is-called-so.csv"]):
        mill("files", "erase", *words, "--yes", code=2)
    assert "nothing to erase" in mill("files", "erase", "--tag", "partner:nobody", "--yes").stderr
    assert listed(mill) == before
