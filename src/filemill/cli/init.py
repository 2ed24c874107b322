"""`filemill init`: a project that runs, with a step, its test, and an inbox."""

from __future__ import annotations

import os
from enum import StrEnum
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Annotated

import typer

from filemill.cli.application import command
from filemill.cli.session import Session
from filemill.model.errors import UsageError
from filemill.telemetry.wording import printable

FOLDERS = ("inbox", "out")
ABOUT = {
    "filemill.yaml": "sources, tags, pipelines, sinks   <- start here",
    "steps.py": "your own steps, plain functions",
    "tests/test_steps.py": "their tests: pip install pytest, python -m pytest",
    "conftest.py": "lets the tests find steps.py",
    "inbox/": "the watched folder",
    "out/": "the results",
}


class Template(StrEnum):
    """Which project to begin with."""

    CSV = "csv"
    LOGS = "logs"
    EMPTY = "empty"


@command("init", epilog="Example: filemill init shop && cd shop && filemill run")
def init(
    session: Session,
    folder: Annotated[
        str, typer.Argument(metavar="DIR", help="Where; made if missing.", show_default=False)
    ] = ".",
    template: Annotated[
        Template, typer.Option("--template", "-t", help="What to begin with.")
    ] = Template.CSV,
) -> None:
    """Make a project: configuration, a step with its test, an inbox. Overwrites nothing."""
    _tell(session, folder, make(folder, template))


def make(folder: str, template: Template) -> list[str]:
    """Write a project; answers with the names of its files.

    Raises:
        UsageError: one of them is there already, or it cannot be written.
    """
    root = os.path.abspath(folder)
    contents = _read(files("filemill.cli").joinpath("templates", template.value))
    taken = [name for name in contents if os.path.lexists(os.path.join(root, name))]
    if taken:
        raise UsageError(
            f"{printable(folder)} has {', '.join(taken)} already; nothing was written",
            help="filemill init OTHER_DIR, or move it away",
        )
    try:
        for name in FOLDERS:
            os.makedirs(os.path.join(root, name), exist_ok=True)
        for name, text in contents.items():
            path = os.path.join(root, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "x", encoding="utf-8") as file:
                file.write(text)
    except OSError as error:
        raise UsageError(f"cannot write {printable(folder)}: {error.strerror}") from error
    return list(contents)


def _read(root: Traversable) -> dict[str, str]:
    """Name -> text of every file of a template; `.txt` guards Python files from tools that read ours."""
    found: dict[str, str] = {}
    for entry in sorted(root.iterdir(), key=lambda e: e.name):
        if entry.is_dir():
            found |= {f"{entry.name}/{name}": text for name, text in _read(entry).items()}
        else:
            found[entry.name.removesuffix(".txt")] = entry.read_text(encoding="utf-8")
    return found


def _tell(session: Session, folder: str, made: list[str]) -> None:
    output = session.output
    sample = next((name for name in made if name.startswith("sample.")), "")
    if output.json:
        output.document("filemill.init/1", folder=os.path.abspath(folder), files=sorted(made))
        return
    if session.quiet:
        return
    output.print(f"Created {printable(folder)}/" if folder != "." else "Created here:")
    order = [*ABOUT, *([sample] if sample else [])]
    about = ABOUT | ({sample: "something to try it with"} if sample else {})
    wide = max(map(len, order))
    for name in order:
        output.print(f"  {output.paint('strong', name)}{' ' * (wide - len(name))}  {about[name]}")
    into = f"cd {printable(folder)} && " if folder != "." else ""
    if not sample:
        output.print(f"Next:  {into}filemill run     then, beside it: drop a file in inbox/")
        return
    output.print(f"Next:  {into}filemill try {sample}     what each step would make of it")
    output.print(f"       filemill run     then, beside it: cp {sample} inbox/")
