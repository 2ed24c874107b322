"""filemill tail: every end is told once, in order, with a server and without; and it costs nothing to wait."""

import contextlib
import json
import os
import signal
import subprocess
import time

import pytest
from shell import FILEMILL

from filemill.ledgers.sqlite.reading import SqliteReading
from filemill.model.errors import UsageError
from filemill.queries import Queries, following
from filemill.testing.clock import FakeClock

INSIDE = True


def lines(done):
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_the_last_ends_in_the_order_of_time(ask):
    found = lines(ask("tail", "--no-follow", "--json"))
    assert [each["event"] for each in found] == [
        "RunFinished", "RunFailed", "RunFailed", "FileHeld", "RunFailed", "FileRejected",
    ]  # fmt: skip
    assert [each["at"] for each in found] == sorted(each["at"] for each in found)
    assert found[0]["outputs"] == [["warehouse", 407, "acme/orders-0412.csv"]]
    assert found[1]["help"] == "fix the header or alias it"
    assert found[4]["state"] == "retrying"
    assert found[4]["retry_at_ns"] > 0


def test_people_get_the_console_s_lines(ask):
    out = ask("tail", "--no-follow").stdout
    assert "✓ acme/orders-0412.csv  orders" in out
    assert "✗ acme/orders-0413.csv  orders  dead at check" in out
    assert r"‖ evil\x1b[2J\xff.csv  held: unrouted" in out
    assert "\x1b" not in out


@pytest.mark.parametrize(
    ("words", "count"),
    [
        (["-n", "2"], 2),
        (["-n", "0"], 0),
        (["--state", "dead"], 2),
        (["--state", "dead", "-n", "1"], 1),
        (["--state", "held"], 1),
        (["--tag", "orders"], 5),
        (["--tag", "partner:*"], 6),
        (["--pipeline", "orders"], 4),
        (["--pipeline", "photos"], 0),
    ],
)
def test_filters(ask, words, count):
    assert len(lines(ask("tail", "--no-follow", "--json", *words))) == count


def test_a_state_that_is_none(ask):
    assert "states: arrived" in ask("tail", "--state", "ded", code=2).stderr


@contextlib.contextmanager
def tailing(filemill, *words):
    process = subprocess.Popen(
        [*FILEMILL, "tail", *words],
        cwd=filemill.folder,
        env=filemill.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()


def test_it_follows_what_other_processes_do_until_ctrl_c(filemill, tmp_path):
    filemill("init")
    (tmp_path / "one.csv").write_text("order_id,amount\nA,1\n")
    (tmp_path / "two.csv").write_text("order_id,amount\nA,1\nB,2000\n")
    filemill("run", "--once", "one.csv")
    with tailing(filemill, "--json") as process:
        first = json.loads(process.stdout.readline())
        assert (first["event"], first["relative"]) == ("RunFinished", "one.csv")
        filemill("run", "--once", "two.csv")
        found = []
        while not found or found[-1]["event"] != "RunFinished":
            found.append(json.loads(process.stdout.readline()))
        assert [each["event"] for each in found] == ["FileIngested", "RunFinished"]
        assert sorted(found[-1]["outputs"]) == [
            ["orders", 1, "two.csv"],
            ["review", 1, "two.jsonl"],
        ]
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "", "")


def test_it_ends_with_its_reader(filemill, tmp_path):
    filemill("init")
    (tmp_path / "one.csv").write_text("order_id,amount\nA,1\n")
    filemill("run", "--once", "one.csv")
    with tailing(filemill, "--json") as process:
        process.stdout.readline()
        process.stdout.close()
        (tmp_path / "two.csv").write_text("order_id,amount\nA,1\n")
        filemill("run", "--once", "two.csv")
        assert process.wait(60) == 0
        assert process.stderr.read() == ""


# --- the reading itself, over rows that are put there by hand ---------------------------------------------


class Ledger:
    """A ledger whose rows a test puts there as no server would: late, all at once, with the clock set back."""

    def __init__(self, folder):
        from filemill.durable import Durable, Failpoints
        from filemill.ledgers.sqlite.opening import open_writer

        path = os.path.join(folder, "ledger.db")
        self.db = open_writer(path, Durable(Failpoints("test"), sync=False), 1)
        self.clock = FakeClock()
        self.queries = Queries(SqliteReading.open(path), self.clock)
        self.number = 0

    def held(self, at_ns=None):
        self.number += 1
        at = self.clock.wall_ns() if at_ns is None else at_ns
        self.db.execute(
            "INSERT INTO file (no, id, state, state_ns, source, path, relative, device, inode, size, mtime_ns, "
            "content, claimed_ns, how, after, priority, given, reason) VALUES "
            "(?, ?, 'held', ?, 's', x'', x'61', 1, 1, 1, 1, '', ?, 'rename', 'archive', 0, '', 'unrouted')",
            (self.number, f"f{self.number}", at, at),
        )


@pytest.fixture
def ledger(tmp_path):
    made = Ledger(tmp_path)
    yield made
    made.queries.close()
    made.db.close()


def news(follow):
    return [event.file for event in follow.news() if type(event).__name__ == "FileHeld"]


def test_what_was_there_is_not_told_as_news(ledger):
    ledger.held()
    follow = ledger.queries.follow()
    assert news(follow) == []
    ledger.clock.advance(1)
    ledger.held()
    assert news(follow) == ["f2"]
    assert news(follow) == []


def test_a_row_that_is_committed_late_is_told(ledger):
    follow = ledger.queries.follow()
    ledger.clock.advance(10)
    ledger.held()
    assert news(follow) == ["f1"]
    ledger.held(ledger.clock.wall_ns() - 2 * 10**9)  # taken before f1, committed after it
    assert news(follow) == ["f2"]


def test_a_clock_that_is_set_back_hides_nothing(ledger):
    follow = ledger.queries.follow()
    ledger.clock.advance(10)
    ledger.held()
    assert news(follow) == ["f1"]
    ledger.clock.jump(-3600)
    ledger.clock.advance(1)
    assert news(follow) in ([], ["f1"])
    ledger.held()
    assert "f2" in news(follow)


def test_more_than_a_look_takes_is_told_all_the_same(ledger, monkeypatch):
    monkeypatch.setattr(following, "AT_ONCE", 10)
    follow = ledger.queries.follow()
    for _ in range(45):
        ledger.clock.advance(0.01)
        ledger.held()
    told = [name for _ in range(12) for name in news(follow)]
    assert told == [f"f{number}" for number in range(1, 46)]


def test_many_rows_of_one_moment_do_not_stop_it(ledger, monkeypatch):
    monkeypatch.setattr(following, "AT_ONCE", 10)
    follow = ledger.queries.follow()
    ledger.clock.advance(1)
    for _ in range(25):
        ledger.held()
    for _ in range(3):
        news(follow)
    ledger.clock.advance(1)
    ledger.held()
    assert "f26" in [name for _ in range(3) for name in news(follow)]


def test_no_such_state(ledger):
    with pytest.raises(UsageError):
        ledger.queries.follow(state="gone")


def test_waiting_costs_next_to_nothing(filemill, tmp_path):
    filemill("init")
    (tmp_path / "one.csv").write_text("order_id,amount\nA,1\n")
    filemill("run", "--once", "one.csv")
    with tailing(filemill) as process:
        process.stdout.readline()
        before = _cpu(process.pid)
        time.sleep(5)
        assert _cpu(process.pid) - before < 1.0  # seconds of processor time in five


def _cpu(pid):
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
