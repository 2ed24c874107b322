"""How many files and runs are where is kept in every move's own commit, and is what counting would find."""

from __future__ import annotations

import asyncio
import random
import re
from collections import Counter

import apsw
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from recounting import kept, recounted

from filemill.durable import Durable, Failpoints
from filemill.ledgers.sqlite.ledger import SqliteLedger
from filemill.ledgers.sqlite.opening import migrate, migrations, open_writer
from filemill.ledgers.sqlite.reading import SqliteReading
from filemill.model.deeds import Deed, Replay
from filemill.model.states import FileState, RunState
from filemill.ports.access import Scope
from filemill.ports.retention import Cutoffs
from filemill.queries import Queries
from filemill.testing.clock import FakeClock
from filemill.testing.ids import SequentialIds
from filemill.testing.journey import Journey

SOURCES, PIPELINES = ("inbox", "partner"), ("orders", "audit", "notes")
ENDS = [state for state in RunState if state != RunState.QUEUED]
LONE = [state for state in FileState if state not in {FileState.CLAIMING, FileState.INSPECTED}]


def _same(left, right):
    assert left == right


class Rows:
    """Rows as statements of the ledger change them, but in any order and to any state."""

    def __init__(self, db, data):
        self.db = db
        self._data = data
        self._number = 0

    def step(self):
        self._draw(
            [
                self._claim,
                self._file,
                self._move_file,
                self._run,
                self._runs,
                self._free,
                self._forget,
            ]
        )()

    def _draw(self, values):
        return self._data.draw(st.sampled_from(values))

    def _some(self, text):
        found = [row[0] for row in self.db.execute(text).fetchall()]
        return self._data.draw(st.sets(st.sampled_from(found), max_size=3)) if found else set()

    def _insert_file(self, state):
        self._number += 1
        self.db.execute(
            "INSERT INTO file (id, state, state_ns, source, path, relative, device, inode, size, mtime_ns, content, "
            "claimed_ns, how, after, priority, given) VALUES (?, ?, 1, ?, x'61', x'61', 1, 1, ?, 1, 'c', 1, 'rename', "
            "'archive', 0, '')",
            (f"f{self._number}", state, self._draw(SOURCES), self._number),
        )

    def _claim(self):
        self._insert_file("claiming")

    def _file(self):
        self._insert_file(self._draw(LONE))

    def _move_file(self):
        """Files without runs go from any state to any other."""
        for no in self._some("SELECT no FROM file WHERE state <> 'inspected'"):
            self.db.execute("UPDATE file SET state = ? WHERE no = ?", (self._draw(LONE), no))

    def _run(self):
        """Routed files get runs: first ones, which are queued; later ones, which do others again."""
        for no in self._some("SELECT no FROM file WHERE state IN ('ingested', 'inspected')"):
            first = self.db.execute("SELECT state FROM file WHERE no = ?", (no,)).get == "ingested"
            self.db.execute("UPDATE file SET state = 'inspected' WHERE no = ?", (no,))
            pipelines = PIPELINES[: self._draw((1, 2, 3))] if first else [self._draw(PIPELINES)]
            for pipeline in pipelines:
                self._number += 1
                self.db.execute(
                    "INSERT INTO run (id, file, source, pipeline, revision, priority, state, state_ns, queued_ns, "
                    "replays) SELECT ?, no, source, ?, 1, 0, 'queued', 1, 1, ? FROM file WHERE no = ?",
                    (f"r{self._number}", pipeline, None if first else "r", no),
                )

    def _runs(self):
        """Many runs at once, also of one file, go to any state."""
        for state in (self._draw(list(RunState)),):
            runs = ", ".join(map(str, self._some("SELECT no FROM run"))) or "0"
            self.db.execute(f"UPDATE run SET state = ? WHERE no IN ({runs})", (state,))

    def _free(self):
        for no in self._some("SELECT no FROM file WHERE state <> 'claiming'"):
            self.db.execute("UPDATE file SET freed_ns = 1 WHERE no = ?", (no,))

    def _forget(self):
        files = ", ".join(map(str, self._some("SELECT no FROM file"))) or "0"
        self.db.execute(f"DELETE FROM run WHERE file IN ({files})")
        self.db.execute(f"DELETE FROM file WHERE no IN ({files})")


