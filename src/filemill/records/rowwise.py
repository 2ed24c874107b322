"""The allow-list of row-wise expressions: a walk over an expression's serialised tree.

Polars calls `SUM(x)` and `NOW()` expressions like any other, but their value depends on which records share a batch,
or on when it runs. A result must never depend on either, so every node of the tree has to be known here as row-wise;
what is not known is refused. The names are those of `Expr.meta.serialize(format="json")` of Polars 2.1, found by
serialising every function of its SQL dialect.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Tree = Any
"""Parsed JSON: a node is `{"Kind": {...}}` or, for a few, a bare word such as `"Len"`."""

COMPARISONS = frozenset({"Eq", "NotEq", "Lt", "LtEq", "Gt", "GtEq", "EqValidity", "NotEqValidity"})
_FUNCTION_WORDS = frozenset(
    """Abs Atan2 Ceil Coalesce Exp FillNull Floor Log Log1p MaxHorizontal MinHorizontal Negate Sign
    SumHorizontal MeanHorizontal""".split()
)
_FUNCTION_FAMILIES = frozenset(
    "Clip Pow Round RoundSF Sql StructExpr TemporalExpr Trigonometry Truncate".split()
)
_BOOLEAN = frozenset(
    "IsNull IsNotNull Not IsIn IsBetween IsNan IsNotNan IsFinite IsInfinite IsClose "
    "AllHorizontal AnyHorizontal".split()
)
_STRING_REFUSED = frozenset({"ConcatVertical"})
_LIST = frozenset("Get Length Join Contains Slice Sum Mean Min Max First Last".split())
_NODES = frozenset({"Column", "Literal", "BinaryExpr", "Function", "Cast", "Ternary"})
_LITERALS = frozenset({"Dyn", "Scalar", "Series"})

_AGGREGATE = "looks at more than one record at a time"
_WHY = {
    "Agg": _AGGREGATE,
    "Len": _AGGREGATE,
    "Over": _AGGREGATE,
    "Window": _AGGREGATE,
    "Explode": "makes several records of one",
    "SubPlan": "is a subquery",
    "Selector": "names columns by a pattern",
    "Alias": "gives a name of its own (the key of the option is the name)",
    "Filter": _AGGREGATE,
    "Sort": _AGGREGATE,
    "SortBy": _AGGREGATE,
    "Gather": _AGGREGATE,
    "Slice": _AGGREGATE,
    "Eval": "works on lists",
}


def refusal(tree: Tree) -> str:
    """Why this tree is not row-wise, as the end of a sentence; empty when it is."""
    for node in nodes(tree):
        kind, body = _parts(node)
        if kind == "Function":
            function, detail = _parts(body["function"])
            if not _is_row_wise(function, detail):
                return f"uses {_spoken(function, detail)}, which {_AGGREGATE} or is not known to look at one only"
        elif kind == "Literal":
            if next(iter(body), "") not in _LITERALS:
                return "holds a value that is computed when it is read"
        elif kind == "Column":
            if body == "*" or (body.startswith("^") and body.endswith("$")):
                return "names columns by a pattern"
        elif kind not in _NODES:
            return _WHY.get(
                kind, f"holds `{kind}`, which is not known to look at one record at a time"
            )
    return ""


def _is_row_wise(function: str, detail: Any) -> bool:
    inner = _parts(detail)[0] if detail is not None else ""
    match function:
        case "Boolean":
            return inner in _BOOLEAN
        case "StringExpr":
            return inner not in _STRING_REFUSED
        case "ListExpr":
            return inner in _LIST
        case "Bitwise":
            return inner.startswith(("Count", "Leading", "Trailing"))
        case _:
            return function in (_FUNCTION_WORDS if detail is None else _FUNCTION_FAMILIES)


def _spoken(function: str, detail: Any) -> str:
    inner = _parts(detail)[0] if detail is not None else ""
    return f"{function}.{inner}" if inner and inner[:1].isupper() else function


def _parts(node: Tree) -> tuple[str, Any]:
    """Kind and body of a node or of a function's name; a bare word has no body."""
    if isinstance(node, str):
        return node, None
    if isinstance(node, dict) and node:
        return next(iter(node.items()))
    return "", None


def children(node: Tree) -> list[Tree]:
    """The nodes directly below one, in reading order."""
    kind, body = _parts(node)
    match kind:
        case "BinaryExpr":
            return [body["left"], body["right"]]
        case "Function":
            return list(body["input"])
        case "Cast":
            return [body["expr"]]
        case "Ternary":
            return [body["predicate"], body["truthy"], body["falsy"]]
        case _:
            return []


