"""What a file costs does not grow with the files that are known: how many pages of the ledger a commit writes."""

from __future__ import annotations

import random

import apsw
import pytest

from filemill.durable import Durable, Failpoints
from filemill.ledgers.sqlite.opening import open_writer
from filemill.ports.clock import RandomIds

KNOWN = 100_000
GROUP = 256
CHANCE = random.Random(5)
_LETTERS = "abcdefghijklmnopqrstuvwxyz234567"
_FILES = """
INSERT INTO file (id, state, state_ns, source, path, relative, device, inode, size, mtime_ns, content,
                  claimed_ns, how, after, priority, given)
SELECT new_id(), 'inspected', ?2 + value, 'inbox', x'2f61', x'61', 1, value, 1, 1, 'c', ?2 + value,
       'rename', 'archive', 0, ''
FROM (WITH RECURSIVE number (value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM number WHERE value < ?1)
      SELECT value FROM number)
"""


@pytest.fixture(scope="module")
def db(tmp_path_factory):
    path = str(tmp_path_factory.mktemp("growth") / "ledger.db")
    db = open_writer(path, Durable(Failpoints("test"), sync=False), 1)
    _add(db, _scattered, KNOWN, 0)
    yield db
    db.close()


def test_a_commit_of_many_files_writes_few_pages_of_a_full_ledger(db):
    together = _add(db, RandomIds().new, GROUP, KNOWN)
    scattered = _add(db, _scattered, GROUP, KNOWN + GROUP)
    assert together < 60
    assert scattered > 3 * together  # the test sees what it is for


def _add(db, new_id, count, at_ns):
    """Pages of log that a commit of so many files writes."""
    db.create_scalar_function("new_id", new_id, 0)
    db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    pages = []
    db.set_wal_hook(lambda _db, _name, written: pages.append(written) or 0)
    db.execute(_FILES, (count, at_ns))
    return pages[-1]


def _scattered():
    return "".join(CHANCE.choices(_LETTERS, k=13))
