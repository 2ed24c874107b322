"""Who sends very much keeps nobody else waiting: not at the door, and not in what is done behind it."""

import sqlite3

import pytest
from sites import Site
from tenants import TABLE, make_key

import serving

pytestmark = pytest.mark.timeout(240)
MANY, FEW = 600, 10
"""More than twice what is leased at once: within one lease the order tells nothing."""
CONFIG = """\
version: 1
workers: 1
durability: process
queue: {files: 10000}
sources:
  flood: {http: /flood}
  other: {http: /other}
tags:
  table: {name: "*.csv"}
pipelines:
  tables: {when: table, steps: [read_csv, {write: out}]}
sinks:
  out: {folder: out}
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    with Site(tmp_path_factory.mktemp("floods"), CONFIG).running() as made:
        yield made


def send(client, source, count):
    files = [("file", (f"{source}-{number:04}.csv", TABLE)) for number in range(count)]
    answer = client.post(f"/{source}", files=files, timeout=120)
    assert answer.status_code == 201, answer.text
    assert len(answer.json()["files"]) == count


def queued(site):
    ledger = sqlite3.connect(site.root / ".filemill" / "ledger.db")
    ((count,),) = ledger.execute("SELECT count(*) FROM run WHERE state = 'queued'").fetchall()
    ledger.close()
    return count


def test_ten_files_of_one_do_not_wait_for_all_of_anothers(site, client):
    """They come last, and are done long before: sources are served in turn. What counts is order, not time."""
    assert client.post("/pipelines/tables/pause", json={}).is_success
    for source, count in (("flood", MANY), ("other", FEW)):
        key = make_key(site, source, "uploader", sources=(source,))
        with site.client(key) as sender:
            send(sender, source, count)
    # All stand in the queue: what is still looked at when it begins to move comes last for that.
    serving.until(lambda: queued(site) == MANY + FEW)
    assert client.post("/pipelines/tables/resume", json={}).is_success
    serving.until(lambda: client.get("/stats").json()["files"].get("done") == MANY + FEW)
    ledger = sqlite3.connect(site.root / ".filemill" / "ledger.db")
    rows = ledger.execute(
        "SELECT file.source FROM run JOIN file ON file.no = run.file ORDER BY run.state_ns"
    ).fetchall()
    ledger.close()
    places = [place for place, (source,) in enumerate(rows) if source == "other"]
    assert len(places) == FEW
    assert max(places) < (MANY + FEW) // 2, places
