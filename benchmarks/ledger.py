"""Time every reading command over a ledger of a million files: `python benchmarks/ledger.py [--files N] [--keep DIR]`.

The ledger is that of `filling.py`. Each command runs five times as a process of its own, start included, then what
`/stats` and `/metrics` ask, in one process, then `GET /stats` of a server, and the table goes into docs/performance.md.
The exit code is 1 when a command needs a second or more, or `/stats` ten milliseconds.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import apsw
from filling import CONFIG, MILLION, NOTHING_WAITS, build
from processes import Tree, free_port, last_words, wait_for_word
from run import PAGE, machine_words
from table import write_section

from filemill.ledgers.sqlite.reading import SqliteReading
from filemill.ports.access import Scope
from filemill.ports.clock import SystemClock
from filemill.queries import Queries

LIMIT = 1.0
"""Seconds a command may take."""
STATS_LIMIT = 0.01
"""Seconds that `/stats` may ask the ledger."""


def commands(ids: dict[str, str]) -> list[list[str]]:
    """Every command that reads the ledger, with what people ask it for."""
    return [
        words.split()
        for words in (
            "status",
            "files ls",
            "files ls --limit 1000 --json",
            "files ls --state dead",
            "files ls --state done",
            "files ls --state held",
            "files ls --state live",
            "files ls --tag orders",
            "files ls --tag partner:*",
            "files ls --tag orders --state dead",
            "files ls --pipeline photos",
            "files ls --since 24h",
            "files ls --since 7d --state dead",
            "files ls *0500000*",
            "files ls no-such-name",
            f"files show {ids['done'][:8]}",
            f"files show {ids['bad']}",
            "dead ls",
            "dead ls --pipeline photos --since 7d",
            "dead ls --limit 10000 --json",
            f"dead show {ids['dead']}",
            "held ls",
            "held ls --reason unrouted",
            "held ls --reason no-such-reason",
            f"held show {ids['unrouted']}",
            "tail --no-follow",
            "tail --no-follow --tag orders --state dead",
        )
    ]


def measure(project: Path, words: Sequence[str], times: int) -> tuple[list[float], float]:
    """Seconds of each of so many runs of one command as a process, and the processor time of one on average.

    Raises RuntimeError when it does not answer.
    """
    took = []
    before = os.times()
    for _ in range(times):
        began = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "filemill", *words],
            cwd=project,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        took.append(time.perf_counter() - began)
        if done.returncode != 0:
            raise RuntimeError(f"filemill {' '.join(words)}: exit {done.returncode}\n{done.stderr}")
    after = os.times()
    spent = after.children_user - before.children_user
    return took, (spent + after.children_system - before.children_system) / times


def asked_in_a_server(ledger: str, rounds: int) -> tuple[list[str], float]:
    """Rows of how long `/stats` and `/metrics` ask the ledger, and the longest median of those that keep counts."""
    rows, worst = [], 0.0
    kept = {
        "/stats": (Scope(), Queries.status),
        "/stats, key for one source": (Scope(sources=("partners",)), Queries.status),
        "/stats, key for one pipeline": (Scope(pipelines=("photos",)), Queries.status),
        "/metrics": (Scope(), Queries.standing),
    }
    counted = {"/stats, first one of a key for two pipelines": Scope(pipelines=("photos", "logs"))}
    for what, (scope, question) in (
        kept | {w: (s, Queries.status) for w, s in counted.items()}
    ).items():
        took = []
        with Queries(SqliteReading.open(ledger, scope), SystemClock()) as queries:
            for _ in range(rounds if what in kept else 1):
                began = time.perf_counter()
                question(queries)
                took.append(time.perf_counter() - began)
        middle = statistics.median(took)
        worst = max(worst, middle if what in kept else 0.0)
        rows.append(f"| {what} | {min(took):.4f} | {middle:.4f} | {max(took):.4f} | |")
        print(rows[-1], flush=True)
    return rows, worst


def asked_over_http(project: Path, times: int = 200) -> str:
    """The row of `GET /stats` of a server over a copy of this ledger, on one connection."""
    with tempfile.TemporaryDirectory(prefix="filemill-bench-", dir=project) as made:
        root = Path(made)
        data, port = root / ".filemill", free_port()
        data.mkdir(mode=0o700)
        shutil.copyfile(project / ".filemill" / "ledger.db", data / "ledger.db")
        os.chmod(data / "ledger.db", 0o600)
        db = apsw.Connection(str(data / "ledger.db"))
        db.execute(NOTHING_WAITS)
        db.close()
        (root / "filemill.yaml").write_text(CONFIG)
        environment = {"FILEMILL__WEB__LISTEN": f"127.0.0.1:{port}"}
        tree = Tree([sys.executable, "-m", "filemill", "run"], root, environment)
        try:
            if not wait_for_word(tree, "Ready in", 120.0):
                raise RuntimeError(last_words(root))
            noted = data / "local.key"
            while not noted.exists() and tree.alive:
                time.sleep(0.01)  # what speaks HTTP is a process of its own
            key = noted.read_text().strip()
            asking = http.client.HTTPConnection("127.0.0.1", port)
            took = []
            for _ in range(times):
                began = time.perf_counter()
                asking.request("GET", "/stats", headers={"authorization": f"Bearer {key}"})
                answer = asking.getresponse()
                answer.read()
                took.append(time.perf_counter() - began)
                if answer.status != http.HTTPStatus.OK:
                    raise RuntimeError(f"/stats: {answer.status}")
        finally:
            tree.end()
    row = f"| `GET /stats`, {times} times | {min(took):.4f} | {statistics.median(took):.4f} | {max(took):.4f} | |"
    print(row, flush=True)
    return row


@contextlib.contextmanager
def _place(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        yield keep
        return
    with tempfile.TemporaryDirectory(prefix="filemill-bench-") as folder:
        yield Path(folder) / "project"


def main() -> int:
    """Fill, measure, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", type=int, default=MILLION, help="finished files")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--keep",
        type=Path,
        metavar="DIR",
        help="make it there and leave it, or use the one left there",
    )
    parser.add_argument(
        "--only", default="", metavar="WORDS", help="commands that begin so; print only"
    )
    arguments = parser.parse_args()
    with _place(arguments.keep) as project:
        began = time.perf_counter()
        ids = build(project, arguments.files)
        size = (project / ".filemill" / "ledger.db").stat().st_size / 1e9
        print(f"ledger of {size:.2f} GB in {time.perf_counter() - began:.0f} s", flush=True)
        lines = [
            "| Command | min s | median s | max s | CPU s |",
            "| --- | --: | --: | --: | --: |",
        ]
        worst = 0.0
        for words in commands(ids):
            if not " ".join(words).startswith(arguments.only):
                continue
            took, spent = measure(project, words, arguments.rounds)
            worst = max(worst, statistics.median(took))
            shown = " ".join("ID" if word in _prefixes(ids) else word for word in words)
            cells = (
                f"{min(took):.2f} | {statistics.median(took):.2f} | {max(took):.2f} | {spent:.2f}"
            )
            lines.append(f"| `filemill {shown}` | {cells} |")
            print(lines[-1], flush=True)
        asked, slowest = asked_in_a_server(str(project / ".filemill" / "ledger.db"), 20)
        lines += [*asked, asked_over_http(project)]
    if arguments.files >= MILLION and not arguments.only:
        write_section(PAGE, "ledger", lines)
        write_section(
            PAGE,
            "ledger machine",
            [f"{machine_words()} A ledger of {size:.1f} GB; {arguments.rounds} runs of each."],
        )
    return int(worst >= LIMIT or slowest >= STATS_LIMIT)


def _prefixes(ids: dict[str, str]) -> set[str]:
    return {*ids.values(), *(each[:8] for each in ids.values())}


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUTF8", "1")
    sys.exit(main())
