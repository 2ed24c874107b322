"""Commands that change something: beside a running server, and where none runs."""

import contextlib
import json
import os
import signal
import socket
import stat
import subprocess
import time

import pytest

from serving import FILEMILL, LONG, begin, until

INSIDE = True

CONFIG = """\
version: 1
sources: {inbox: {folder: inbox, settle: 5ms, settle_unproven: 20ms}}
tags: {csv: {name: "*.csv"}, ask: {name: "ask*"}}
pipelines:
  orders:
    when: csv and not ask
    steps: [steps.work, {write: out}]
  asked:
    when: ask
    steps:
      - hold: {message: "is this right?", choices: [yes, no]}
      - write: out
sinks: {out: {folder: out}}
"""
STEPS = """\
import os
from filemill import File

def work(file: File) -> File:
    if os.path.exists(os.path.join(os.environ["PROJECT"], "broken")):
        raise ValueError("the machine is broken")
    while os.path.exists(os.path.join(os.environ["PROJECT"], "slow")):
        __import__("time").sleep(0.02)
    return file
"""


class Mill:
    """A project, and the server that runs it when a test says so."""

    def __init__(self, shell):
        self.shell = shell
        self.root = shell.folder
        shell.environ["PROJECT"] = str(self.root)
        (self.root / "filemill.yaml").write_text(CONFIG)
        (self.root / "steps.py").write_text(STEPS)
        (self.root / "inbox").mkdir()
        self.server = None

    def __call__(self, *words, code=0):
        return self.shell(*words, code=code).stdout

    def start(self):
        log = self.root / "server.log"
        self.server = begin(self.root, self.shell.environ, log)
        until(lambda: b"Ready in" in log.read_bytes())

    def stop(self):
        if self.server is not None:
            self.server.send_signal(signal.SIGINT)
            assert self.server.wait(timeout=LONG) == 0
            self.server = None
            os.rename(self.root / "server.log", self.root / f"server-{time.time()}.log")

    def drop(self, *names):
        for name in names:
            (self.root / f".{name}").write_text(f"id\n{name}\n")
            os.rename(self.root / f".{name}", self.root / "inbox" / name)

    def switch(self, name, on):
        (self.root / name).write_text("") if on else (self.root / name).unlink()

    def states(self):
        items = json.loads(self("files", "ls", "--json"))["items"]
        return {item["name"]: item["state"] for item in items}

    def reaches(self, **states):
        wanted = {name.replace("_", "."): state for name, state in states.items()}
        until(lambda: wanted.items() <= self.states().items())

    def out(self):
        return sorted(path.name for path in (self.root / "out").glob("*") if path.is_file())


@pytest.fixture
def mill(filemill):
    made = Mill(filemill)
    yield made
    if made.server is not None:
        made.server.kill()
        made.server.wait()


def test_a_dead_run_is_redriven_while_the_server_runs(mill):
    mill.switch("broken", on=True)
    mill.start()
    mill.drop("a.csv", "b.csv")
    mill.reaches(a_csv="dead", b_csv="dead")
    mill.switch("broken", on=False)
    assert "redrove 2 runs" in mill("dead", "redrive", "--all", "--yes", "--reason", "mended")
    mill.reaches(a_csv="done", b_csv="done")
    assert mill.out() == ["a.csv", "b.csv"]
    history = json.loads(mill("files", "show", "a.csv", "--json"))["file"]
    assert [(deed["action"], deed["reason"]) for deed in history["deeds"]] == [
        ("redrive", "mended")
    ]
    assert [attempt["outcome"] for attempt in history["runs"][0]["attempts"]] == [
        "dead",
        "publishing",
    ]
    assert "redriven" in mill("files", "show", "a.csv")
    mill.stop()


def test_without_a_server_it_runs_at_the_next_start(mill):
    mill.switch("broken", on=True)
    mill.drop("a.csv")
    mill("run", "--once", code=1)
    mill.switch("broken", on=False)
    said = mill("dead", "redrive", "a.csv")
    assert "no server runs: at the next start" in said
    assert mill.states() == {"a.csv": "live"}
    mill("run", "--once")
    assert mill.out() == ["a.csv"]


