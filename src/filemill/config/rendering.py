"""Problems for people (`text`), for programs (`json`) and for pull requests (`github`)."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

import msgspec

from filemill.config.problems import ERROR, Problem, summary

FORMS = ("text", "json", "github")
SCHEMA = "filemill.check/1"
_WIDEST = 160
"""Columns of a source line that are shown; a longer one is cut around its caret."""


def render(
    problems: Iterable[Problem], form: str = "text", *, ending: str = "Nothing was started."
) -> str:
    """All problems in one of `FORMS`. `ending` follows the count in `text` when there are errors.

    Raises:
        ValueError: there is no such form.
    """
    found = list(problems)
    match form:
        case "text":
            return _text(found, ending)
        case "json":
            return _json(found)
        case "github":
            return "\n".join(_github(problem) for problem in found)
    raise ValueError(f"no form `{form}`: there are {', '.join(FORMS)}")


def render_problem(problem: Problem) -> str:
    """One problem as text: what, where, the line with a caret under it, help."""
    lines = [f"{problem.severity}[{problem.code}]: {_printable(problem.message)}"]
    if problem.file:
        where = f":{problem.line}:{problem.column}" if problem.line else ""
        lines.append(f"  --> {_printable(problem.file)}{where}")
    if problem.line and problem.source:
        lines += _excerpt(problem)
    if problem.help:
        lines.append(f"help: {_printable(problem.help)}")
    return "\n".join(lines)


def _text(problems: list[Problem], ending: str) -> str:
    last = summary(problems)
    if ending and any(problem.severity == ERROR for problem in problems):
        last += f" {ending}"
    return "\n".join([*map(render_problem, problems), last])


def _excerpt(problem: Problem) -> list[str]:
    start = problem.column - 1
    source, cut = problem.source, 0
    if len(source) > _WIDEST:
        cut = max(0, start - _WIDEST // 2)
        source = source[cut : cut + _WIDEST]
    shown = [_visible(character) for character in source]
    before = sum(map(_width, shown[: start - cut]))
    marked = sum(map(_width, shown[start - cut : start - cut + problem.length]))
    number = str(problem.line)
    return [
        f"{number} | {''.join(shown)}".rstrip(),
        f"{' ' * len(number)} | {' ' * before}{'^' * max(marked, 1)}",
    ]


def _visible(character: str) -> str:
    return character if character.isprintable() else " " if character == "\t" else "\ufffd"


def _width(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _printable(text: str) -> str:
    """A message on one line, without what could steer a terminal."""
    return "".join(
        c if c.isprintable() else " " if c in "\n\t" else c.encode("unicode_escape").decode()
        for c in text
    )


def _json(problems: list[Problem]) -> str:
    items = [
        {
            "severity": problem.severity,
            "code": problem.code,
            "message": problem.message,
            "file": problem.file,
            "line": problem.line,
            "column": problem.column,
            "length": problem.length,
            "help": problem.help,
        }
        for problem in problems
    ]
    return msgspec.json.encode({"schema": SCHEMA, "items": items}).decode()


def _github(problem: Problem) -> str:
    """A workflow command; what could end it is percent-encoded, as its rules ask."""
    properties = {"title": problem.code}
    if problem.line:
        properties |= {
            "file": problem.file,
            "line": str(problem.line),
            "col": str(problem.column),
            "endColumn": str(problem.column + problem.length),
        }
    listed = ",".join(f"{key}={_escaped(value, ':,')}" for key, value in properties.items())
    text = f"{problem.message}\n{problem.help}" if problem.help else problem.message
    return f"::{problem.severity} {listed}::{_escaped(text)}"


def _escaped(text: str, more: str = "") -> str:
    text = text.replace("%", "%25")
    for character in "\r\n" + more:
        text = text.replace(character, f"%{ord(character):02X}")
    return text
