"""What a person meant when YAML does not parse: each usual mistake named, with the words to write instead.

The parser's own messages speak of blocks, tokens and aliases; who wrote `name: *.csv` did not mean an alias. Every
branch below answers one mistake that people really make; what is none of them keeps the parser's own words.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import yaml

from filemill.config.positions import Place

Explanation = tuple[str, str, Place, str]
"""Code, message, place, help."""

_LEAD = re.compile(r"\s*(?:- +)*(?:(?:[\w.*:%()-]|\"[^\"]*\"|'[^']*')+\s*:\s+)?")
_COMMENT = re.compile(r"\s+#.*\Z")
_WORD = re.compile(r"[^\s,\]}]+")
_CHARACTER = re.compile(r"found character ('.+'|\".+\") that cannot start any token")
_TAG = re.compile(r"(?<=[\s\[{,:])!\w[^\s,\]}]*(?=[,\]}])")
"""`!bad` in a list or map: the parser takes the comma or bracket behind it for a part of the tag."""
_BEFORE = re.compile(r"""[}\]'"]\s*\Z""")


def quoted(text: str) -> str:
    """The text in quotes that keep it as it is."""
    if '"' in text or "\\" in text:
        return "'" + text.replace("'", "''") + "'"
    return f'"{text}"'


def value_on(line: str) -> tuple[str, int]:
    """(what stands behind the key or dash of a line, without a comment; the offset where it begins)."""
    lead = _LEAD.match(line)
    start = lead.end() if lead else 0
    return _COMMENT.sub("", line[start:]).rstrip(), start


def explain(error: yaml.MarkedYAMLError, file: str, lines: list[str]) -> Explanation:
    """A parser's error in words that help."""
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line, mark.column) if mark else (0, 0)
    if line >= len(lines) or (line == len(lines) - 1 and not lines[line] and line):
        line = max(len(lines) - 1, 0)
        while line and not lines[line].strip():
            line -= 1
        column = len(lines[line]) if lines else 0
    return _Case(error, file, lines, line, column).explain()


