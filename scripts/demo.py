# ruff: noqa: INP001 -- a script, not a package
"""The demo: real data sets and this machine's own log through the real product, in a fresh folder `demo/`.

Inputs: the files of the `vega-datasets` package, `/var/log/dpkg.log`, one file cut in the middle of a record,
and one that no pipeline wants. Then `filemill run --once`, and a table of what happened to each file and where its
output is.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from importlib.resources import files
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from filemill.queries import FileHistory
from filemill.service.reading import open_queries
from filemill.telemetry.wording import plural, printable, size

ROOT = Path(__file__).resolve().parent.parent
DEMO = ROOT / "demo"
MARK = ".filemill-demo"
STYLES = {"done": "green", "dead": "red", "held": "yellow"}


def main() -> int:
    """Make the folder, run the product, tell what happened."""
    # Wide enough for a path in one line; a terminal that is narrower folds it.
    console = Console(width=None if sys.stdout.isatty() else 120)
    _fresh()
    made = _fill(DEMO / "inbox")
    console.print(
        f"[bold]demo/inbox[/] has {plural(made, 'file')}.\n[bold]demo$ filemill run --once[/]"
    )
    began = time.perf_counter()
    code = _filemill("run", "--once")
    took = time.perf_counter() - began
    shown = _histories()
    console.print(_table(shown), "")
    states = {state: sum(each.summary.state == state for each in shown) for state in STYLES}
    console.print(
        f"{plural(len(shown), 'file')} in {took:.1f}s, start and end included: {states['done']} done, "
        f"{states['dead']} dead, {states['held']} held. Exit code {code}."
    )
    bad = next((each.summary.file[:8] for each in shown if each.summary.state == "dead"), "ID")
    console.print("Look closer:   cd demo", style="bold")
    for command in (f"files show {bad}", "dead ls", "held ls", "status"):
        console.print(f"  ../.venv/bin/filemill {command}")
    as_meant = states["dead"] == 1 and states["held"] == 1 and code == 1
    return 0 if as_meant and states["done"] == len(shown) - 2 else 1


def _fresh() -> None:
    """An empty demo/ with the example's configuration; never removes a folder it has not made."""
    if DEMO.exists():
        if not (DEMO / MARK).exists():
            sys.exit("error: demo/ exists and is no demo of ours; move it away")
        shutil.rmtree(DEMO)
    (DEMO / "inbox").mkdir(parents=True)
    (DEMO / MARK).touch()
    for name in ("filemill.yaml", "steps.py"):
        shutil.copy(ROOT / "examples" / "demo" / name, DEMO)


def _fill(inbox: Path) -> int:
    sets = files("vega_datasets") / "_data"
    for entry in sets.iterdir():
        if entry.name.endswith((".csv", ".json")):
            (inbox / entry.name).write_bytes(entry.read_bytes())
    whole = (sets / "airports.csv").read_bytes()
    (inbox / "airports-cut.csv").write_bytes(whole[: whole.index(b"\n", 1000) + 12])
    (inbox / "nobody-wants.toml").write_bytes((ROOT / "pyproject.toml").read_bytes())
    log = Path("/var/log/dpkg.log")
    if os.access(log, os.R_OK):
        shutil.copyfile(log, inbox / log.name)
    return len(list(inbox.iterdir()))


def _filemill(*words: str) -> int:
    program = str(Path(sys.executable).parent / "filemill")
    code = subprocess.run([program, *words], cwd=DEMO, check=False).returncode
    if code not in {0, 1}:
        sys.exit(f"error: filemill {' '.join(words)} ended with {code}")
    return code


def _histories() -> list[FileHistory]:
    """What the ledger says of every file, by name."""
    with open_queries(str(DEMO / ".filemill")) as queries:
        page = queries.files(limit=1000)
        found = [queries.file(each.file) for each in page.items]
    return sorted(found, key=lambda each: each.summary.name)


def _table(shown: list[FileHistory]) -> Table:
    table = Table(box=box.ROUNDED, header_style="bold")
    for name, justify in (("file", "left"), ("size", "right"), ("", "left"), ("pipeline", "left")):
        table.add_column(name, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    table.add_column("what happened, and where it is", overflow="fold")
    for each in shown:
        state = each.summary.state
        pipelines = ", ".join(run.summary.pipeline for run in each.runs) or "-"
        table.add_row(
            printable(each.summary.name),
            size(each.summary.size),
            Text(state, STYLES.get(state, "")),
            pipelines,
            _story(each),
        )
    return table


def _story(each: FileHistory) -> Text:
    lines = []
    for run in each.runs:
        for output in run.outputs:
            path = os.path.relpath(os.fsdecode(output.path), ROOT)
            records = plural(output.records, "record") if output.records else "the whole file"
            lines.append(f"{records} in {path}")
        if run.summary.state == "dead":
            lines.append(f"{run.summary.step}: {run.summary.message}")
    if each.summary.state == "held":
        tags = " ".join(each.summary.tags) or "none"
        lines.append(f"{each.summary.reason}: no pipeline wants it; its tags: {tags}")
    return Text("\n".join(lines))


if __name__ == "__main__":
    sys.exit(main())