def nodes(tree: Tree) -> Iterator[Tree]:
    """The tree's nodes, itself first. Below a kind that is refused it does not look."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        waiting.extend(reversed(children(node)))


def columns(tree: Tree) -> tuple[str, ...]:
    """Every column named, once, in reading order."""
    return tuple(
        dict.fromkeys(n["Column"] for n in nodes(tree) if isinstance(n, dict) and "Column" in n)
    )


def is_text(node: Tree) -> bool:
    """Say whether a node is a text literal."""
    return isinstance(node, dict) and "String" in (
        node.get("Literal", {}).get("Scalar", {}) if isinstance(node.get("Literal"), dict) else {}
    )


def comparisons(tree: Tree) -> Iterator[tuple[Tree, Tree]]:
    """Both sides of every comparison; of `IN`, the value and the list."""
    for node in nodes(tree):
        kind, body = _parts(node)
        if kind == "BinaryExpr" and body["op"] in COMPARISONS:
            yield body["left"], body["right"]
        elif kind == "Function":
            function, detail = _parts(body["function"])
            inner, operator = _parts(detail)
            if inner == "IsIn" or (
                function == "Sql" and inner == "Binary" and operator in COMPARISONS
            ):
                yield body["input"][0], body["input"][1]


def casts(tree: Tree) -> Iterator[Tree]:
    """Every CAST that refuses values, outermost first."""
    for node in nodes(tree):
        kind, body = _parts(node)
        if kind == "Cast" and body["options"] == "Strict":
            yield node


def lenient(tree: Tree) -> Tree:
    """The same tree with casts that give null where they would refuse."""
    if isinstance(tree, list):
        return [lenient(each) for each in tree]
    if isinstance(tree, dict):
        return {
            key: "NonStrict" if key == "options" and value == "Strict" else lenient(value)
            for key, value in tree.items()
            if key is not None
        }
    return tree


def with_float_literals(tree: Tree) -> Tree:
    """The same tree with decimal literals (`1.5`) as floats.

    Polars computes with decimals of the literal's own scale: `n / 3.0` would be cut after six digits.
    """
    if isinstance(tree, list):
        if tree and all(isinstance(each, int) for each in tree):
            return tree  # the bytes of a list literal
        return [with_float_literals(each) for each in tree]
    if isinstance(tree, dict):
        decimal = tree.get("Decimal")
        if len(tree) == 1 and isinstance(decimal, list) and len(decimal) == 3:
            return {"Float64": int(decimal[0]) / 10 ** int(decimal[2])}
        return {key: with_float_literals(value) for key, value in tree.items()}
    return tree


def guessed_types(tree: Tree) -> dict[str, str]:
    """A type for each column from how it is used: `number`, `text`, `truth` or `time`; text when nothing says."""
    found: dict[str, str] = {}
    _guess(tree, "truth" if _parts(tree)[0] == "Column" else "", found)
    return {name: found.get(name) or "text" for name in columns(tree)}


def _guess(node: Tree, wanted: str, found: dict[str, str]) -> None:
    kind, body = _parts(node)
    if kind == "Column":
        if wanted:
            found.setdefault(body, wanted)
        return
    below = children(node)
    wants = [wanted] * len(below)
    if kind == "BinaryExpr":
        operator = body["op"]
        if operator in ("And", "Or", "Xor"):
            wants = ["truth", "truth"]
        elif operator in COMPARISONS:
            wants = [_type_of(below[1]), _type_of(below[0])]
        else:
            wants = ["text" if any(map(is_text, below)) else "number"] * 2
    elif kind == "Ternary":
        wants = ["truth", wanted, wanted]
    elif kind == "Cast":
        wants = [""]
    elif kind == "Function":
        function, detail = _parts(body["function"])
        inner, operator = _parts(detail)
        if function == "Boolean" or inner == "IsIn":
            wants = ["truth" if inner == "Not" else _type_of(below[1]) if len(below) > 1 else ""]
        elif function == "StringExpr":
            wants = ["text"]
        elif function == "TemporalExpr":
            wants = ["time"]
        elif inner == "Binary" and operator in COMPARISONS:
            wants = [_type_of(below[1]), _type_of(below[0])]
        elif function in ("Coalesce", "FillNull", "MaxHorizontal", "MinHorizontal"):
            wants = [wanted or next(filter(None, map(_type_of, below)), "")]
        else:
            wants = ["number"]
        wants += [wants[0]] * (len(below) - len(wants))
    for child, want in zip(below, wants, strict=True):
        _guess(child, want, found)


def _type_of(node: Tree) -> str:
    kind, body = _parts(node)
    if kind == "Literal":
        shape, value = _parts(body)
        if shape == "Dyn":
            return "text" if isinstance(value, dict) and "Str" in value else "number"
        scalar = _parts(value)[0] if shape == "Scalar" else ""
        return {
            "String": "text",
            "Boolean": "truth",
            "Float64": "number",
            "Date": "time",
            "Datetime": "time",
        }.get(scalar, "")
    if kind == "BinaryExpr" and body["op"] not in COMPARISONS | {"And", "Or", "Xor"}:
        return "number"
    if kind == "Cast":
        return "text" if body["dtype"] == {"Literal": "String"} else "number"
    if kind == "Function":
        function, detail = _parts(body["function"])
        if function == "StringExpr":
            return "number" if _parts(detail)[0] in ("LenChars", "LenBytes", "Find") else "text"
        if function in ("Coalesce", "FillNull"):
            return next(filter(None, map(_type_of, children(node))), "")
        return "number"
    return ""