@pytest.fixture(scope="module")
def ledger():
    db = open_writer(":memory:", Durable(Failpoints("test"), sync=False), 1)
    yield db
    db.close()


def _walk(db, data):
    for table in ("run", "file", "standing"):
        db.execute(f"DELETE FROM {table}")
    rows = Rows(db, data)
    for _ in range(data.draw(st.integers(1, 25))):
        rows.step()
        # Between a file's row and its runs nobody looks: they are one commit.
        assert kept(db) == recounted(db)


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_counts_follow_rows_wherever_they_go(ledger, data):
    _walk(ledger, data)


NAMES = re.findall(r"^CREATE TRIGGER (\w+)", dict(migrations())[6], re.MULTILINE)


@pytest.mark.parametrize("missing", NAMES)
def test_a_trigger_that_is_missing_is_seen(missing):
    db = open_writer(":memory:", Durable(Failpoints("test"), sync=False), 1)
    db.execute(f"DROP TRIGGER {missing}")

    @settings(
        max_examples=400, deadline=None, database=None, derandomize=True, phases=(Phase.generate,)
    )
    @given(data=st.data())
    def walk(data):
        _walk(db, data)

    with pytest.raises(AssertionError):
        walk()
    db.close()


def test_a_ledger_of_before_is_counted_when_it_is_brought_up_to_date():
    db = apsw.Connection(":memory:")
    migrate(db, 1, migrations()[:5])
    chance = random.Random(7)
    files = []
    for number in range(1, 400):
        state = chance.choice(list(FileState))
        files.append(
            (number, f"f{number}", state, chance.choice(SOURCES), number, chance.choice((None, 5)))
        )
    db.executemany(
        "INSERT INTO file (no, id, state, state_ns, source, path, relative, device, inode, size, mtime_ns, content, "
        "claimed_ns, how, after, priority, given, freed_ns) VALUES (?, ?, ?, 1, ?, x'61', x'61', 1, 1, ?, 1, 'c', 1, "
        "'rename', 'archive', 0, '', ?)",
        files,
    )
    for number, _, state, source, *_ in files:
        for n in range(chance.choice((1, 2, 3)) if state == "inspected" else 0):
            run = (
                f"r{number}-{n}",
                number,
                source,
                PIPELINES[n],
                chance.choice(list(RunState)),
                chance.choice((None, "x")),
            )
            db.execute(
                "INSERT INTO run (id, file, source, pipeline, revision, priority, state, state_ns, queued_ns, replays) "
                "VALUES (?, ?, ?, ?, 1, 0, ?, 1, 1, ?)",
                run,
            )
    assert 6 in migrate(db, 2)
    assert kept(db) == recounted(db)
    db.close()


class Life:
    """A ledger with files of every end, and a reading of it."""

    def __init__(self, path):
        self.path = path
        self.runner = asyncio.Runner()
        self.clock = FakeClock()
        self.ledger = self.do(
            SqliteLedger.open(path, durable=Durable(Failpoints("test"), sync=False))
        )
        self.journey = Journey(self.ledger, SequentialIds(), self.clock)

    def do(self, work):
        return self.runner.run(work)

    def close(self):
        self.do(self.ledger.close())
        self.runner.close()


@pytest.fixture
def life(tmp_path):
    made = Life(str(tmp_path / "ledger.db"))
    yield made
    made.close()


