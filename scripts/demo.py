# ruff: noqa: INP001 -- a script, not a package
"""The demo: real data sets and this machine's own log through the real product, in a fresh folder `demo/`.

Inputs: the files of the `vega-datasets` package, `/var/log/dpkg.log`, one file cut in the middle of a record,
and one that no pipeline wants. Then `filemill run --once`, and a table of what happened to each file and where its
output is.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from importlib.resources import files
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from filemill.telemetry.wording import plural, size

ROOT = Path(__file__).resolve().parent.parent
DEMO = ROOT / "demo"
MARK = ".filemill-demo"
STYLES = {"done": "green", "dead": "red", "held": "yellow"}


def main() -> int:
    """Make the folder, run the product, tell what happened."""
    console = Console()
    _fresh()
    made = _fill(DEMO / "inbox")
    console.print(
        f"[bold]demo/inbox[/] has {plural(made, 'file')}. [bold]$ filemill run --once[/]\n"
    )
    began = time.perf_counter()
    code = _filemill("run", "--once", "--quiet").returncode
    took = time.perf_counter() - began
    listed = json.loads(_filemill("files", "ls", "--json", "--limit", "1000").stdout)["items"]
    shown = [_show(each["id"]) for each in listed]
    console.print(_table(sorted(shown, key=lambda each: each["name"])))
    states = {state: sum(each["state"] == state for each in shown) for state in STYLES}
    console.print(
        f"{plural(len(shown), 'file')} in {took:.1f}s, start and end included: {states['done']} done, "
        f"{states['dead']} dead, {states['held']} held. Exit code {code}."
    )
    bad = next(each["id"] for each in shown if each["state"] == "dead")
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


def _filemill(*words: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [str(Path(sys.executable).parent / "filemill"), *words],
        cwd=DEMO,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode not in {0, 1}:
        sys.exit(f"error: filemill {' '.join(words)} ended with {done.returncode}")
    return done


def _show(file: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(_filemill("files", "show", file, "--json").stdout)["file"]
    return found


def _table(shown: list[dict[str, Any]]) -> Table:
    table = Table(box=box.ROUNDED, header_style="bold")
    table.add_column("file", no_wrap=True)
    table.add_column("size", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("pipeline", no_wrap=True)
    table.add_column("what happened, and where it is", overflow="fold")
    for each in shown:
        state = Text(each["state"], STYLES.get(each["state"], ""))
        pipelines = ", ".join(run["pipeline"] for run in each["runs"]) or "-"
        table.add_row(each["name"], size(each["size"]), state, pipelines, _story(each))
    return table


def _story(each: dict[str, Any]) -> Text:
    lines = []
    for run in each["runs"]:
        for output in run["outputs"]:
            path = os.path.relpath(output["path"], ROOT)
            records = f"{output['records']:,} records" if output["records"] else "the whole file"
            lines.append(f"{records} in {path}")
        if error := run["error"]:
            lines.append(f"at {error['step']}: {error['message']}")
    if each["state"] == "held":
        lines.append(
            f"{each['reason']}: no pipeline wants it; tags: {' '.join(each['tags']) or 'none'}"
        )
    return Text("\n".join(lines))


if __name__ == "__main__":
    sys.exit(main())
