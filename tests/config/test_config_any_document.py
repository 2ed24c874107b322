"""Whatever a document holds, it is judged: problems come back, never a traceback."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from filemill.config import ConfigProblems, load
from filemill.config.rendering import render
from filemill.ports.describe import Answer, Answers
from filemill.ports.registry import Registry

REGISTRY = Registry()
WORDS = st.sampled_from(
    "a b x:y * else drop out in folder read_csv filter route write steps.f if mode id to steps when name secret "
    "size >1MB 5s 1% derive select tag_records check sql tags sources sinks pipelines retry attempts min max "
    "version timezone data workers defaults retention content tagger header source cli path".split()
) | st.sampled_from(
    [
        "",
        " ",
        "a and b",
        "not",
        "{dir}",
        "{tag:x}",
        "../x",
        "/",
        "a b",
        "'DE'",
        "\u0000",
        "0",
        "-1",
        "\ud800",
    ]
)
VALUES = st.recursive(
    WORDS,
    lambda below: st.lists(below, max_size=3) | st.dictionaries(WORDS, below, max_size=4),
    max_leaves=12,
)


STEP_KEYS = "read_csv filter derive route write steps.f if id retry".split()


def sections(values):
    names = st.sampled_from(["a", "out", "in", "drop", "not ok", ""])
    step = values | st.fixed_dictionaries(
        {},
        optional=dict.fromkeys(
            ("read_csv", "filter", "derive", "route", "write", "steps.f", "if", "id", "retry"),
            values,
        ),
    )
    pipeline = st.fixed_dictionaries(
        {},
        optional={
            "when": values,
            "steps": st.lists(step, max_size=4) | values,
            "retry": values,
            "tolerance": values,
        },
    )
    part = st.fixed_dictionaries(
        {}, optional=dict.fromkeys(("folder", "tags", "name", "sql", "settle", "create"), values)
    )
    rule = st.fixed_dictionaries(
        {}, optional=dict.fromkeys(("name", "size", "source", "tagger", "header"), values)
    )
    return st.fixed_dictionaries(
        {},
        optional={
            "version": values,
            "workers": values,
            "defaults": values,
            "retention": values,
            "data": values,
            "sources": st.dictionaries(names, part | values, max_size=2) | values,
            "tags": st.dictionaries(WORDS, rule | values, max_size=2) | values,
            "pipelines": st.dictionaries(names, pipeline | values, max_size=2) | values,
            "sinks": st.dictionaries(names, part | values, max_size=2) | values,
            "extra": values,
        },
    )


def refuse(question):
    """A worker that finds fault with everything."""
    return Answers(
        steps=tuple(Answer(q.key, error="no", where=("a", "0")) for q in question.steps),
        expressions=tuple(Answer(q.key, error="no", offset=99) for q in question.expressions),
        taggers=tuple(Answer(path, error="no") for path in question.taggers),
        patterns=tuple(Answer(pattern, error="no") for pattern in question.patterns),
    )


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    sections(VALUES),
    st.booleans(),
    st.dictionaries(
        st.sampled_from(
            [
                "FILEMILL__WORKERS",
                "FILEMILL__SINKS__OUT__NAME",
                "FILEMILL__SOURCES__IN",
                "FILEMILL__PIPELINES__A__RETRY__MIN",
                "FILEMILL__TAGS__A__NAME",
            ]
        ),
        WORDS,
        max_size=2,
    ),
)
@example({"pipelines": {"a": {"steps": [{"route": {"b": [], "a": [[]]}}]}}}, False, {})
def test_any_document_is_judged(document, asks, environ):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "filemill.yaml"
        path.write_text(json.dumps(document, indent=1), errors="surrogatepass")
        try:
            problems = load(
                str(path), environ=environ, registry=REGISTRY, describe=refuse if asks else None
            ).warnings
            good = True
        except ConfigProblems as error:
            problems, good = error.problems, False
        assert good is not any(problem.severity == "error" for problem in problems)
        for form in ("text", "json", "github"):
            assert render(problems, form).encode() or good
