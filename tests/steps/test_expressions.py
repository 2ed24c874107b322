from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filemill.model.errors import PermanentError
from filemill.records.expressions import Expression, ExpressionError

FRAME = pl.DataFrame(
    {
        "s": ["1", "x", None],
        "n": [1.5, 0.0, None],
        "i": [1, 2, 3],
        "b": [True, False, None],
        "order": [1, 2, 3],
        "d": pl.Series([None, None, None], dtype=pl.Null),
    }
)


@pytest.mark.parametrize(
    ("sql", "columns"),
    [
        ("amount > 10000", ("amount",)),
        ("level = 'ERROR' AND latency_ms >= 1000 OR NOT ok", ("level", "latency_ms", "ok")),
        ('"unit price" * quantity', ("unit price", "quantity")),
        ("COALESCE(a, b, a)", ("a", "b")),
        ("CASE WHEN a > 1 THEN UPPER(b) ELSE c END", ("a", "b", "c")),
        ("a IN ('x', 'y')", ("a",)),
        ("name LIKE 'a%' AND name NOT LIKE '%z'", ("name",)),
        ("EXTRACT(YEAR FROM t) = 2026", ("t",)),
        ("SPLIT_PART(path, '/', 2)", ("path",)),
        ("ROUND(a, 2) + POW(b, 2) + SQRT(c) + LN(d)", ("a", "b", "c", "d")),
        ("address.city", ("address",)),
        ("TRY_CAST(a AS INT) IS NULL", ("a",)),
        ("GREATEST(a, b) - LEAST(a, b)", ("a", "b")),
        ("a || '-' || b", ("a", "b")),
        ("'NOW()'", ()),
        ("now", ("now",)),
        ("TRUE", ()),
    ],
)
def test_row_wise_expressions_compile_and_say_their_columns(
    sql: str, columns: tuple[str, ...]
) -> None:
    assert Expression(sql).columns == columns


@pytest.mark.parametrize(
    "sql",
    [
        "SUM(a)",
        "a > AVG(a)",
        "COUNT(*)",
        "COUNT(DISTINCT a)",
        "FIRST(a)",
        "STRING_AGG(a, ',')",
        "CORR(a, b)",
        "QUANTILE_CONT(a, 0.5)",
        "ROW_NUMBER() OVER (ORDER BY a)",
        "ROW_NUMBER()",
        "SUM(a) OVER (PARTITION BY b)",
        "LAG(a) OVER (ORDER BY a)",
        "UNNEST(a)",
        "EXISTS(SELECT 1)",
        "(SELECT 1)",
        "a IN (SELECT b FROM t)",
        "COLUMNS('a')",
        '"*" > 1',
        "a AS b",
        "GENERATE_SERIES(1, 2)",
        "GREATEST(SUM(a), 1)",
        "CASE WHEN a > 1 THEN MAX(a) END",
        "ARRAY_AGG(a)",
    ],
)
def test_what_looks_beyond_one_record_is_refused(sql: str) -> None:
    with pytest.raises(ExpressionError) as refused:
        Expression(sql)
    assert sql in refused.value.message
    assert refused.value.help


@pytest.mark.parametrize(
    ("sql", "offset"),
    [("NOW()", 0), ("t > CURRENT_TIMESTAMP", 4), ("CURRENT_DATE > d", 0), ("d < now ( )", 4)],
)
def test_the_time_of_day_is_refused_where_it_stands(sql: str, offset: int) -> None:
    with pytest.raises(ExpressionError, match="another value at every try") as refused:
        Expression(sql)
    assert refused.value.offset == offset


@pytest.mark.parametrize(
    ("sql", "quoted", "offset"),
    [
        ("order > 1", '"order" > 1', 0),
        ("a = 1 AND trim = 2", 'a = 1 AND "trim" = 2', 10),
        ("end > 1", '"end" > 1', 0),
        ("Select = 'x'", "\"Select\" = 'x'", 0),
    ],
)
def test_an_sql_word_as_a_name_needs_double_quotes(sql: str, quoted: str, offset: int) -> None:
    with pytest.raises(ExpressionError, match="is an SQL word") as refused:
        Expression(sql)
    assert quoted in refused.value.help
    assert refused.value.offset == offset
    Expression(quoted)


@pytest.mark.parametrize("sql", ["", "  ", "a >", "a; b", "RANDOM()", "a LIKE 'x' ESCAPE '!'"])
def test_what_does_not_parse_says_so(sql: str) -> None:
    with pytest.raises(ExpressionError) as refused:
        Expression(sql)
    assert refused.value.message


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("DE", "alone names a column"),
        ("'DE'", "single quotes is text"),
        ("'amount' > 5", "single quotes is text"),
        ("UPPER(a)", "it gives text"),
        ("a + 1", "it gives a number"),
        ("1", "no condition"),
    ],
)
def test_what_is_no_condition_is_refused_as_one(sql: str, words: str) -> None:
    expression = Expression(sql)
    with pytest.raises(ExpressionError, match=words) as refused:
        expression.check_predicate()
    assert refused.value.help


@pytest.mark.parametrize("sql", ["TRUE", "a = 1", "a = 'x' OR b", "NOT b", "a IS NULL", "b AND c"])
def test_conditions_pass(sql: str) -> None:
    Expression(sql).check_predicate()


def test_null_counts_as_false() -> None:
    assert Expression("n > 1").judge_truth(FRAME).values.to_list() == [True, False, False]
    assert Expression("NULL").judge_truth(FRAME).values.to_list() == [False] * 3


