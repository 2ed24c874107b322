"""What a full ledger and a full folder cost: `python benchmarks/growth.py [--files N] [--keep DIR]`.

Each row is one server: its start, 10,000 small files through it (W1), and how much of a core it takes when nothing
happens. The first has an empty ledger, the second the ledger of `benchmarks/ledger.py`, with a million finished files
and the dead, the held and the bad records among them, after a pass of retention as every hour brings one. Then a
folder of as many names is scanned twice, as a source
does it. The tables go into docs/performance.md. The exit code is 1 when an output was lost or wrong.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import apsw
from contestants import Place
from contestants.filemill import CONTESTANTS, Filemill
from disk import measuring_disk
from filling import MILLION, NOTHING_WAITS, build
from processes import Tree, last_words, wait_for_word
from run import PAGE, machine_words
from table import write_section
from waiting import drop, visible, wait_for_count
from workloads import log_files, verify_logs

from filemill.sources.names import Ignore
from filemill.sources.scanning import scan

BURST = 10_000
IDLE = 20.0
"""Seconds of standing still that are watched."""
SETTLING = 5.0
"""Seconds after the burst in which the log is written back and the second worker may still be there."""
PATIENCE = 60.0


@dataclass
class Row:
    """One ledger's numbers, a value a round."""

    words: str
    ledger: Path | None
    start: list[float] = field(default_factory=list)
    rate: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    idle: list[float] = field(default_factory=list)
    peak: list[float] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def cells(self) -> str:
        """As the table has it: medians."""
        values = (self.start, self.rate, self.cpu, self.idle, self.peak)
        forms = ("{:.2f}", "{:,.0f}", "{:,.0f}", "{:.2f}", "{:,.0f}")
        shown = [form.format(statistics.median(v)) for form, v in zip(forms, values, strict=True)]
        return f"| {self.words} | {' | '.join(shown)} |"


def measure(row: Row, contestant: Filemill, root: Path, files: int, idle: float) -> None:
    """One server over this ledger, from its start to its end."""
    place = Place(root / f"run-{time.monotonic_ns()}")
    place.make()
    if row.ledger is not None:
        data = place.root / ".filemill"
        data.mkdir(mode=0o700)
        shutil.copyfile(row.ledger, data / "ledger.db")
        os.chmod(data / "ledger.db", 0o600)
    names = []
    for name, content in log_files(files):
        (place.staging / name).write_bytes(content)
        names.append(name)
    how = contestant.prepare(place, "W1")
    os.sync()
    began = time.perf_counter()
    compiled = {"PYTHONPYCACHEPREFIX": str(root / "compiled")}
    tree = Tree(how.command, place.root, compiled | how.environment)
    try:
        if not wait_for_word(tree, how.ready, PATIENCE):
            row.problems.append(f"did not start: {last_words(place.root)}")
            return
        row.start.append(time.perf_counter() - began)
        spent = tree.cpu()
        dropped = time.perf_counter()
        drop(place, names)
        done, ended = wait_for_count(lambda: visible(place.out), files, tree)
        row.rate.append(done / (ended - dropped))
        row.cpu.append((tree.cpu().tree - spent.tree) / files * 1e6)
        row.peak.append(tree.peak_resident / 1e6)
        time.sleep(SETTLING)
        quiet = tree.cpu()
        time.sleep(idle)
        after = tree.cpu()
        row.idle.append((after.tree - quiet.tree) / (after.at - quiet.at) * 100)
    finally:
        if problem := tree.end():
            row.problems.append(problem)
    row.problems += verify_logs(place.out, files)
    shutil.rmtree(place.root)
    os.sync()


def settle(project: Path) -> None:
    """Do what a server would have done in those days, an hour at a time: retention, and counts by the hour."""
    (project / ".filemill" / "content").mkdir(mode=0o700, exist_ok=True)
    command = [sys.executable, "-m", "filemill", "gc"]
    subprocess.run(
        command, cwd=project, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True
    )


def scanned(folder: Path, count: int) -> list[str]:
    """Table rows of two scans of one folder with so many names in it."""
    (folder / "one").write_bytes(b"")
    for number in range(count - 1):
        os.link(folder / "one", folder / f"file-{number:07}.csv")
    rows = []
    for words in ("first scan", "second scan"):
        before = resource.getrusage(resource.RUSAGE_SELF)
        found = sum(
            len(some)
            for some in scan(
                os.fsencode(folder),
                b"",
                ignore=Ignore(()),
                recursive=True,
                identities=False,
                entered=lambda *_: None,
                unreadable=lambda *_: None,
            )
        )
        after = resource.getrusage(resource.RUSAGE_SELF)
        spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        grown = (after.ru_maxrss - before.ru_maxrss) / 1024
        rows.append(f"| {words} of {found:,} names | {spent:.2f} | {grown:,.1f} |")
        print(rows[-1], flush=True)
    return rows


def main() -> int:
    """Fill, measure, print, write."""
    arguments = _arguments()
    with tempfile.TemporaryDirectory(prefix="filemill-bench-") as made:
        project = arguments.keep or Path(made) / "project"
        build(project, arguments.files)
        full = project / ".filemill" / "ledger.db"
        db = apsw.Connection(str(full))
        db.execute(NOTHING_WAITS)  # their pipelines are not in this configuration
        db.pragma("wal_checkpoint(truncate)")
        db.close()
        settle(project)
        size = full.stat().st_size
        rows = [Row("an empty ledger", None), Row(f"{arguments.files:,} files in it", full)]
        with measuring_disk(2 * size + (2 << 30), arguments.folder) as disk:
            machine = f"{machine_words(disk.words)} A ledger of {size / 1e9:.1f} GB; {arguments.rounds} rounds."
            measure(Row("warm-up", None), CONTESTANTS[0], disk.root, 200, 0.0)
            for turn in range(arguments.rounds):
                for row in rows if turn % 2 == 0 else rows[::-1]:
                    measure(row, CONTESTANTS[0], disk.root, arguments.burst, arguments.idle)
                    print(row.cells() if row.rate else row.words, *row.problems, flush=True)
        with tempfile.TemporaryDirectory(prefix="filemill-bench-", dir=arguments.names) as folder:
            scans = scanned(Path(folder), arguments.files)
    lines = [
        "| Ledger | start s | W1 files/s | CPU us a file | idle % of a core | peak RSS MB |",
        "| --- | --: | --: | --: | --: | --: |",
        *(row.cells() for row in rows if row.rate),
    ]
    folders = ["| Folder | CPU s | memory grown by MB |", "| --- | --: | --: |", *scans]
    print("", *lines, "", *folders, sep="\n")
    if arguments.files >= MILLION:
        write_section(PAGE, "growth machine", [machine])
        write_section(PAGE, "growth", lines)
        write_section(PAGE, "scans", folders)
    return int(any(row.problems for row in rows))


def _arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", type=int, default=MILLION, help="finished files, and names")
    parser.add_argument("--burst", type=int, default=BURST, help="files of W1")
    parser.add_argument("--idle", type=float, default=IDLE, metavar="S", help="seconds watched")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="measure in this folder, not in a loop file")
    parser.add_argument(
        "--names",
        type=Path,
        default="/dev/shm",
        help="make the folder that is scanned here",
    )
    parser.add_argument(
        "--keep", type=Path, metavar="DIR", help="make the ledger there and leave it, or use it"
    )
    return parser.parse_args(words)


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUTF8", "1")
    sys.exit(main())
