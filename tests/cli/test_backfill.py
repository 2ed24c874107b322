"""backfill: old files are copied in once, by a running server or without one, and the same command goes on."""

import json
import signal

import pytest
from test_mending import Project, serve

from serving import LONG, until

INSIDE = True


@pytest.fixture
def old(filemill):
    project = Project(filemill)
    for number in range(5):
        path = project.root / "old" / f"{number % 2}" / f"o{number}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"id,n\na,{number}\n")
    return project


def test_without_a_server_it_processes_them_once_and_leaves_them_where_they_are(old):
    said = old("backfill", "old", "--dry-run").stderr
    assert "would take 5 files" in said
    assert "nobody to ask" in old("backfill", "old", code=2).stderr
    assert "5 files: 5 done" in old("backfill", "old", "--yes", "--rate", "100/s").stdout
    assert len(old.outputs()) == 5
    shown = old.shown(old.file("o0.csv"))
    assert shown["tags"] == ["from:backfill", "orders"]
    assert len(list((old.root / "old").rglob("*.csv"))) == 5
    (old.root / "old" / "new.csv").write_text("id,n\nb,9\n")
    assert "unchanged" in old("backfill", "old", "--yes").stdout
    assert len(old.outputs()) == 6


def test_a_running_server_takes_them(old):
    server = serve(old)
    try:
        until((old.root / ".filemill" / "control.sock").exists)
        told = json.loads(old("backfill", "old", "--yes", "--json").stdout)
        assert (told["taken"], told["already"], told["live"]) == (5, 0, True)
        until(lambda: len(old.outputs()) == 5)
        told = json.loads(old("backfill", "old", "--yes", "--json").stdout)
        assert (told["taken"], told["already"]) == (0, 5)
    finally:
        server.send_signal(signal.SIGINT)
        assert server.wait(LONG) == 0


def test_a_backfill_that_is_killed_goes_on_where_it_stopped(old):
    old("backfill", "old", "--yes", "--rate", "2/s", code=-9, FILEMILL_FAIL="server.commit:9:kill")
    old("backfill", "old", "--yes")
    old("run", "--once")
    assert len(old.outputs()) == 5
    assert all(item["state"] == "done" for item in old.files())
    assert len(old.files()) == 5
