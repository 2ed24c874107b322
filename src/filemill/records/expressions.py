"""Expressions: row-wise SQL over a record's columns, evaluated on whole batches by Polars.

An expression is proved row-wise when it is compiled (`records.rowwise`), and its types are proved once for each
schema it meets, on a frame without rows. What is left to fail then is a value: a CAST that refuses it, a date that does
not parse, a result that is inf or NaN. Such a value makes its own record bad, never the batch.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import polars as pl
from polars.exceptions import PolarsError

from filemill.model.errors import PermanentError
from filemill.records import rowwise
from filemill.records.sql_text import (
    ExpressionError,
    first_line,
    parse,
    refuse_clocks,
    spoken,
    spoken_name,
)

if TYPE_CHECKING:
    from filemill.ports.step import StepContext
    from filemill.records.batch import Batch

_GUESSES: dict[str, pl.DataType] = {
    "number": pl.Float64(),
    "text": pl.String(),
    "truth": pl.Boolean(),
    "time": pl.Datetime("us"),
}


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
        refuse_clocks(sql)
        tree = json.loads(parse(sql).meta.serialize(format="json"))
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
        self._lenient: _Lenient | None = None
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
        except PolarsError:
            return self._find_bad(frame)
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
                f"`{self.sql}` is no condition: it gives {spoken(kind)}, not true or false",
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
                f"`{self.sql}` is no condition: it gives {spoken(kind)}, not true or false",
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
                f"`{self.sql}`: {first_line(error)}",
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

    def _find_bad(self, frame: pl.DataFrame) -> Judged:
        """The values with null where one is refused, and which records that leaves without one.

        A value refused in a branch of CASE that its record does not take is no matter: what a record gives must not
        depend on the other records of its batch.
        """
        if self._lenient is None:
            self._lenient = _Lenient(self._tree)
        why: dict[int, str] = {}
        for refused, given, kind in self._lenient.refusals(frame):
            for row in refused.arg_true():
                why.setdefault(row, f"`{self.sql}`: {given[row]!r} is not {kind}")
        try:
            values = frame.with_columns(self._lenient.value).get_column("_value")
        except PolarsError:
            values = self._one_by_one(frame, why)
        judged = self._finite(values)
        if judged.bad is not None:
            for row, message in zip(judged.bad.arg_true(), judged.messages, strict=True):
                why.setdefault(row, message)
        if not why:
            return judged
        rows = sorted(why)
        bad = pl.Series("_bad", [False] * frame.height, dtype=pl.Boolean).scatter(rows, values=True)
        return Judged(_blank(judged.values, bad), bad, [why[row] for row in rows])

    def _one_by_one(self, frame: pl.DataFrame, why: dict[int, str]) -> pl.Series:
        """The values where even the lenient form fails on some records; those are found by halving."""
        value = pl.lit(None) if self._lenient is None else self._lenient.value
        parts: dict[int, pl.Series] = {}
        waiting = [(0, frame.height)]
        while waiting:
            start, stop = waiting.pop()
            part = frame[start:stop]
            try:
                parts[start] = part.with_columns(value).get_column("_value")
            except PolarsError as error:
                if stop - start == 1:
                    why.setdefault(start, f"`{self.sql}`: {first_line(error)}")
                    parts[start] = pl.Series("_value", [None], dtype=self._prove(frame))
                else:
                    middle = (start + stop) // 2
                    waiting += [(start, middle), (middle, stop)]
        return pl.concat([parts[start] for start in sorted(parts)])


class _Lenient:
    """An expression with null where it would refuse a value, and what tells which values those are."""

    def __init__(self, tree: rowwise.Tree) -> None:
        self.value = _compiled(rowwise.lenient(tree)).alias("_value")
        self._checks: list[tuple[pl.Expr, pl.Expr, str]] = []
        for node, path in rowwise.refusing(tree):
            loose = rowwise.lenient(node)
            given = _compiled(rowwise.children(loose)[0])
            refused = given.is_not_null() & _compiled(loose).is_null()
            for condition, holds in path:
                taken = _compiled(rowwise.lenient(condition)).fill_null(value=False)
                refused &= taken if holds else ~taken
            kind = spoken_name(rowwise.refused_type(node))
            self._checks.append((refused.alias("_refused"), given.alias("_given"), kind))

    def refusals(self, frame: pl.DataFrame) -> Iterable[tuple[pl.Series, pl.Series, str]]:
        """(which records' values are refused, the values, what they should be) for each place that refuses."""
        for refused, given, kind in self._checks:
            both = frame.with_columns(refused, given)
            yield both.get_column("_refused"), both.get_column("_given"), kind


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


__all__ = ["Expression", "ExpressionError", "Judged", "Troubles", "view"]