def test_retention_takes_its_files_out_of_the_counts_and_leaves_what_ever_happened(life):
    (done,) = life.do(life.journey.done())
    assert life.do(life.ledger.disposed([done.file.file], life.clock.wall_ns())) == [True]
    life.do(life.journey.queued(1, ("orders", "audit")))
    for order in life.do(life.journey.lease()):
        life.do(life.ledger.fail([life.journey.fail(order, "dead")]))
    life.clock.advance(3600)
    everything = Cutoffs(
        content=None, ledger=life.clock.wall_ns(), dead=life.clock.wall_ns(), audit=None
    )
    freed = life.do(life.ledger.forget(everything, None, 100))
    assert freed.files == 2
    with SqliteReading.open(life.path) as reading:
        assert {k: n for k, n in reading.file_counts().items() if n} == {}
        assert reading.run_counts() == []
        ended = Counter()
        for move in reading.moves():
            if (move.kind, move.before) == ("run", "live"):
                ended[move.after] += move.count
        assert ended == {"done": 1, "dead": 2}
    life.do(life.ledger._writer.ask(lambda tx: _same(kept(tx.db), {})))


def test_status_of_a_scope_says_when_its_files_were_counted(life):
    life.do(life.journey.queued(2, ("orders", "audit")))
    first, *_ = life.do(life.journey.lease(1))
    life.do(life.ledger.fail([life.journey.fail(first, "dead")]))

    def asked(*pipelines):
        return Queries(SqliteReading.open(life.path, Scope(pipelines=pipelines)), life.clock)

    with asked(first.pipeline) as one, asked("orders", "audit") as two:
        assert one.quick_status().files == {"live": 1, "dead": 1}
        assert two.quick_status() is None
        counted = two.file_counts()
        assert counted.files["live"] == 2
        life.clock.advance(5)
        later = two.quick_status(counted)
        assert (later.files, later.files_at_ns) == ({"live": 2}, later.at_ns - 5 * 10**9)
        (mine,) = [each for each in later.pipelines if each.pipeline == first.pipeline]
        assert mine.runs == {"dead": 1, "queued": 1}
    done = life.do(life.journey.done())[0]
    assert life.do(life.ledger.replay([Replay(done.run, "again", 1)], Deed("ana", 1))) == [True]
    with asked(done.pipeline) as one:
        assert one.quick_status() is None  # a file with two runs in it is one file
        assert one.status().files == Counter(each.state for each in one.files().items)


def _full(path, files):
    """A ledger with so many files: nine of ten done, the rest of every other kind."""
    db = open_writer(path, Durable(Failpoints("test"), sync=False), 1)
    with db:
        db.execute(
            "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < ?1) "
            "INSERT INTO file (no, id, state, state_ns, source, path, relative, device, inode, size, mtime_ns, "
            "content, claimed_ns, how, after, priority, given) SELECT n, printf('f%09d', n), 'inspected', n, "
            "iif(n % 3, 'inbox', 'partner'), x'61', x'61', 1, n, 1, 1, 'c', n, 'rename', 'archive', 0, '' FROM n",
            (files,),
        )
        db.execute(
            "INSERT INTO run (id, file, source, pipeline, revision, priority, state, state_ns, queued_ns, due_ns) "
            "SELECT 'r' || id, no, source, iif(no % 2, 'orders', 'audit'), 1, no % 2, CASE no % 20 "
            "WHEN 0 THEN 'queued' WHEN 1 THEN 'retrying' ELSE 'done' END, no, no, no FROM file"
        )
    db.close()


@pytest.mark.parametrize(
    "scope", [Scope(), Scope(sources=("inbox",)), Scope(pipelines=("orders",))]
)
def test_a_status_costs_the_same_however_many_files_there_are(tmp_path, scope):
    took = {}
    for files in (500, 20_000):
        path = str(tmp_path / f"{files}.db")
        _full(path, files)
        with Queries(SqliteReading.open(path, scope), FakeClock()) as queries:
            assert queries.quick_status().total >= files // 2
            took[files] = _steps(queries)
    assert took[20_000] < 1.5 * took[500]
    with Queries(SqliteReading.open(path, Scope(principal="key:x")), FakeClock()) as queries:
        assert _steps(queries, Queries.status) > 3 * took[500]  # the measure sees what it is for


def _steps(queries, question=Queries.quick_status):
    """How many steps of SQLite's machine a question takes: what it costs, whatever else the machine does."""
    steps = 0

    def count():
        nonlocal steps
        steps += 1
        return False

    db = queries._reading._db
    db.set_progress_handler(count, 10)
    question(queries)
    db.set_progress_handler(None)
    return steps
