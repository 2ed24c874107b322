"""A big encrypted file is worked on in chunks, goes on after kill -9, and leaves nothing plain where filemill keeps it.

Its records quote a canary: in what a step hands from chunk to chunk, in bad records, in what a failed run says.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pyrage
import pytest
from chunked import checkpoints
from program import Program, wait_for
from sealed_world import CANARY, filemill, workspace

CONFIG = """\
version: 1
workers: 2
chunk_size: 16KiB
encryption: {{recipients: {recipient}, identity: key}}
sources: {{inbox: {{folder: inbox, settle: 5ms, settle_unproven: 20ms}}}}
tags: {{csv: {{name: "*.csv"}}, lines: {{name: "*.log"}}}}
pipelines:
  totals:
    when: csv
    tolerance: 1000
    steps: [{{read_csv: {{types: {{amount: integer}}}}}}, {{steps.Total: {{of: amount}}}}, {{write: out}}]
  logs: {{when: lines, steps: [read_lines, steps.slowly, write: out]}}
sinks: {{out: {{folder: out, encrypt: {encrypt}}}}}
"""
STEPS = """\
import json
import time

import polars
from filemill import step


@step
class Total:
    def __init__(self, *, of: str) -> None:
        self.of = of
        self.total = 0
        self.seen = ""

    def __call__(self, row: dict) -> dict:
        self.total += row[self.of]
        self.seen = list(row.values())[1]
        return row | {"total": self.total}

    def state(self) -> bytes:
        time.sleep(0.1)
        return json.dumps([self.total, self.seen]).encode()

    def restore(self, state: bytes) -> None:
        self.total, self.seen = json.loads(state)


def slowly(lines: polars.DataFrame) -> polars.DataFrame:
    time.sleep(0.01)
    if (found := lines.filter(polars.col("line").str.starts_with("poison"))).height:
        raise RuntimeError("boom over " + found["line"][0])
    return lines
"""
COLUMN = f"who {CANARY}"
"""A header is a line of the file, too."""
ROWS = 110_000
"""About 3 MB: pieces are of 1 MiB."""


def row(number: int) -> str:
    amount = f"no {CANARY}" if number % 5_000 == 7 else number % 1_000
    return f"{number:09},{CANARY},{amount}"


def made_of_rows() -> bytes:
    good = [number for number in range(ROWS) if number % 5_000 != 7]
    sums = itertools.accumulate(number % 1_000 for number in good)
    lines = (f"{row(number)},{total}\n" for number, total in zip(good, sums, strict=True))
    return (f"id,{COLUMN},amount,total\n" + "".join(lines)).encode()


@pytest.fixture(params=["plain", "sealed"])
def root(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """The project, with its key; its sink's outputs are plain, or encrypted for somebody else."""
    root = tmp_path / "project"
    for folder in ("inbox", "tmp"):
        (root / folder).mkdir(parents=True)
    identity = pyrage.x25519.Identity.generate()
    (root / "key").write_text(f"{identity}\n")
    (root / "key").chmod(0o600)
    reader = pyrage.x25519.Identity.generate()
    (root / "reader").write_text(f"{reader}\n")
    encrypt = reader.to_public() if request.param == "sealed" else "false"
    (root / "filemill.yaml").write_text(
        CONFIG.format(recipient=identity.to_public(), encrypt=encrypt)
    )
    (root / "steps.py").write_text(STEPS)
    yield root
    shutil.rmtree(workspace(root), ignore_errors=True)


def drop(root: Path, name: str, text: str) -> None:
    (root / name).write_text(text)
    os.rename(root / name, root / "inbox" / name)


def rows(root: Path) -> None:
    drop(root, "big.csv", f"id,{COLUMN},amount\n" + "".join(f"{row(n)}\n" for n in range(ROWS)))


def leaks(root: Path) -> list[str]:
    """Files of the data directory, and of a sink that encrypts, with something plain in them."""
    places = [root / ".filemill"] + [root / "out"] * is_sealed(root)
    return [
        str(path)
        for place in places
        for path in place.rglob("*")
        if path.is_file() and CANARY.encode() in path.read_bytes()
    ]


def is_sealed(root: Path) -> bool:
    return "encrypt: age1" in (root / "filemill.yaml").read_text()


def output(root: Path) -> bytes | None:
    """What came of the table, as who it is for reads it; None: nothing yet."""
    path = root / ("out/big.csv.age" if is_sealed(root) else "out/big.csv")
    if not path.exists():
        return None
    if not is_sealed(root):
        return path.read_bytes()
    reader = pyrage.x25519.Identity.from_str((root / "reader").read_text().strip())
    return bytes(pyrage.decrypt(path.read_bytes(), [reader]))


