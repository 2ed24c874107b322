"""Tag expressions over whole batches: a mask, not a call per record."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import polars as pl

from filemill.model.tags import All, AnyOf, HasTag, Not, TagTerm


def evaluate(term: TagTerm, has: Callable[[str], bool | pl.Series]) -> bool | pl.Series:
    """Evaluate natively: `has` answers for each tag, with a Boolean where all records agree."""
    match term:
        case HasTag(name):
            return has(name)
        case Not(inner):
            value = evaluate(inner, has)
            return not value if isinstance(value, bool) else ~value
        case All(terms):
            return _fold([evaluate(each, has) for each in terms], neutral=True)
        case AnyOf(terms):
            return _fold([evaluate(each, has) for each in terms], neutral=False)


def _fold(values: Sequence[bool | pl.Series], *, neutral: bool) -> bool | pl.Series:
    result: pl.Series | None = None
    for value in values:
        if isinstance(value, bool):
            if value is not neutral:
                return value
            continue
        result = value if result is None else (result & value if neutral else result | value)
    return neutral if result is None else result
