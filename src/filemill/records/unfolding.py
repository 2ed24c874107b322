"""JSON inside a column: its keys become columns, or it becomes a value. What it says keeps its text.

In JSON records the members of the inner object are put behind the record's own, in the inner object's order. In csv
each key is a column, in order of first appearance in a file; a text's content is the cell, anything else stands as it
is written. Lines become JSON records.

What a column of csv holds must not depend on the records beside it, so a new one is text unless a type is declared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import msgspec
import polars as pl

from filemill.records import json_text, text, views
from filemill.records.batch import Batch
from filemill.records.cells import quote_cells
from filemill.records.columns import PLACES, absent
from filemill.records.layout import text_layout
from filemill.records.text import CELL, TAG

DEEPEST = 500
"""Levels of nesting: less than what any later parser refuses."""
_VALUE = msgspec.json.Decoder(msgspec.Raw)
_NO_TYPES: Mapping[str, str] = MappingProxyType({})


class Found(msgspec.Struct):
    """What each record's column said: its members, or its value, as JSON texts; None where there is nothing to put in.

    `bad` marks the records whose JSON is bad, with a message for each of those.
    """

    values: list[dict[str, str] | str | None]
    views: dict[str, pl.Series]
    """Of declared columns."""
    bad: pl.Series | None = None
    messages: list[str] = []

    def without_bad(self) -> Found:
        """The same for the other records alone."""
        if self.bad is None:
            return self
        good = ~self.bad
        return Found(
            [value for value, is_good in zip(self.values, good, strict=True) if is_good],
            {name: view.filter(good) for name, view in self.views.items()},
        )


class Unfolding:
    """Reads what a column's texts say, and writes it into the records.

    `stays`: a record whose JSON is bad is to keep it, so csv keeps the column; `types` are those of new columns.
    """

    def __init__(
        self,
        column: str,
        *,
        prefix: str = "",
        keys: frozenset[str] | None = None,
        keep: bool = False,
        as_value: bool = False,
        stays: bool = False,
        types: Mapping[str, str] = _NO_TYPES,
    ) -> None:
        self.column = column
        self.prefix = prefix
        self.keys = keys
        self.keep = keep
        self.as_value = as_value
        self.stays = stays
        self.types = types

    def read(self, batch: Batch) -> Found:
        """Parse the column of each record.

        Raises:
            PermanentError: csv or lines that have no such column.
        """
        found = Found([], {})
        wrong: dict[int, str] = {}
        for said, own in zip(self._said(batch), self._own(batch), strict=True):
            value: dict[str, str] | str | None = None
            if said is not None and said.strip():
                try:
                    value = self._parsed(said, own)
                except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
                    wrong[len(found.values)] = f"the JSON in `{self.column}` is bad: {error}"
                except _Taken as error:
                    wrong[len(found.values)] = str(error)
            found.values.append(value)
        self._type(found, wrong)
        if wrong:
            found.bad = pl.Series([i in wrong for i in range(len(batch))], dtype=pl.Boolean)
            found.messages = [wrong[i] for i in sorted(wrong)]
        return found

    def write(self, batch: Batch, found: Found) -> Batch:
        """The records with what was found, one value a record."""
        if batch.layout.format == "csv":
            return batch if self.as_value else self._csv(batch, found)
        return self._json(batch, found)

    # -- reading ----------------------------------------------------------------------------------

    def _said(self, batch: Batch) -> Sequence[str | None]:
        """The JSON text that each record has in the column."""
        layout = batch.layout
        if layout.format != "jsonl" and self.column not in layout.columns:
            raise absent(self.column, layout.columns)
        cells = text.cell_texts(batch.frame, layout, [self.column])[self.column]
        if layout.format == "csv":
            quote = layout.dialect.quote
            return (cells if quote is None else text.unquoted(cells, quote)).to_list()
        # A text holds JSON; any other value is JSON.
        return [
            str(json_text.decoded(cell)) if cell is not None and cell[0] == '"' else cell
            for cell in (None if cell == "null" else cell for cell in cells)
        ]

    def _own(self, batch: Batch) -> Sequence[frozenset[str]]:
        """The columns that each record has anyway, which no key may take."""
        layout = batch.layout
        gone = frozenset() if self.keep or self.stays else frozenset({self.column})
        if layout.format != "jsonl":
            return [frozenset(layout.columns) - gone] * len(batch)
        gone = frozenset() if self.keep else frozenset({self.column})
        there = [frozenset(json_text.members(record)) for record in text.standing(batch.frame)]
        for name in layout.added:
            has = batch.frame.get_column(CELL + name).is_not_null()
            there = [own | {name} if h else own for own, h in zip(there, has, strict=True)]
        return [own - gone for own in there]

    def _parsed(self, said: str, own: frozenset[str]) -> dict[str, str] | str:
        raw = said.encode()
        if raw.count(b"{") + raw.count(b"[") > DEEPEST:
            raise _Taken(f"the JSON in `{self.column}` has more than {DEEPEST} objects and lists")
        _VALUE.decode(raw)
        if self.as_value:
            return _one_line(raw)
        if raw.lstrip()[:1] != b"{":
            raise _Taken(
                f"the JSON in `{self.column}` is no object (`into: value` takes any value)"
            )
        made: dict[str, str] = {}
        for key, value in json_text.members(raw).items():
            if self.keys is not None and key not in self.keys:
                continue
            name = self.prefix + key
            if name in own or name in PLACES or name.startswith((TAG, CELL)) or not name:
                raise _Taken(
                    f"key `{key}` of `{self.column}` cannot be column `{name}`, which is there already"
                )
            made[name] = _one_line(bytes(value))
        return made

    def _type(self, found: Found, wrong: dict[int, str]) -> None:
        """Views of the declared columns; a value of another type makes its record bad."""
        for name, word in self.types.items():
            said = [
                msgspec.Raw(value[name].encode())
                if isinstance(value, dict) and name in value
                else None
                for value in found.values
            ]
            if word == "text":
                shown = [None if raw is None else json_text.raw_text(raw) for raw in said]
                found.views[name] = pl.Series(name, shown, dtype=pl.String)
                continue
            values = [None if raw is None else _number(raw) for raw in said]
            view, misfits = views.cast_values(values, word)
            found.views[name] = view.alias(name)
            for i in misfits:
                wrong.setdefault(i, f"column `{name}` is no {word}: {str(values[i])[:60]!r}")
        for i in wrong:
            found.values[i] = None
        if wrong and found.views:
            good = pl.Series([i not in wrong for i in range(len(found.values))], dtype=pl.Boolean)
            for name, view in found.views.items():
                frame = pl.DataFrame({"v": view, "g": good})
                found.views[name] = frame.select(pl.when("g").then("v").alias(name)).to_series()

    # -- writing ----------------------------------------------------------------------------------

    def _json(self, batch: Batch, found: Found) -> Batch:
        settled = _objects(batch) if batch.layout.format == "lines" else batch.settled()
        texts = [
            record if value is None else self._rewritten(record, value)
            for record, value in zip(text.standing(settled.frame), found.values, strict=True)
        ]
        made: dict[str, None] = {}
        for value in found.values:
            if isinstance(value, dict):
                made |= dict.fromkeys(value)
        stale = {self.column, *made}
        frame = settled.frame.select(
            name for name in settled.frame.columns if name in PLACES or name not in stale
        )
        columns = dict.fromkeys((*settled.layout.columns, *made))
        return Batch(
            frame.with_columns(
                pl.Series("_text", texts, dtype=pl.String),
                *(view for name, view in found.views.items() if name in made),
            ),
            text_layout(settled.layout, {"columns": tuple(columns)}),
            batch.file_tags,
        )

    def _rewritten(self, record: str, value: dict[str, str] | str) -> str:
        if isinstance(value, str):
            return json_text.set_member(record, self.column, value)
        if self.keep:
            return json_text.splice_one(record, list(value.items()))
        members = {name: bytes(raw).decode() for name, raw in json_text.members(record).items()}
        members.pop(self.column, None)
        body = ",".join(
            f"{json_text.key_text(name)}:{cell}"
            for name, cell in (*members.items(), *value.items())
        )
        return "{" + body + "}" + record[record.rindex("}") + 1 :]

    def _csv(self, batch: Batch, found: Found) -> Batch:
        before = batch.layout.columns
        own = batch.own
        # The only column stays too: a record of none is none.
        hollow = not self.keep and (self.stays or before == (self.column,))
        gone = not self.keep and not hollow
        files = batch.split_files()
        names: dict[str, None] = {}
        by_file: dict[int, tuple[str, ...]] = {}
        for file, start, stop in files:
            mine: dict[str, None] = {}
            for value in found.values[start:stop]:
                mine |= dict.fromkeys(value or ())
            names |= mine
            had = own.get(file, before)
            kept = tuple(name for name in had if name != self.column or not gone)
            by_file[file] = tuple(dict.fromkeys((*by_file.get(file, kept), *mine)))
        if hollow:
            batch = self._emptied(batch, found)
        for name in names:
            batch = _with_cells(batch, name, found)
        if gone:
            batch = _without(batch, self.column)
        columns = batch.layout.columns
        batch.own = {file: mine for file, mine in by_file.items() if mine != columns}
        return batch

    def _emptied(self, batch: Batch, found: Found) -> Batch:
        """The column without the texts that were parsed."""
        parsed = pl.Series([value is not None for value in found.values], dtype=pl.Boolean)
        if not parsed.any():
            return batch
        nothing = pl.repeat("", len(batch), dtype=pl.String, eager=True)
        return batch.with_column(self.column, nothing, parsed)


class _Taken(Exception):
    """A record whose JSON cannot be put into it."""


def _one_line(raw: bytes) -> str:
    """A valid JSON text as it is, or without the white space around its parts if it spans lines."""
    if b"\n" in raw or b"\r" in raw:
        raw = msgspec.json.format(raw, indent=-1)
    return raw.strip().decode()


def _number(raw: msgspec.Raw) -> object:
    try:
        return msgspec.json.decode(raw)
    except msgspec.MsgspecError:  # a number that no float can hold
        return bytes(raw).decode()


def _objects(batch: Batch) -> Batch:
    """Lines as JSON records."""
    layout, frame = batch.layout, batch.frame
    cells = text.cell_texts(frame, layout, layout.columns)
    made = text.from_cells(
        cells,
        text_layout(layout, {"format": "jsonl"}),
        text.line_ends(text.standing(frame), layout),
    )
    kept = frame.select(name for name in frame.columns if not name.startswith(CELL))
    # A sink that writes records as they were read would write the lines alone.
    changes = {"format": "jsonl", "read_as": "jsonl", "base": (), "added": ()}
    return Batch(
        kept.with_columns(made.alias("_text")), text_layout(layout, changes), batch.file_tags
    )


def _with_cells(batch: Batch, name: str, found: Found) -> Batch:
    """The csv records with one more column, whose cells say what the members of that name do."""
    said = [
        json_text.raw_text(msgspec.Raw(value[name].encode()))
        if isinstance(value, dict) and name in value
        else None
        for value in found.values
    ]
    texts = pl.Series(name, said, dtype=pl.String)
    view = found.views.get(name, texts.fill_null(""))
    cells = quote_cells(texts, batch.layout.dialect).alias(CELL + name)
    layout = text_layout(
        batch.layout,
        {
            "added": (*batch.layout.added, name),
            "columns": (*batch.layout.columns, name),
        },
    )
    return Batch(batch.frame.with_columns(view.alias(name), cells), layout, batch.file_tags)


def _without(batch: Batch, column: str) -> Batch:
    """The csv records without one column."""
    return batch.select([(name, None) for name in batch.layout.columns if name != column])