def states(root: Path) -> bool:
    """Whether a step's state lies on the disk."""
    return any((root / ".filemill/states").glob("*"))


@pytest.mark.crash
@pytest.mark.slow
@pytest.mark.timeout(240)
def test_it_goes_on_at_its_chunk_after_kills_and_nothing_of_it_was_ever_plain(
    root: Path, start: Callable[..., Program]
) -> None:
    rows(root)
    for least in (3, 8):
        program = start(root)
        assert wait_for(lambda least=least: checkpoints(root) >= least, 60), least
        program.kill_tree()
        assert states(root)
        assert leaks(root) == []
        assert output(root) is None, "published before its end"
    program = start(root)
    assert wait_for(lambda: output(root) is not None, 60), (root / "server.log").read_text()
    assert program.stop() == 0
    assert output(root) == made_of_rows()
    assert os.listdir(root / "out/.filemill") == []
    said = (root / "server.log").read_text()
    went_on = re.findall(r"goes on at \d+%, (\d+) of \d+", said)
    assert [int(done) >= least for done, least in zip(went_on, (3, 8), strict=True)] == [True] * 2
    assert CANARY not in said
    assert leaks(root) == []
    assert not states(root), "nobody needs them any more"
    (file,) = json.loads(filemill(root, "files", "ls", "--json").stdout)["items"]
    shown = filemill(root, "files", "show", file["id"]).stdout
    assert f"no {CANARY}" in shown, "who has the identity reads what was wrong"


@pytest.mark.crash
@pytest.mark.timeout(120)
def test_what_a_chunk_says_of_its_death_is_for_who_has_the_identity(
    root: Path, start: Callable[..., Program]
) -> None:
    lines = [f"{CANARY} {number}\n" for number in range(150_000)]
    drop(root, "bad.log", "".join([*lines, f"poison {CANARY}\n"]))
    ended = filemill(root, "run", "--once", "--no-web")
    assert ended.returncode == 1, ended.stderr
    assert CANARY not in ended.stdout + ended.stderr
    assert leaks(root) == []
    assert checkpoints(root) == 0
    assert not list((root / "out").rglob("*.log*"))
    assert f"boom over poison {CANARY}" in filemill(root, "dead", "ls").stdout


DIES_ONCE = """
import os
from filemill.sinks import sealing
seal_poured = sealing.seal_poured
def dies(encrypt, pour, target, durable):
    done = seal_poured(encrypt, pour, target, durable)
    if not os.path.exists("died"):
        open("died", "w").close()
        os.kill(os.getpid(), 9)
    return done
sealing.seal_poured = dies
"""


@pytest.mark.crash
@pytest.mark.timeout(120)
@pytest.mark.parametrize("root", ["sealed"], indirect=True)
def test_a_worker_that_dies_over_the_whole_costs_the_last_chunk_only(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "sitecustomize.py").write_text(DIES_ONCE)
    monkeypatch.setenv("PYTHONPATH", str(root))
    rows(root)
    ended = filemill(root, "run", "--once", "--no-web")
    assert (root / "died").exists()
    assert ended.returncode == 0, ended.stderr
    assert "goes on at" in ended.stdout
    assert output(root) == made_of_rows()
    assert os.listdir(root / "out/.filemill") == []
    assert leaks(root) == []


UNSEALED_STATE = """
from filemill.engine import chunk_work
save, load = chunk_work.save, chunk_work.load
chunk_work.save = lambda folder, name, states, seal: save(folder, name, states)
chunk_work.load = lambda state, unseal: load(state)
"""
UNSEALED_BOOKS = """
from filemill.engine.chunking import ChunkedRuns
was = ChunkedRuns.__init__
def begin(self, **said):
    was(self, **said)
    self.sealer = None
ChunkedRuns.__init__ = begin
"""


@pytest.mark.crash
@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("left", [UNSEALED_STATE, UNSEALED_BOOKS], ids=["state", "books"])
def test_the_canary_finds_what_is_left_plain(
    root: Path, start: Callable[..., Program], left: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The negative control."""
    (root / "sitecustomize.py").write_text(left)
    monkeypatch.setenv("PYTHONPATH", str(root))
    rows(root)
    program = start(root)
    assert wait_for(lambda: checkpoints(root) >= 3, 60)
    program.kill_tree()
    assert leaks(root) != []
