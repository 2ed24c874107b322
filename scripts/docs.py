# ruff: noqa: INP001 -- a script, not a package
"""Write the generated parts of docs/ anew; `--check` says which of them are stale instead.

A page is generated whole, or between `<!-- begin: NAME -->` and `<!-- end: NAME -->`. tests/docs runs `stale`.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from unittest import mock

from filemill.cli.application import run
from filemill.cli.main import COMMANDS, help_text
from filemill.config.reference import reference
from filemill.model.access import ROLES, Right
from filemill.model.states import FILE_MOVES, RUN_MOVES
from filemill.telemetry.metrics import FAMILIES

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
_ABOUT_CLI = """\
What `--help` prints of each command. Data goes to stdout, talk to stderr; every command that reads takes `--json`.
`NO_COLOR`, `TERM=dumb` and a pipe mean no colour; a bar for long work is on stderr, on a terminal, after one second,
anywhere else it is a line every ten seconds.

| Exit code | Means | For example |
| --: | --- | --- |
| 0 | well | also an empty listing, and a pipe whose reader had enough (`| head`) |
| 1 | it ran, and something failed | a file of `run --once` is dead, `doctor` found a problem, stdout is full |
| 2 | it cannot be acted on | an unknown command or option, a configuration with errors, no such id |
| 75 | busy, trying again may help | another process holds the data directory |
| 130 | ended by Ctrl-C | `tail` always; `run` when it was stopped at once, not when it drained (0) |

`eval "$(filemill completion bash)"` (or zsh, fish, powershell) completes commands, options, ids of files, groups of
dead letters, tags, pipelines and states; `filemill completion --help` says how to have it in every shell.
"""


def mermaid(moves: Mapping[StrEnum, frozenset[StrEnum]]) -> str:
    """A transition table as a Mermaid state diagram; states in the table's order."""
    order = list(moves)
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {order[0]}"]
    for before in order:
        after = sorted(moves[before], key=order.index)
        lines += [f"    {before} --> {each}" for each in after]
        if not after:
            lines.append(f"    {before} --> [*]")
    return "\n".join([*lines, "```"])


def configuration() -> str:
    """docs/configuration.md, from what is installed."""
    return reference()


def command_line() -> str:
    """docs/cli.md: the help of every command, as it is printed."""
    parts = [
        "# Command line\n",
        _ABOUT_CLI,
        f"```\n{help_text().rstrip()}\n```\n",
    ]
    for name in COMMANDS:
        parts += _help_of([name])
    return "\n".join(parts)


def _help_of(words: list[str]) -> list[str]:
    text = _run([*words, "--help"])
    made = [
        f"{'#' * (len(words) + 1)} filemill {' '.join(words)}\n",
        f"```\n{text.rstrip()}\n```\n",
    ]
    below = re.search(r"^Commands:\n((?:  .*\n?)+)", text, re.MULTILINE)
    for line in below.group(1).splitlines() if below else []:
        if word := re.match(r"  (\w+)", line):
            made += _help_of([*words, word.group(1)])
    return made


def _run(words: list[str]) -> str:
    """What is printed of it, without colour; in this process, as there are a hundred of them."""
    out = io.StringIO()
    environment = {"COLUMNS": "100", "NO_COLOR": "1"}
    with mock.patch.dict(os.environ, environment, clear=True), contextlib.redirect_stdout(out):
        code = run(words, words[:1])
    if code:
        raise RuntimeError(f"filemill {' '.join(words)} ended with {code}")
    return out.getvalue()


def pages() -> dict[Path, str]:
    """What every generated page should say."""
    states = DOCS / "state-machine.md"
    text = states.read_text(encoding="utf-8")
    for name, moves in (("runs", RUN_MOVES), ("files", FILE_MOVES)):
        text = between(text, name, mermaid(moves))  # type: ignore[arg-type]
    security, metered = DOCS / "security.md", DOCS / "metrics.md"
    return {
        states: text,
        security: between(security.read_text(encoding="utf-8"), "roles", roles()),
        metered: between(metered.read_text(encoding="utf-8"), "metrics", metrics()),
        DOCS / "configuration.md": configuration(),
        DOCS / "cli.md": command_line(),
    }


def roles() -> str:
    """Which role allows what, as a table."""
    lines = ["| Role | " + " | ".join(f"`{right}`" for right in Right) + " |"]
    lines.append("|---|" + ":-:|" * len(Right))
    for role, allowed in ROLES.items():
        marks = ("yes" if right in allowed else "" for right in Right)
        lines.append(f"| `{role}` | " + " | ".join(marks) + " |")
    return "\n".join(lines)


def metrics() -> str:
    """Every metric, as a table."""
    lines = ["| Metric | Kind | Labels | Since | Says |", "| --- | --- | --- | --- | --- |"]
    for family in FAMILIES.values():
        labels = ", ".join(f"`{label}`" for label in family.labels)
        row = (f"`{family.name}`", family.kind, labels, family.since, family.help)
        lines.append(f"| {' | '.join(row)} |")
    return "\n".join(lines)


def between(text: str, name: str, made: str) -> str:
    """The text with what stands between the markers of `name` replaced."""
    begin, end = f"<!-- begin: {name} -->", f"<!-- end: {name} -->"
    head, rest = text.split(begin)
    _old, tail = rest.split(end)
    return f"{head}{begin}\n{made}\n{end}{tail}"


def stale() -> list[str]:
    """Names of pages that do not say what they should."""
    return [
        str(path.relative_to(ROOT))
        for path, text in pages().items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]


def main() -> int:
    """Write, or check."""
    if "--check" in sys.argv:
        for name in (found := stale()):
            sys.stdout.write(f"stale: {name}   (make docs)\n")
        return bool(found)
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
