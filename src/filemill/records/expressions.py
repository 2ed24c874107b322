"""Expressions: row-wise SQL over a record's columns, evaluated on whole batches by Polars.

An expression is proved row-wise when it is compiled (`records.rowwise`), and its types are proved once for each
schema it meets, on a frame without rows. What is left to fail then is a value: a CAST that refuses it, a date that does not
parse, a result that is inf or NaN. Such a value makes its own record bad, never the batch.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import polars as pl
from polars.exceptions import PolarsError

from filemill.model.errors import PermanentError
from filemill.records import rowwise

if TYPE_CHECKING:
    from filemill.ports.step import StepContext
    from filemill.records.batch import Batch

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
    qualify references right row rows select set some struct table then to trim true union unique update using values when
    where window with""".split()
)
_NEVER_QUOTED = frozenset(
    "and or not is null in like between true false case when then else end".split()
)
_GUESSES: dict[str, pl.DataType] = {
    "number": pl.Float64(),
    "text": pl.String(),
    "truth": pl.Boolean(),
    "time": pl.Datetime("us"),
}


class ExpressionError(PermanentError):
    """An expression that does not compile or is not row-wise; `offset` is the character it stumbles over."""

    def __init__(self, message: str, *, help: str = "", offset: int | None = None) -> None:  # noqa: A002
        super().__init__(message, help=help)
        self.offset = offset


class Judged:
    """What an expression gave for each record.

    `values` has the batch's height. `bad` marks the records that have no value (None: all have one), and
    `messages` says why, one for each of those, in order.
    """

    __slots__ = ("bad", "messages", "values")

    def __init__(
        self, values: pl.Series, bad: pl.Series | None = None, messages: Sequence[str] = ()
    ) -> None:
        self.values = values
        self.bad = bad
        self.messages = messages


