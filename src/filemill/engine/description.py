"""Answers about users' code and expressions, given in a worker: neither the server nor `check` imports either.

Every failure is an answer with an error and a help; nothing is raised, so one wrong step does not hide the others.
"""

from __future__ import annotations

import sys

from filemill.engine.ends import ends
from filemill.model.errors import FilemillError, UsageError
from filemill.pipeline_api import Pipeline
from filemill.ports.describe import (
    Answer,
    Answers,
    ExpressionQuestion,
    Question,
    SchemaQuestion,
    StepQuestion,
)
from filemill.ports.step import StepSpec
from filemill.records.finding import FunctionError, find, find_object
from filemill.records.functions import Function, load
from filemill.records.json_schema import flaws
from filemill.records.tracebacks import user_line
from filemill.routing.patterns import check_pattern, check_regex


def answer(question: Question) -> Answers:
    """Answer everything, in the order asked. `question.root` is put first on the import path, and stays there."""
    if question.root not in sys.path[:1]:
        if question.root in sys.path:
            sys.path.remove(question.root)
        sys.path.insert(0, question.root)
    return Answers(
        steps=tuple(map(_about_step, question.steps)),
        expressions=tuple(map(_about_expression, question.expressions)),
        taggers=tuple(map(_about_tagger, question.taggers)),
        patterns=tuple(map(_about_pattern, question.patterns)),
        pipelines=tuple(map(_about_pipeline, question.pipelines)),
        regexes=tuple(map(_about_regex, question.regexes)),
        schemas=tuple(each for schema in question.schemas for each in _about_schema(schema)),
    )


def _about_pipeline(path: str) -> Answer:
    try:
        found = find_object(path, "pipeline")
        if not isinstance(found, Pipeline):
            return Answer(
                path,
                error=f"`{path}` is of type {type(found).__name__}, not a pipeline",
                help="make it with `filemill.pipeline(...)`",
            )
        return Answer(path, written=found.written())
    except FilemillError as error:
        return Answer(path, error=error.message, help=error.help)
    except ends() as error:  # users' code
        return _unexpected(path, error)


def _about_pattern(pattern: str) -> Answer:
    try:
        check_pattern(pattern)
    except UsageError as error:
        return Answer(pattern, error=error.message, help=error.help)
    return Answer(pattern)


def _about_regex(pattern: str) -> Answer:
    try:
        check_regex(pattern)
    except UsageError as error:
        return Answer(pattern, error=error.message, help=error.help)
    return Answer(pattern)


def _about_schema(question: SchemaQuestion) -> list[Answer]:
    return [
        Answer(question.key, error=flaw.message, help=flaw.help, where=(flaw.at,))
        for flaw in flaws(question.text)
    ]


def _about_step(question: StepQuestion) -> Answer:
    spec: StepSpec | None = None
    try:
        function: Function = load(question.path)
        spec = function.spec()
        return Answer(question.key, spec=spec, options=function.plain(question.options))
    except FunctionError as error:
        return Answer(
            question.key, error=error.message, help=error.help, where=error.option, spec=spec
        )
    except ends() as error:  # users' code: whatever it is, it is the answer
        return _unexpected(question.key, error)


def _about_expression(question: ExpressionQuestion) -> Answer:
    from filemill.records.expressions import Expression, ExpressionError  # noqa: PLC0415 -- Polars, for those who need it

    try:
        expression = Expression(question.sql)
        if question.predicate:
            expression.check_predicate()
        return Answer(question.key, columns=expression.columns)
    except ExpressionError as error:
        return Answer(question.key, error=error.message, help=error.help, offset=error.offset)
    except ends() as error:  # an expression Polars chokes on is wrong, too
        return _unexpected(question.key, error)


def _about_tagger(path: str) -> Answer:
    try:
        find(path)
        return Answer(path)
    except FilemillError as error:
        return Answer(path, error=error.message, help=error.help)
    except ends() as error:  # users' code
        return _unexpected(path, error)


def _unexpected(key: str, error: BaseException) -> Answer:
    where = user_line(error)
    said = f"{type(error).__name__}: {error}".split("\n", 1)[0]
    return Answer(key, error=said + (f" ({where})" if where != "?" else ""))