def test_ctrl_c_ends_a_bulk_command_between_two_pieces(mill):
    mill.switch("broken", on=True)
    names = [f"{number}.csv" for number in range(6)]
    mill.drop(*names)
    mill("run", "--once", code=1)
    command = subprocess.Popen(
        [*FILEMILL, "dead", "redrive", "--all", "--yes", "--rate", "1/m"],
        cwd=mill.root,
        env=mill.shell.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    until(lambda: "live" in mill.states().values())
    command.send_signal(signal.SIGINT)
    said, told = command.communicate(timeout=LONG)
    assert command.returncode == 130
    assert "redrove 1 run" in said
    assert "stopped with 5 runs left: the same command again goes on with them" in told
    assert "redrove 5 runs" in mill("dead", "redrive", "--all", "--yes")
    assert set(mill.states().values()) == {"live"}


def test_a_canary_that_dies_spares_the_others(mill):
    mill.switch("broken", on=True)
    mill.start()
    mill.drop("a.csv", "b.csv", "c.csv")
    mill.reaches(a_csv="dead", b_csv="dead", c_csv="dead")
    failed = mill.shell("dead", "redrive", "--all", "--yes", "--canary", "1", code=1)
    assert "1 canary run did not end well (filemill dead show " in failed.stderr
    assert "): 2 runs not touched" in failed.stderr
    deeds = [
        json.loads(mill("files", "show", name, "--json"))["file"]["deeds"]
        for name in ("a.csv", "b.csv", "c.csv")
    ]
    assert sum(map(len, deeds)) == 1
    mill.switch("broken", on=False)
    said = mill("dead", "redrive", "--all", "--yes", "--canary", "1", "--wait", "--rate", "100/s")
    assert said == "Done. OK=3 FAIL=0 SKIP=0 TOTAL=3\n"
    mill.stop()


def test_nothing_is_done_without_a_yes(mill):
    mill.switch("broken", on=True)
    mill.drop("a.csv", "b.csv")
    mill("run", "--once", code=1)
    assert "nothing is named" in mill.shell("dead", "redrive", code=2).stderr
    asked = mill.shell("dead", "redrive", "--all", code=2)
    assert "2 runs to redrive, and nobody to ask" in asked.stderr
    assert "--yes" in asked.stderr
    assert "would redrive 2 runs" in mill.shell("dead", "redrive", "--all", "--dry-run").stderr
    plan = json.loads(mill("dead", "discard", "--all", "--dry-run", "--json"))
    assert sorted(item["name"] for item in plan["items"]) == ["a.csv", "b.csv"]
    assert mill.states() == {"a.csv": "dead", "b.csv": "dead"}


def test_a_dead_run_is_discarded_and_can_be_replayed(mill):
    mill.switch("broken", on=True)
    mill.drop("a.csv")
    mill("run", "--once", code=1)
    mill("dead", "discard", "a.csv")
    assert mill.states() == {"a.csv": "discarded"}
    assert "is not dead, it is discarded" in mill.shell("dead", "redrive", "a.csv", code=2).stderr
    mill.switch("broken", on=False)
    mill("files", "replay", "a.csv")
    mill("run", "--once")
    assert mill.out() == ["a.csv"]


def test_a_done_run_is_not_done_again_without_a_word_on_its_outputs(mill):
    mill.drop("a.csv")
    mill("run", "--once")
    refused = mill.shell("files", "replay", "a.csv", code=2).stderr
    assert "this run is done" in refused
    assert "--supersede" in refused
    assert "--beside" in refused
    both = mill.shell("files", "replay", "a.csv", "--beside", "--supersede", code=2).stderr
    assert "not both" in both
    assert mill.states() == {"a.csv": "done"}


def test_a_replay_beside_is_a_new_run_and_what_was_published_stays(mill):
    mill.start()
    mill.drop("a.csv")
    mill.reaches(a_csv="done")
    mill("files", "replay", "a.csv", "--beside")
    until(lambda: mill.out() == ["a-2.csv", "a.csv"])
    mill.stop()


def test_a_superseding_replay_takes_the_names_that_the_earlier_run_has(mill):
    (mill.root / "out").mkdir()
    (mill.root / "out" / "a.csv").write_text("somebody else's")
    mill.start()
    mill.drop("a.csv")
    mill.reaches(a_csv="done")
    for count in (2, 3):
        former = (mill.root / "out" / "a-2.csv").stat().st_ino
        mill("files", "replay", "a.csv", "--supersede", "--revision", "old")
        until(lambda former=former: (mill.root / "out" / "a-2.csv").stat().st_ino != former)
        until(lambda count=count: _done(mill, "a.csv") == count)
        assert mill.out() == ["a-2.csv", "a.csv"]
    assert (mill.root / "out" / "a.csv").read_text() == "somebody else's"
    assert "(replaced by" in mill("files", "show", "a.csv")
    mill.stop()


def test_what_a_consumer_changed_is_not_superseded(mill):
    mill.drop("a.csv")
    mill("run", "--once")
    (mill.root / "out" / "a.csv").write_text("corrected by hand")
    mill("files", "replay", "a.csv", "--supersede")
    mill("run", "--once", code=1)
    assert "is not any more what the earlier run published there" in mill("dead", "show", "a.csv")
    assert (mill.root / "out" / "a.csv").read_text() == "corrected by hand"
    os.rename(mill.root / "out" / "a.csv", mill.root / "by-hand.csv")
    mill("dead", "redrive", "a.csv")
    mill("run", "--once")
    assert (mill.root / "out" / "a.csv").read_text() == "id\na.csv\n"
    assert mill.out() == ["a.csv"]


def _done(mill, name):
    runs = json.loads(mill("files", "show", name, "--json"))["file"]["runs"]
    return sum(run["state"] == "done" for run in runs)


def test_a_held_run_goes_on_with_the_answer(mill):
    mill.start()
    mill.drop("ask.csv")
    mill.reaches(ask_csv="held")
    missing = mill.shell("held", "release", "ask.csv", code=2).stderr
    assert "the step asks for an answer" in missing
    assert "--choice yes or --choice no" in missing
    wrong = mill.shell("held", "release", "ask.csv", "--choice", "maybe", code=2).stderr
    assert "`maybe` is no answer" in wrong
    mill("held", "release", "ask.csv", "--choice", "yes")
    until(lambda: mill.states() != {"ask.csv": "live"})
    deeds = json.loads(mill("files", "show", "ask.csv", "--json"))["file"]["deeds"]
    assert [(deed["action"], deed["choice"]) for deed in deeds] == [("release", "yes")]
    mill.stop()


def test_an_unrouted_file_is_routed_by_todays_configuration(mill):
    mill.drop("a.txt")
    mill("run", "--once", code=1)
    assert mill.states() == {"a.txt": "held"}
    config = CONFIG.replace('csv: {name: "*.csv"}', 'csv: {name: "*"}')
    (mill.root / "filemill.yaml").write_text(config)
    mill.start()
    mill("held", "release", "--held-for", "unrouted", "--yes")
    mill.reaches(a_txt="done")
    mill.stop()


def test_a_held_file_is_discarded(mill):
    mill.drop("a.txt")
    mill("run", "--once", code=1)
    mill("held", "discard", "a.txt", "--reason", "junk")
    assert mill.states() == {"a.txt": "discarded"}


def test_a_running_file_is_cancelled_and_nothing_of_it_is_published(mill):
    mill.switch("slow", on=True)
    mill.start()
    mill.drop("a.csv")
    until(lambda: b'"running"' in mill("files", "ls", "--json").encode())
    mill("files", "cancel", "a.csv")
    assert mill.states() == {"a.csv": "cancelled"}
    mill.switch("slow", on=False)
    mill.drop("b.csv")
    mill.reaches(b_csv="done")
    assert mill.out() == ["b.csv"]
    assert mill.states()["a.csv"] == "cancelled"
    mill.stop()


def test_a_paused_pipeline_takes_files_and_begins_none(mill):
    mill.start()
    assert mill("pause", "orders", "--reason", "look first") == "paused orders\n"
    mill.drop("a.csv", "ask.csv")
    mill.reaches(a_csv="live", ask_csv="held")
    assert "orders paused by" in mill("status")
    assert json.loads(mill("status", "--json"))["pipelines"][1]["paused"]["reason"] == "look first"
    mill.stop()
    mill("run", "--once")
    assert mill.states()["a.csv"] == "live", "a pause outlives the server"
    mill.start()
    mill("resume", "orders")
    mill.reaches(a_csv="done")
    mill.stop()


def test_an_unknown_pipeline_is_not_paused(mill):
    assert "there are: orders, asked" in mill.shell("pause", "oders", code=2).stderr


def test_the_socket_is_the_owners_and_speaks_json(mill):
    mill.start()
    path = mill.root / ".filemill" / "control.sock"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for line, error in (
        (b"{}\n", "the server does not know this request"),
        (b'{"act": "DiscardRuns", "runs": 7}\n', "the server does not know this request"),
        (b"x" * 2_000_000 + b"\n", "a request has at most"),
    ):
        with socket.socket(socket.AF_UNIX) as talk:
            talk.connect(str(path))
            with contextlib.suppress(BrokenPipeError):  # it had read enough
                talk.sendall(line)
            with talk.makefile("rb") as answers:
                answer = json.loads(answers.readline())
        assert error in answer["message"]
    mill.drop("a.csv")
    mill.reaches(a_csv="done")
    mill.stop()
    assert not path.exists()


def test_a_deep_data_directory_is_no_obstacle(mill):
    deep = mill.root / ("d" * 100) / ("e" * 100)
    mill.shell.environ["FILEMILL_DATA_DIR"] = str(deep)
    deep.parent.mkdir()
    mill.start()
    assert mill("pause", "orders") == "paused orders\n"
    mill.stop()


def test_what_a_killed_server_leaves_does_not_hinder(mill):
    mill.start()
    mill.server.kill()
    mill.server.wait()
    mill.server = None
    assert mill("pause", "orders") == "paused orders\n"
    os.rename(mill.root / "server.log", mill.root / "killed.log")
    mill.start()
    assert mill("resume", "orders") == "resumed orders\n"
    mill.stop()


def test_where_nothing_has_run_there_is_nothing_to_do(mill):
    assert "nothing has run here yet" in mill.shell("dead", "redrive", "--all", code=2).stderr