def test_a_constant_has_the_frames_height() -> None:
    assert Expression("'acme'").judge(FRAME).values.to_list() == ["acme"] * 3
    assert Expression("TRUE").judge_truth(pl.DataFrame(height=2)).values.to_list() == [True] * 2


@pytest.mark.parametrize(
    "sql", ["s > 1", "s = 1.5", "1 < s", "s IN (1, 2)", "s BETWEEN 1 AND 2", "UPPER(s) = 3"]
)
def test_text_compared_with_a_number_names_the_column_and_the_cure(sql: str) -> None:
    with pytest.raises(PermanentError, match="column `s`, which is text") as refused:
        Expression(sql).judge_truth(FRAME)
    assert "types: {s: float}" in refused.value.help


def test_a_number_compared_with_text_says_so() -> None:
    with pytest.raises(PermanentError, match="column `n`, which is a number, with text"):
        Expression("n = '1'").judge_truth(FRAME)


def test_a_condition_that_is_none_is_found_at_the_first_batch() -> None:
    with pytest.raises(PermanentError, match="it gives an integer"):
        Expression("COALESCE(i, i)").judge_truth(FRAME)


def test_a_refused_cast_marks_its_record_alone() -> None:
    judged = Expression("CAST(s AS INT) + i").judge(FRAME)
    assert judged.values.to_list() == [2, None, None]
    assert judged.bad is not None
    assert judged.bad.to_list() == [False, True, False]
    assert judged.messages == ["`CAST(s AS INT) + i`: 'x' is not an integer (int32)"]


def test_a_refusal_in_a_branch_that_is_not_taken_does_not_matter() -> None:
    sql = "CASE WHEN s ~ '^[0-9]+$' THEN CAST(s AS INT) ELSE -1 END"
    judged = Expression(sql).judge(FRAME)
    assert judged.values.to_list() == [1, -1, -1]
    assert judged.bad is None


def test_a_date_that_does_not_parse_marks_its_record() -> None:
    frame = pl.DataFrame({"t": ["2026-01-01", "soon", "2026-02-30", None, "2026-03-01"]})
    judged = Expression("DATE(t, '%Y-%m-%d')").judge(frame)
    assert judged.bad is not None
    assert judged.bad.to_list() == [False, True, True, False, False]
    assert [v is None for v in judged.values] == [False, True, True, True, False]
    assert len(judged.messages) == 2


def test_infinite_results_are_bad() -> None:
    judged = Expression("i / n").judge(FRAME)
    assert judged.values.to_list() == [1 / 1.5, None, None]
    assert judged.messages == ["`i / n` gives inf"]


def test_a_cast_and_an_infinity_in_one_batch() -> None:
    judged = Expression("CAST(s AS INT) / n").judge(
        pl.DataFrame({"s": ["1", "x", "3", "4"], "n": [1.0, 1.0, 0.0, 2.0]})
    )
    assert judged.values.to_list() == [1.0, None, None, 2.0]
    assert judged.bad is not None
    assert judged.bad.to_list() == [False, True, True, False]
    assert judged.messages[1].endswith("gives inf")


def test_decimal_literals_are_floats() -> None:
    assert Expression("i / 3.0").judge(FRAME).values.to_list() == [1 / 3, 2 / 3, 1.0]
    assert Expression("i * 1.5").judge(FRAME).values.dtype == pl.Float64
    assert Expression("i IN (1.0, 3)").judge_truth(FRAME).values.to_list() == [True, False, True]


def test_a_column_without_a_value_fits_any_use() -> None:
    assert Expression("UPPER(d)").judge(FRAME).values.to_list() == [None] * 3
    assert Expression("d > 5").judge_truth(FRAME).values.to_list() == [False] * 3
    assert Expression("NOT d").judge_truth(FRAME).values.to_list() == [False] * 3


@pytest.mark.parametrize(
    "sql",
    [
        "CASE WHEN LENGTH(s) > 1 THEN CAST(s AS BIGINT) * 2 ELSE 7 END",
        "LENGTH(s) > 1 AND CAST(s AS BIGINT) > 5",
        "LENGTH(s) > 1 OR CAST(s AS BIGINT) > 5",
        "COALESCE(TRY_CAST(s AS INT), CAST(s AS INT), 0)",
        "NULLIF(CAST(s AS INT), 0) / CAST(s AS INT)",
        "10 / CAST(s AS DOUBLE)",
        "DATE(s, '%d') = DATE '1970-01-01'",
        "CASE CAST(s AS INT) WHEN 1 THEN 'one' ELSE s END",
    ],
)
@settings(max_examples=40, deadline=None)
@given(
    texts=st.lists(st.one_of(st.none(), st.integers(-50, 50).map(str), st.text("ab1", max_size=3)))
)
def test_a_records_value_does_not_depend_on_its_company(sql: str, texts: list[str | None]) -> None:
    frame = pl.DataFrame({"s": pl.Series(texts, dtype=pl.String)})
    expression = Expression(sql)
    together = expression.judge(frame)
    alone = [expression.judge(frame[i : i + 1]) for i in range(len(texts))]
    assert together.values.to_list() == [each.values[0] for each in alone]
    bad = [False] * len(texts) if together.bad is None else together.bad.to_list()
    assert bad == [each.bad is not None and bool(each.bad[0]) for each in alone]
