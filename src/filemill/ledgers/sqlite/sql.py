"""Named SQL: `.sql` files of `-- name:` blocks, each with one sentence of comment and one statement.

Statements here work on whole groups, and each answers in at most one row. The reason is measured: SQLite's
every step gives up Python's global lock, and beside a busy event loop getting it back takes up to a switch
interval (5 ms). 128 rows by `executemany` then cost 128 such waits; as one statement, one.

So there are three forms:

- rows to write: the text between `VALUES` and its closing parenthesis is one row; `Query.rows(n)` repeats it n times;
- ids to look up: one array bound through `carray`;
- rows to read: one JSON array (`json_group_array`), decoded by msgspec. BLOBs travel as `hex()` in it.
"""

from __future__ import annotations

import functools
import re
from importlib import resources

_NAME = re.compile(r"^-- name: (\w+)\n((?:-- .*\n)+)", re.MULTILINE)
_VALUES = re.compile(r"VALUES\s*(\((?:[^()]|\([^()]*\))*\))")
_MOVES = re.compile(r"\bmoves (file|run): ([a-z, ]+) -> ([a-z, ]+)")


class Query:
    """One statement: its name, its sentence, its text, and the moves of the transition table it makes."""

    def __init__(self, name: str, comment: str, text: str) -> None:
        self.name = name
        self.comment = comment
        self.text = text
        self.rows = functools.lru_cache(maxsize=16)(self._rows)
        self.moves = tuple(
            (kind, before, after)
            for kind, befores, afters in _MOVES.findall(comment)
            for before in befores.split(", ")
            for after in afters.split(", ")
        )

    def _rows(self, count: int) -> str:
        """The text with its `VALUES` row `count` times."""
        match = _VALUES.search(self.text)
        if match is None:
            raise ValueError(f"query {self.name} has no VALUES row")
        rows = ", ".join([match.group(1)] * count)
        return f"{self.text[: match.start(1)]}{rows}{self.text[match.end(1) :]}"


def load(name: str) -> dict[str, Query]:
    """All queries of one `.sql` file beside this module, by name."""
    text = resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
    starts = list(_NAME.finditer(text))
    ends = [match.start() for match in starts[1:]] + [len(text)]
    queries: dict[str, Query] = {}
    for match, end in zip(starts, ends, strict=True):
        comment = " ".join(line.removeprefix("--").strip() for line in match[2].splitlines())
        body = text[match.end() : end].strip().removesuffix(";")
        if match[1] in queries:
            raise ValueError(f"{name} has two queries named {match[1]}")
        queries[match[1]] = Query(match[1], comment, body)
    return queries