class _Case:
    def __init__(
        self, error: yaml.MarkedYAMLError, file: str, lines: list[str], line: int, column: int
    ) -> None:
        self.problem = error.problem or error.context or "this cannot be read"
        self.context = error.context or ""
        self.context_mark = error.context_mark
        self.file = file
        self.lines = lines
        self.line = line
        self.column = column
        self.text = lines[line] if line < len(lines) else ""

    def place(self, start: int | None = None, length: int = 1) -> Place:
        begin = self.column if start is None else start
        return Place(self.file, self.line + 1, begin + 1, max(length, 1))

    def explain(self) -> Explanation:
        for holds, told in _CASES:
            if holds(self):
                return told(self)
        advice = "check the line above too; quoting the value may help"
        return ("yaml", self.problem, self.place(), advice)

    def alias(self) -> Explanation:
        return self.unquoted("is read as a YAML alias, not as text")

    def tag(self) -> tuple[int, re.Match[str]] | None:
        """The line and the word of a tag that swallowed what stands behind it."""
        if self.context_mark is None or not (
            "scanning a tag" in self.context or self.problem.startswith("expected ',' or")
        ):
            return None
        for number, line in enumerate(self.lines[self.context_mark.line : self.line + 1]):
            found = _TAG.search(line)
            if found and not any(line[: found.start()].count(quote) % 2 for quote in "'\""):
                return self.context_mark.line + number, found
        return None

    def swallowed(self) -> Explanation:
        found = self.tag()
        assert found is not None  # noqa: S101 -- asked before
        line, word = found
        place = Place(self.file, line + 1, word.start() + 1, len(word[0]))
        message = f"`{word[0]}` is read as a YAML tag, not as text"
        return ("unquoted", message, place, f"quote it: {quoted(word[0])}")

    def block_scalar(self) -> Explanation:
        return self.unquoted(f"is not text: `{self.starting()}` begins a block of lines")

    def open_quote(self) -> Explanation:
        return self.opened("this quote is never closed", "close it on the same line")

    def escape(self) -> Explanation:
        advice = "use single quotes, or write the backslash twice"
        return ("yaml", self.problem.replace("found ", "", 1), self.place(), advice)

    def second_document(self) -> Explanation:
        advice = "a file holds one document: remove the `---`"
        return ("yaml", "a second document begins here", self.place(0, 3), advice)

    def list_behind_key(self) -> Explanation:
        message = "a list cannot begin on the line of its key"
        return ("yaml", message, self.place(), "begin it on the next line, or write [a, b]")

    def starting(self) -> str:
        value, _ = value_on(self.text)
        return value[:1]

    def unquoted(self, why: str) -> Explanation:
        """The value from its first character to its end; inside [] or {} one word of it."""
        value, start = value_on(self.text)
        if value[:1] in ("[", "{") or not start <= self.column <= start + len(value):
            back = self.text.rfind(" ", 0, self.column + 1) + 1
            begin = max(back, *(self.text.rfind(c, 0, self.column + 1) + 1 for c in "[{,"))
            word = _WORD.match(self.text, begin)
            value, start = (word[0], begin) if word else (self.text[self.column :], self.column)
        place = self.place(start, len(value))
        return ("unquoted", f"`{value}` {why}", place, f"quote it: {quoted(value)}")

    def character(self) -> Explanation:
        found = _CHARACTER.match(self.problem)
        character = found[1][1:-1] if found else self.starting()
        if character == "\\t":
            message = "a tab cannot indent"
            return (
                "yaml",
                message,
                self.place(),
                "use spaces, the same number for each key of a map",
            )
        return self.unquoted(f"cannot begin with `{character}`")

    def colon(self) -> Explanation:
        before = self.text[: self.column].strip()
        above = self.lines[self.line - 1] if self.line else ""
        if re.fullmatch(r"[\w.-]+", before) and above.strip():
            step = re.fullmatch(r"\s*- +([\w.]+)", _COMMENT.sub("", above))
            if step:
                help_ = f"write `- {step[1]}:` above, and `{before}:` in the column of `{step[1]}`"
                if before not in ("id", "if", "retry", "timeout", "concurrency", "io", "mode"):
                    help_ = f"a step of its own? put `- ` before `{before}`. An option? {help_}"
            else:
                help_ = (
                    "the line above has a value already: start this key in its neighbours' column"
                )
            place = self.place(self.column - len(before), len(before) + 1)
            return ("yaml", "mapping values are not allowed here", place, help_)
        condition = re.search(r"([\w.]+): ('[^']*'|\"[^\"]*\")\s*\Z", _COMMENT.sub("", self.text))
        help_ = "quote the value or remove the colon"
        if condition and condition.start(1) <= self.column <= condition.end():
            meant = f"{condition[1]} = " + "'" + condition[2][1:-1] + "'"
            help_ = f"for a condition write {quoted(meant)}"
        return ("yaml", "mapping values are not allowed here", self.place(), help_)

    def opened(self, message: str, advice: str) -> Explanation:
        """At the place where something began that does not end."""
        assert self.context_mark is not None  # noqa: S101 -- asked before
        place = Place(self.file, self.context_mark.line + 1, self.context_mark.column + 1)
        return ("yaml", message, place, advice)

    def flow(self) -> Explanation:
        bracket = "]" if "']'" in self.problem else "}"
        if "<stream end>" in self.problem or self.begins_line():
            return self.never_closed(bracket)
        value, start = self.flow_value()
        if self.problem.endswith("got ':'"):
            message = "a second colon in one value"
            condition = re.fullmatch(r"([\w.]+): ('[^']*'|\"[^\"]*\")", value)
            if condition:
                meant = f"{condition[1]} = " + "'" + condition[2][1:-1] + "'"
                help_ = f"for a condition write {quoted(meant)}"
            else:
                help_ = f"quote it: {quoted(value)}"
            return ("unquoted", message, self.place(), help_)
        place = self.place(start, len(value))
        return ("unquoted", f"`{value}` is not one value", place, f"quote it: {quoted(value)}")

    def begins_line(self) -> bool:
        """What the parser stumbles over begins its line: something above is still open."""
        before = self.text[: self.column].strip()
        above = self.context_mark is not None and self.context_mark.line < self.line
        return not before or (above and re.fullmatch(r"[\w.-]+", before) is not None)

    def never_closed(self, bracket: str) -> Explanation:
        mark = self.context_mark
        opening = "[" if bracket == "]" else "{"
        if mark is None or mark.line >= len(self.lines):
            return ("yaml", f"a `{bracket}` is missing", self.place(), "")
        line = self.lines[mark.line]
        comment = re.search(r"\s#", line[mark.column :])
        if comment and bracket in line[mark.column + comment.start() :]:
            at = mark.column + comment.start() + 1
            place = Place(self.file, mark.line + 1, at + 1, len(line) - at)
            help_ = "quote the value that has the `#`"
            return ("unquoted", "text after ` #` is a comment", place, help_)
        return self.opened(f"this `{opening}` is never closed", f"close it with `{bracket}`")

    def flow_value(self) -> tuple[str, int]:
        """The value around the stumbling block: from behind the colon or comma before it to what ends it."""
        depth, start = 0, 0
        for at in range(self.column - 1, -1, -1):
            character = self.text[at]
            if character in "}]":
                depth += 1
            elif character in "{[" and depth:
                depth -= 1
            elif (character in "{[," or self.text[at : at + 2] == ": ") and not depth:
                start = at + 1
                break
        depth, end = 0, len(self.text)
        for at in range(start, len(self.text)):
            character = self.text[at]
            if character in "{[":
                depth += 1
            elif character in "}]" and depth:
                depth -= 1
            elif character in ",]}" and not depth:
                end = at
                break
        value = self.text[start:end]
        return value.strip(), start + len(value) - len(value.lstrip())

    def block(self) -> Explanation:
        if "<scalar>" in self.problem or self.problem.endswith(("'{'", "'['")):
            value, start = value_on(self.text)
            if start < self.column <= start + len(value) and _BEFORE.search(
                self.text[: self.column]
            ):
                what = {"{": "a map", "[": "a list"}.get(value[:1], "a quoted text")
                message = f"`{value}` is read as {what} with text behind it"
                place = self.place(start, len(value))
                return ("unquoted", message, place, f"quote it: {quoted(value)}")
        message = "this does not fit the indentation above"
        return (
            "yaml",
            message,
            self.place(),
            "the keys of one map, and the `-` of one list, share a column",
        )

    def no_colon(self) -> Explanation:
        mark = self.context_mark
        if mark is not None and mark.line < len(self.lines):
            line = self.lines[mark.line]
            place = Place(
                self.file, mark.line + 1, mark.column + 1, len(line[mark.column :].rstrip())
            )
            return ("yaml", "a `:` is missing behind this key", place, "write `key: value`")
        return ("yaml", "a `:` is missing", self.place(), "write `key: value`")


_CASES: tuple[tuple[Callable[[_Case], bool], Callable[[_Case], Explanation]], ...] = (
    (lambda case: case.tag() is not None, _Case.swallowed),
    (lambda case: "alias" in case.problem or "alias" in case.context, _Case.alias),
    (lambda case: case.problem.startswith("mapping values are not allowed"), _Case.colon),
    (lambda case: _CHARACTER.match(case.problem) is not None, _Case.character),
    (lambda case: "block scalar" in case.context, _Case.block_scalar),
    (
        lambda case: case.problem == "found unexpected end of stream" and bool(case.context_mark),
        _Case.open_quote,
    ),
    (lambda case: "unknown escape" in case.problem, _Case.escape),
    (lambda case: "another document" in case.problem, _Case.second_document),
    (lambda case: case.problem.startswith("sequence entries are not"), _Case.list_behind_key),
    (lambda case: case.problem.startswith("expected ',' or"), _Case.flow),
    (lambda case: case.problem.startswith("expected <block end>"), _Case.block),
    (lambda case: "could not find expected ':'" in case.problem, _Case.no_colon),
)
"""What a parser says -> who explains it; the first that holds."""
