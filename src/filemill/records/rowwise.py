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


Path = tuple[tuple[Tree, bool], ...]
"""What leads to a node through CASEs: each condition, and whether the way goes where it holds."""


def refusing(tree: Tree, path: Path = ()) -> Iterator[tuple[Tree, Path]]:
    """Every node that refuses values (a CAST, a date that is parsed), and the way to it."""
    kind, body = _parts(tree)
    if kind == "Cast" and body["options"] == "Strict":
        yield tree, path
    if kind == "Function" and _strptime(body["function"]) is not None:
        yield tree, path
    if kind == "Ternary":
        condition = body["predicate"]
        yield from refusing(condition, path)
        yield from refusing(body["truthy"], (*path, (condition, True)))
        yield from refusing(body["falsy"], (*path, (condition, False)))
        return
    for child in children(tree):
        yield from refusing(child, path)


def _strptime(function: Tree) -> list[Any] | None:
    """What a parser of dates is made of: type and options; None for other functions, and if it gives null itself."""
    parts = function.get("StringExpr") if isinstance(function, dict) else None
    made = parts.get("Strptime") if isinstance(parts, dict) else None
    return made if isinstance(made, list) and made[1]["strict"] else None


def lenient(tree: Tree) -> Tree:
    """The same tree with null wherever it would refuse a value."""
    kind, body = _parts(tree)
    match kind:
        case "Cast":
            options = "NonStrict" if body["options"] == "Strict" else body["options"]
            return {kind: {**body, "expr": lenient(body["expr"]), "options": options}}
        case "BinaryExpr":
            return {kind: {**body, "left": lenient(body["left"]), "right": lenient(body["right"])}}
        case "Ternary":
            return {kind: {part: lenient(node) for part, node in body.items()}}
        case "Function":
            function = body["function"]
            if (strptime := _strptime(function)) is not None:
                type_, options = strptime[0], {**strptime[1], "strict": False}
                function = {"StringExpr": {"Strptime": [type_, options]}}
            return {
                kind: {**body, "input": list(map(lenient, body["input"])), "function": function}
            }
        case _:
            return tree


def refused_type(node: Tree) -> str:
    """The type a refusing node makes, by Polars' name."""
    kind, body = _parts(node)
    named = body["dtype"] if kind == "Cast" else (_strptime(body["function"]) or [""])[0]
    return _parts(_parts(named)[1])[0]


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
    wants = _wants(kind, body, below, wanted)
    wants += [wants[0]] * (len(below) - len(wants)) if below else []
    for child, want in zip(below, wants, strict=True):
        _guess(child, want, found)


def _wants(kind: str, body: Any, below: list[Tree], wanted: str) -> list[str]:
    """The types a node wants of the nodes below it; the first stands for all that are not listed."""
    match kind:
        case "BinaryExpr":
            operator = body["op"]
            if operator in ("And", "Or", "Xor"):
                return ["truth", "truth"]
            if operator in COMPARISONS:
                return [_type_of(below[1]), _type_of(below[0])]
            return ["text" if any(map(is_text, below)) else "number"] * 2
        case "Ternary":
            return ["truth", wanted, wanted]
        case "Function":
            return _function_wants(body["function"], below, wanted) if below else []
        case _:
            return [""] * len(below)


def _function_wants(named: Tree, below: list[Tree], wanted: str) -> list[str]:
    function, detail = _parts(named)
    inner, operator = _parts(detail)
    if inner == "Not":
        return ["truth"]
    if function == "Boolean" or inner == "IsIn":
        return [_type_of(below[1]) if len(below) > 1 else ""]
    if inner == "Binary" and operator in COMPARISONS:
        return [_type_of(below[1]), _type_of(below[0])]
    if function in _OF_ONE_TYPE:
        return [wanted or next(filter(None, map(_type_of, below)), "")]
    return [{"StringExpr": "text", "TemporalExpr": "time"}.get(function, "number")]


_OF_ONE_TYPE = frozenset({"Coalesce", "FillNull", "MaxHorizontal", "MinHorizontal"})
_SCALARS = {
    "String": "text",
    "Boolean": "truth",
    "Float64": "number",
    "Date": "time",
    "Datetime": "time",
}


def _type_of(node: Tree) -> str:
    """What a node gives, where its own form tells."""
    kind, body = _parts(node)
    match kind:
        case "Literal":
            shape, value = _parts(body)
            if shape == "Dyn":
                return "text" if _parts(value)[0] == "Str" else "number"
            return _SCALARS.get(_parts(value)[0], "") if shape == "Scalar" else ""
        case "BinaryExpr":
            return "" if body["op"] in COMPARISONS | {"And", "Or", "Xor"} else "number"
        case "Cast":
            return "text" if body["dtype"] == {"Literal": "String"} else "number"
        case "Function":
            return _type_of_function(node, body["function"])
        case _:
            return ""


def _type_of_function(node: Tree, named: Tree) -> str:
    function, detail = _parts(named)
    if function in _OF_ONE_TYPE:
        return next(filter(None, map(_type_of, children(node))), "")
    if function == "StringExpr":
        return "number" if _parts(detail)[0] in ("LenChars", "LenBytes", "Find") else "text"
    return "truth" if function == "Boolean" else "number"
