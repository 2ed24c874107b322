"""JSON records as text: reading named members, splicing new ones in, rewriting one without touching the rest."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from operator import attrgetter
from typing import Any

import msgspec
import polars as pl

_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_OBJECT = msgspec.json.Decoder(dict[str, Any])
_ENCODE = msgspec.json.Encoder().encode
_PLAIN = frozenset({str, int, float, bool})
_HOLLOW = r"^\s*\{\s*\}"
_ESCAPED = r'["\\\x00-\x1f]'


def members(text: str | bytes) -> dict[str, msgspec.Raw]:
    """Every member of one object, its value as exact text. DecodeError or ValidationError if it is none."""
    return _MEMBERS.decode(text)


def objects(lines: bytes | memoryview) -> list[dict[str, Any]]:
    """The objects of proven lines."""
    return _OBJECT.decode_lines(lines)


def decoded(text: str) -> Any:
    """What a JSON text says."""
    return msgspec.json.decode(text)


def key_text(name: str) -> str:
    """A member's name as JSON text."""
    return _ENCODE(name).decode()


def value_json(value: Any) -> str:
    """A Python value as JSON text."""
    return _ENCODE(value).decode()


@lru_cache(maxsize=256)
def named_decoder(names: tuple[str, ...]) -> Callable[[bytes], list[Any]]:
    """A decoder of lines that keeps only these members, as attributes `f0`, `f1`...; absent ones are None.

    Typed parsing that skips all other members runs at about 1 GB/s.
    """
    fields = [(f"f{i}", Any, None) for i in range(len(names))]
    renames = {f"f{i}": name for i, name in enumerate(names)}
    struct = msgspec.defstruct("Record", fields, rename=renames, gc=False)
    return msgspec.json.Decoder(struct).decode_lines


def member_columns(lines: bytes, names: Sequence[str]) -> list[list[Any]]:
    """One list of Python values a name, over proven lines."""
    rows = named_decoder(tuple(names))(lines)
    return [field(rows, i) for i in range(len(names))]


def field(rows: Sequence[Any], index: int) -> list[Any]:
    """One name's values of what `named_decoder` decoded."""
    return list(map(attrgetter(f"f{index}"), rows))


def text_of_members(lines: Sequence[str], name: str) -> list[str | None]:
    """One member of each line as text: a string's content, anything else as it is written, null as None."""
    values: list[str | None] = []
    for line in lines:
        raw = members(line).get(name)
        values.append(None if raw is None else raw_text(raw))
    return values


def raw_text(raw: msgspec.Raw) -> str | None:
    """What one member's text says as a text value."""
    data = bytes(raw)
    if data[:1] == b'"':
        return str(msgspec.json.decode(data))
    return None if data == b"null" else data.decode()


def json_cells(values: pl.Series) -> pl.Series:
    """A typed column as JSON texts (`null` for null)."""
    name, values = values.name, values.alias("v")  # Polars takes `^a$` and `*` for patterns
    return _json_cells(values).alias(name)


def _json_cells(values: pl.Series) -> pl.Series:
    dtype = values.dtype
    if dtype == pl.String:
        if values.str.contains(_ESCAPED).any():
            texts = [_ENCODE(value).decode() for value in values]
            return pl.Series(texts, dtype=pl.String)
        quoted = pl.concat_str([pl.lit('"'), pl.col("v"), pl.lit('"')]).fill_null("null")
        return values.to_frame().select(quoted).to_series()
    if dtype == pl.Boolean or dtype.is_numeric():
        return values.cast(pl.String).fill_null("null")
    texts = [_ENCODE(value).decode() for value in values]
    return pl.Series(texts, dtype=pl.String)


def splice(
    texts: pl.Series, cells: Sequence[tuple[str, pl.Series]], *, braced: bool = False
) -> pl.Series:
    """Put members before the final `}` of each record; a null cell puts none. All else stays as it is.

    `braced`: each begins with `{"` and ends with `}`.
    """
    frame = pl.DataFrame(
        [texts.alias("text"), *[s.alias(f"c{i}") for i, (_, s) in enumerate(cells)]]
    )
    parts = []
    for i, (name, series) in enumerate(cells):
        part = pl.concat_str([pl.lit(f",{key_text(name)}:"), pl.col(f"c{i}")])
        parts.append(part.fill_null("") if series.null_count() else part)
    record = pl.col("text")
    closed, hollow = braced, not braced
    if not braced:
        closed, hollow = frame.select(
            record.str.ends_with("}").all().alias("closed"),
            (~record.str.starts_with('{"')).any().alias("hollow"),
        ).row(0)
    if closed:
        head, tail = record.str.strip_suffix("}"), pl.lit("}")
    else:
        head = record.str.extract(r"(?s)^(.*)\}\s*$", 1)
        tail = record.str.extract(r"(\}\s*)$", 1)
    if hollow:
        more = pl.concat_str(parts)
        parts = [pl.when(record.str.contains(_HOLLOW)).then(more.str.slice(1)).otherwise(more)]
    return frame.select(pl.concat_str([head, *parts, tail]).alias(texts.name)).to_series()


def splice_one(text: str, pairs: Sequence[tuple[str, str]]) -> str:
    """The same for one record; the pairs' values are JSON texts."""
    if not pairs:
        return text
    at = text.rindex("}")
    more = ",".join(f"{key_text(name)}:{value}" for name, value in pairs)
    comma = "" if text[:at].strip() == "{" else ","
    return f"{text[:at]}{comma}{more}{text[at:]}"


def rewrite(text: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """The record after its members became `new`: equal ones keep their text, new last ones are spliced in.

    `old` is what `text` says. Order is that of `new`; text behind the object (a CR) stays.
    """
    if len(new) > len(old) and [*new][: len(old)] == [*old]:
        values = [*new.values()]
        if all(map(same, values, old.values())):
            added = [*new.items()][len(old) :]
            return splice_one(text, [(name, value_json(value)) for name, value in added])
    exact = members(text)
    mixed = {
        name: exact[name] if name in old and same(value, old[name]) else value
        for name, value in new.items()
    }
    return _ENCODE(mixed).decode() + text[text.rindex("}") + 1 :]


def same(one: Any, other: Any) -> bool:
    """Equal value of equal type, all the way down: 1, 1.0 and True differ."""
    kind = type(one)
    if kind is not type(other):
        return False
    if kind in _PLAIN:
        return bool(one == other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(v, other[k]) for k, v in one.items())
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def with_members(text: str, exact: Mapping[str, Any]) -> str:
    """The record with these members, in this order, and what stands behind the object (a CR)."""
    return _ENCODE(exact).decode() + text[text.rindex("}") + 1 :]


def set_member(text: str, name: str, value: str) -> str:
    """The record with one member set to a JSON text: replaced where it stands, else spliced in."""
    exact = members(text)
    if name not in exact:
        return splice_one(text, [(name, value)])
    body = ",".join(
        f"{key_text(key)}:{value if key == name else bytes(raw).decode()}"
        for key, raw in exact.items()
    )
    return "{" + body + "}" + text[text.rindex("}") + 1 :]