class Expression:
    """One compiled expression. `columns` are those it names, in reading order.

    Raises:
        ExpressionError: the text is no SQL expression, or its value would depend on other records or on the time.
    """

    def __init__(self, sql: str) -> None:
        self.sql = sql
        _refuse_clocks(sql)
        tree = json.loads(_parse(sql).meta.serialize(format="json"))
        why = rowwise.refusal(tree)
        if why:
            raise ExpressionError(
                f"`{sql}` {why}",
                help="an expression sees one record at a time; work over a whole file in a Python step",
            )
        self._tree = rowwise.with_float_literals(tree)
        self.columns = rowwise.columns(tree)
        self._expression = _compiled(self._tree).alias("_value")
        self._sides = [
            (
                _compiled(left).alias("_left"),
                _compiled(right).alias("_right"),
                rowwise.columns(left),
                rowwise.columns(right),
            )
            for left, right in rowwise.comparisons(self._tree)
        ]
        self._casts: list[tuple[pl.Expr, pl.Expr, str]] | None = None
        self._proved: dict[tuple[Any, ...], pl.DataType] = {}
        self._try_out()

    def evaluate(self, frame: pl.DataFrame) -> pl.Series:
        """The value for each row of a frame that has (at least) `columns`; strict.

        Raises:
            PermanentError: the types do not fit, naming the column.
            polars.exceptions.PolarsError: a value was refused; `judge` tells which.
        """
        frame = self._fitted(frame)
        self._prove(frame)
        return frame.with_columns(self._expression).get_column("_value")

    def judge(self, frame: pl.DataFrame) -> Judged:
        """As `evaluate`, but a record whose value is refused, infinite or NaN is bad, and null.

        Raises:
            PermanentError: the types do not fit, naming the column.
        """
        frame = self._fitted(frame)
        self._prove(frame)
        try:
            values = frame.with_columns(self._expression).get_column("_value")
        except PolarsError as error:
            return self._find_bad(frame, error)
        return self._finite(values)

    def judge_truth(self, frame: pl.DataFrame) -> Judged:
        """As `judge`, for a predicate: Boolean, null counts as false.

        Raises:
            PermanentError: the types do not fit, or it gives something else than a Boolean.
        """
        frame = self._fitted(frame)
        kind = self._prove(frame)
        if kind not in (pl.Boolean, pl.Null):
            raise PermanentError(
                f"`{self.sql}` is no condition: it gives {_spoken(kind)}, not true or false",
                help=f"compare it with something, such as `{self.sql} = ...`",
            )
        judged = self.judge(frame)
        values = judged.values
        if kind == pl.Null or values.null_count():
            judged.values = values.cast(pl.Boolean).fill_null(value=False)
        return judged

    def check_predicate(self) -> None:
        """Prove that it can be a condition, as far as that is known without records.

        Raises:
            ExpressionError: a lone name, a constant text, or a value that is not Boolean.
        """
        if "Column" in self._tree:
            name = self._tree["Column"]
            raise ExpressionError(
                f"`{self.sql}` alone names a column and is no condition",
                help=f"for text, quote the whole and its value: \"column = '{name}'\"; "
                f'for a Boolean column: "{name} = true"',
                offset=0,
            )
        if not self.columns and any(map(rowwise.is_text, rowwise.nodes(self._tree))):
            raise ExpressionError(
                f"`{self.sql}` names no column: what stands in single quotes is text",
                help='write a column bare, or in double quotes: "amount" > 5',
                offset=0,
            )
        kind = self._guessed_kind()
        if kind is not None and kind not in (pl.Boolean, pl.Null):
            raise ExpressionError(
                f"`{self.sql}` is no condition: it gives {_spoken(kind)}, not true or false",
                help="compare it with something, such as `amount > 5`",
            )

    def _guessed_kind(self) -> pl.DataType | None:
        guesses = rowwise.guessed_types(self._tree)
        schema = {name: _GUESSES[guess] for name, guess in guesses.items()}
        try:
            return (
                pl.DataFrame(schema=schema)
                .with_columns(self._expression)
                .get_column("_value")
                .dtype
            )
        except PolarsError:
            return None  # the guess was wrong; the first batch will tell

    def _try_out(self) -> None:
        """Run on a frame of no row and on one of one row, with guessed types: it must keep the height."""
        guesses = rowwise.guessed_types(self._tree)
        schema = {name: _GUESSES[guess] for name, guess in guesses.items()}
        for height in (0, 1):
            frame = (
                pl.DataFrame({n: [None] for n in schema}, schema=schema)
                if schema and height
                else pl.DataFrame(schema=schema, height=height)
            )
            try:
                given = frame.select(self._expression)
            except PolarsError:
                return  # the guess was wrong, or a constant is refused: records will tell
            if self.columns and given.height != height:
                raise ExpressionError(
                    f"`{self.sql}` gives {given.height} values for {height} records",
                    help="an expression gives one value for one record",
                )

    def _fitted(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The frame with columns that have no value at all in the type their use asks for."""
        empty = [name for name in self.columns if frame.schema.get(name) == pl.Null]
        if not empty:
            return frame
        guesses = rowwise.guessed_types(self._tree)
        return frame.with_columns(pl.col(name).cast(_GUESSES[guesses[name]]) for name in empty)

    def _prove(self, frame: pl.DataFrame) -> pl.DataType:
        key = tuple(frame.schema.items())
        kind = self._proved.get(key)
        if kind is None:
            kind = self._proved[key] = self._type_check(frame)
        return kind

    def _type_check(self, frame: pl.DataFrame) -> pl.DataType:
        empty = frame.clear()
        try:
            for left, right, left_names, right_names in self._sides:
                self._compare_types(
                    empty.select(left).to_series().dtype,
                    empty.select(right).to_series().dtype,
                    left_names,
                    right_names,
                )
            return empty.with_columns(self._expression).get_column("_value").dtype
        except PolarsError as error:
            text = [n for n in self.columns if empty.schema.get(n) == pl.String]
            raise PermanentError(
                f"`{self.sql}`: {_first_line(error)}",
                help=_declare(text[0]) if text else "",
            ) from error

    def _compare_types(
        self,
        left: pl.DataType,
        right: pl.DataType,
        left_names: Sequence[str],
        right_names: Sequence[str],
    ) -> None:
        if isinstance(right, pl.List) and not isinstance(left, pl.List):
            right = _inner(right)
        for text, number, names, others in (
            (left, right, left_names, right_names),
            (right, left, right_names, left_names),
        ):
            if text == pl.String and number.is_numeric():
                if names:
                    raise PermanentError(
                        f"`{self.sql}` compares column `{names[0]}`, which is text, with a number",
                        help=_declare(names[0]),
                    )
                column = others[0] if others else "the number"
                raise PermanentError(
                    f"`{self.sql}` compares column `{column}`, which is a number, with text",
                    help="write the number without quotes, or declare the column as text: "
                    f"`types: {{{column}: text}}` of the step that reads the file",
                )

    def _finite(self, values: pl.Series) -> Judged:
        if not values.dtype.is_float():
            return Judged(values)
        finite = values.is_finite()
        if finite.all():  # nulls do not count
            return Judged(values)
        bad = ~finite.fill_null(value=True)
        messages = [f"`{self.sql}` gives {value}" for value in values.filter(bad).to_list()]
        return Judged(_blank(values, bad), bad, messages)

    def _find_bad(self, frame: pl.DataFrame, error: PolarsError) -> Judged:
        """Which records the failure is of: first by the casts, all at once, then by halving."""
        why: dict[int, str] = {}
        for inner, cast, kind in self._lenient_casts():
            try:
                both = frame.select(inner.alias("_in"), cast.alias("_out"))
            except PolarsError:
                continue  # something else refuses: halving finds it
            if both.height != frame.height:
                continue  # a constant
            refused = both["_in"].is_not_null() & both["_out"].is_null()
            for row in refused.arg_true().to_list():
                why.setdefault(row, f"`{self.sql}`: {both['_in'][row]!r} is not {kind}")
        rows = [row for row in range(frame.height) if row not in why] if why else None
        self._halve(frame, rows, why, error)
        bad = pl.Series("_bad", [False] * frame.height, dtype=pl.Boolean)
        if why:
            bad = bad.scatter(sorted(why), values=True)
        good = frame.filter(~bad)
        found = self._finite(good.with_columns(self._expression).get_column("_value"))
        for at, message in zip(
            [] if found.bad is None else found.bad.arg_true().to_list(), found.messages, strict=True
        ):
            why[(~bad).arg_true()[at]] = message
        values = pl.Series("_value", [None] * frame.height, dtype=found.values.dtype)
        if good.height:
            values = values.scatter((~bad).arg_true(), found.values)
        bad = pl.Series("_bad", [row in why for row in range(frame.height)], dtype=pl.Boolean)
        return Judged(values, bad, [why[row] for row in sorted(why)])

    def _halve(
        self, frame: pl.DataFrame, rows: list[int] | None, why: dict[int, str], error: PolarsError
    ) -> None:
        waiting = [list(range(frame.height)) if rows is None else rows]
        while waiting:
            part = waiting.pop()
            if not part:
                continue
            try:
                frame[part].with_columns(self._expression)
            except PolarsError as refused:
                error = refused
            else:
                continue
            if len(part) == 1:
                why[part[0]] = f"`{self.sql}`: {_first_line(error)}"
                continue
            middle = len(part) // 2
            waiting += [part[:middle], part[middle:]]

    def _lenient_casts(self) -> list[tuple[pl.Expr, pl.Expr, str]]:
        if self._casts is None:
            self._casts = []
            for cast in rowwise.casts(self._tree):
                loose = rowwise.lenient(cast)
                kind = loose["Cast"]["dtype"].get("Literal")
                self._casts.append(
                    (
                        _compiled(loose["Cast"]["expr"]),
                        _compiled(loose),
                        _spoken_name(kind if isinstance(kind, str) else next(iter(kind or ["?"]))),
                    )
                )
        return self._casts


class Troubles:
    """Records of one batch for which some expression of a step had no value; reported together, once."""

    def __init__(self, batch: Batch) -> None:
        self._height = len(batch)
        self._why: dict[int, str] = {}

    def note(self, judged: Judged) -> None:
        """Remember what one expression found; a record's first message stays."""
        if judged.bad is not None:
            for row, message in zip(judged.bad.arg_true(), judged.messages, strict=True):
                self._why.setdefault(row, message)

    def report(self, context: StepContext, batch: Batch) -> Batch:
        """Report them as bad records of the step; answers with the other records."""
        if not self._why:
            return batch
        rows = sorted(self._why)
        mask = pl.Series("_bad", [False] * self._height, dtype=pl.Boolean).scatter(
            rows, values=True
        )
        return context.bad(batch, mask, "Value", [self._why[row] for row in rows])


def view(batch: Batch, names: Sequence[str]) -> pl.DataFrame:
    """The typed view of these columns with the batch's height, even where no column is named."""
    return batch.typed(names) if names else pl.DataFrame(height=len(batch))


def _compiled(tree: rowwise.Tree) -> pl.Expr:
    return pl.Expr.deserialize(io.StringIO(json.dumps(tree)), format="json")


def _parse(sql: str) -> pl.Expr:
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
    message = _first_line(error)
    said = message if len(message) < 200 else message[:200] + "..."
    return ExpressionError(
        f"`{sql}` is no SQL expression: {said}",
        help='text stands in single quotes, names with odd characters in double quotes: "unit price" > 5',
    )


def _refuse_clocks(sql: str) -> None:
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


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0].strip() or type(error).__name__


def _declare(column: str) -> str:
    return (
        f"declare its type where the file is read: `read_csv: {{types: {{{column}: float}}}}` "
        f"(or `types: {{{column}: float}}` of the step that reads it)"
    )


def _inner(kind: pl.DataType) -> pl.DataType:
    inner = getattr(kind, "inner", None)
    if inner is None:
        return kind
    found: pl.DataType = inner() if isinstance(inner, type) else inner
    return found


def _blank(values: pl.Series, bad: pl.Series) -> pl.Series:
    return values.set(bad, None)


def _spoken(kind: pl.DataType) -> str:
    return _spoken_name(type(kind).__name__)


def _spoken_name(kind: str) -> str:
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
