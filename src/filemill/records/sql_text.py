"""The text of an expression: from SQL to a Polars expression, and errors that say what to write instead."""

from __future__ import annotations

import re
from collections.abc import Iterable

import polars as pl
from polars.exceptions import PolarsError

from filemill.model.errors import PermanentError

_TOKEN = re.compile(
    r"""(?P<text>'(?:[^']|'')*')|(?P<name>"(?:[^"]|"")*")|(?P<comment>--[^\n]*|/\*.*?\*/)"""
    r"""|(?P<word>[A-Za-z_][A-Za-z0-9_$]*)|(?P<space>\s+)|(?P<other>.)""",
    re.DOTALL,
)
_CLOCK_CALLS = frozenset({"now"})
_CLOCK_WORDS = frozenset(
    "current_timestamp current_date current_time localtime localtimestamp".split()
)
_SQL_WORDS = frozenset(
    """all and any as asc between by case cast check column create cross current delete desc distinct drop else end
    except exists extract false fetch for foreign from full group having if in index inner insert intersect
    interval into is join key left like limit natural not null offset on or order outer over partition position primary
    qualify references right row rows select set some struct table then to trim true union unique update using values
    when where window with""".split()
)
_NEVER_QUOTED = frozenset("and or not is null true false".split())


class ExpressionError(PermanentError):
    """An expression that does not compile or is not row-wise; `offset` is the character it stumbles over."""

    def __init__(self, message: str, *, help: str = "", offset: int | None = None) -> None:  # noqa: A002
        super().__init__(message, help=help)
        self.offset = offset


def parse(sql: str) -> pl.Expr:
    """The Polars expression of a text.

    Raises:
        ExpressionError: it is none, with the SQL word that should have been quoted if that is what mends it.
    """
    if not sql.strip():
        raise ExpressionError("an expression is missing here", offset=0)
    try:
        return pl.sql_expr(sql)
    except (PolarsError, ValueError) as error:
        raise _explained(sql, error) from error


def _explained(sql: str, error: Exception) -> ExpressionError:
    """A parse failure, with the SQL word that should have been quoted if that is what mends it."""
    for match in _words(sql):
        word = match.group().lower()
        if word not in _SQL_WORDS or word in _NEVER_QUOTED:
            continue
        quoted = f'{sql[: match.start()]}"{match.group()}"{sql[match.end() :]}'
        try:
            pl.sql_expr(quoted)
        except (PolarsError, ValueError):
            continue
        return ExpressionError(
            f"`{match.group()}` is an SQL word",
            help=f"as the name of a column it stands in double quotes: {quoted}",
            offset=match.start(),
        )
    message = first_line(error)
    said = message if len(message) < 200 else message[:200] + "..."
    return ExpressionError(
        f"`{sql}` is no SQL expression: {said}",
        help='text stands in single quotes, names with odd characters in double quotes: "unit price" > 5',
    )


def refuse_clocks(sql: str) -> None:
    """Refuse the time of day: Polars puts the value of this moment in its place.

    Raises:
        ExpressionError: with the offset of the word.
    """
    matches = [m for m in _TOKEN.finditer(sql) if m.lastgroup not in ("space", "comment")]
    for at, match in enumerate(matches):
        if match.lastgroup != "word":
            continue
        word = match.group().lower()
        called = at + 1 < len(matches) and matches[at + 1].group() == "("
        if word in _CLOCK_WORDS or (word in _CLOCK_CALLS and called):
            raise ExpressionError(
                f"`{match.group()}` would give another value at every try",
                help="a file's arrival does not change: give it to a Python step, or name outputs with `{date}`",
                offset=match.start(),
            )


def _words(sql: str) -> Iterable[re.Match[str]]:
    return (match for match in _TOKEN.finditer(sql) if match.lastgroup == "word")


def first_line(error: Exception) -> str:
    """The first line of what an error says; its class where it says nothing."""
    return str(error).strip().split("\n", 1)[0].strip() or type(error).__name__


def spoken(kind: pl.DataType) -> str:
    """A type in words."""
    return spoken_name(type(kind).__name__)


def spoken_name(kind: str) -> str:
    """A type in words, by Polars' name of it."""
    if kind.startswith(("Int", "UInt")):
        return "an integer" if kind in ("Int64", "Int") else f"an integer ({kind.lower()})"
    return {
        "Float64": "a number",
        "Float32": "a number",
        "Decimal": "a decimal number",
        "String": "text",
        "Boolean": "true or false",
        "Date": "a date",
        "Datetime": "a timestamp",
    }.get(kind, f"a {kind.lower()}")
