"""What is wrong with a configuration: every problem at its place, all of them at once."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping, Sequence

import msgspec

from filemill.config.positions import Place
from filemill.model.errors import UsageError

ERROR = "error"
WARNING = "warning"


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong, where it is, and what to do about it."""

    code: str
    """A stable word, such as `unknown-step`; each has its line in the documentation."""
    message: str
    file: str = ""
    line: int = 0
    """From 1; 0 when it is not at a line of a file."""
    column: int = 0
    length: int = 1
    help: str = ""
    severity: str = ERROR
    source: str = ""
    """The line of the file it points into."""


class Problems:
    """Collects problems while a configuration is read; said twice at one place counts once."""

    def __init__(self) -> None:
        self.lines: dict[str, list[str]] = {}
        """The lines of each file read, by the file's shown name."""
        self.hidden: list[str] = []
        """Texts that no message may show: the values of secrets."""
        self._found: dict[tuple[str, int, int, str, str], Problem] = {}
        self._shadows: list[Place] = []

    def error(self, code: str, message: str, place: Place | None = None, advice: str = "") -> None:
        """Note something that must be mended before anything starts."""
        self._add(ERROR, code, message, place, advice)

    def warn(self, code: str, message: str, place: Place | None = None, advice: str = "") -> None:
        """Note something that is allowed but probably not meant."""
        self._add(WARNING, code, message, place, advice)

    def shadow(self, place: Place) -> None:
        """Say no more of this place: what is wrong there is said, and the rest would only follow from it."""
        self._shadows.append(place)

    @property
    def failed(self) -> bool:
        """True when there is at least one error."""
        return any(problem.severity == ERROR for problem in self._found.values())

    def all(self) -> list[Problem]:
        """Everything found, file by file in the order they were read, from top to bottom."""
        order = {file: number for number, file in enumerate(self.lines)}
        return sorted(
            self._found.values(),
            key=lambda p: (order.get(p.file, len(order)), p.line, p.column, p.severity, p.code),
        )

    def _add(
        self, severity: str, code: str, message: str, place: Place | None, advice: str
    ) -> None:
        place = place or Place("")
        lines = self.lines.get(place.file, [])
        key = (place.file, place.line, place.column, code, message)
        if key in self._found or (place.line and any(place_in(place, s) for s in self._shadows)):
            return
        self._found[key] = Problem(
            code=code,
            message=self._masked(message),
            file=place.file,
            line=place.line,
            column=place.column,
            length=max(place.length, 1),
            help=self._masked(advice),
            severity=severity,
            source=lines[place.line - 1] if 0 < place.line <= len(lines) else "",
        )

    def _masked(self, text: str) -> str:
        for secret in self.hidden:
            text = text.replace(secret, "***")
        return text


def place_in(place: Place, other: Place) -> bool:
    """Say whether a place begins within another one on the same line."""
    return (
        place.file == other.file
        and place.line == other.line
        and other.column <= place.column < other.column + other.length
    )


class ConfigProblems(UsageError):
    """The configuration has errors; nothing was started. `problems` has every one, warnings included."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__(summary(self.problems), help="filemill check shows them")

    def render(self, form: str = "text", ending: str = "Nothing was started.") -> str:
        """All problems as `text`, `json` or `github`; see `rendering.render`."""
        from filemill.config.rendering import render  # noqa: PLC0415 -- needed only when it fails

        return render(self.problems, form, ending=ending)


def summary(problems: Iterable[Problem]) -> str:
    """`Found 2 errors and 1 warning.`; `No problems found.` when there are none."""
    severities = [problem.severity for problem in problems]
    parts = [
        f"{number} {word}{'s' * (number != 1)}"
        for word in (ERROR, WARNING)
        if (number := severities.count(word))
    ]
    return f"Found {' and '.join(parts)}." if parts else "No problems found."


def closest(word: str, known: Iterable[str]) -> str | None:
    """The known word that `word` was most likely meant to be, or None."""
    pool: Mapping[str, str] = {each.casefold(): each for each in sorted(known, reverse=True)}
    found = difflib.get_close_matches(word.casefold(), list(pool), 1, 0.6)
    return pool[found[0]] if found else None


def did_you_mean(word: str, known: Collection[str], otherwise: str = "") -> str:
    """A help text: the likely word, and `otherwise` behind it or alone."""
    close = closest(word, known)
    if close is None:
        return otherwise
    return f"did you mean `{close}`?" + (f"  {otherwise}" if otherwise else "")


def listed(words: Iterable[str]) -> str:
    """`a, b and c`."""
    *most, last = list(words) or [""]
    return f"{', '.join(most)} and {last}" if most else last
