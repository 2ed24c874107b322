"""Records held against a compiled JSON Schema: all of a batch at native speed, and in words only those that fail."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import polars as pl

from filemill.records import json_text, text, views
from filemill.records.json_schema import compiled, pointer, read
from filemill.records.layout import LINE
from filemill.records.schema_columns import ALL, Columns

if TYPE_CHECKING:
    import jsonschema_rs

    from filemill.records.batch import Batch

SAID = 3
"""So many things that are wrong with one record are told."""
_LONGEST = 200
_ABSENT = object()
_INTEGERS = {"minimum": -(2**63), "maximum": 2**63 - 1}
"""What a column of integers can hold."""


class RecordCheck:
    """One schema over batches.

    Raises:
        SchemaError: the schema is none.
    """

    def __init__(self, schema: str) -> None:
        document = read(schema)
        self.columns = Columns(document)
        self.validators: list[jsonschema_rs.Validator] = [compiled(document)]
        # Where a reader takes a column for integers, what does not fit 64 bits must not become an absent value.
        bounded = {
            name: {"if": {"type": "integer"}, "then": _INTEGERS}
            for name, word in self.columns.declared().items()
            if word == "integer"
        }
        if bounded:
            self.validators.append(compiled({"properties": bounded}))
        self._allowed: dict[str, frozenset[str]] = {}

    def wrong(self, batch: Batch) -> dict[int, str]:
        """Row to what is wrong with its record, for each that does not fit."""
        found: dict[int, str] = {}
        records = self._records(batch, found)
        for validator in self.validators:
            valid = list(map(validator.is_valid, records))
            if all(valid):
                continue
            for at, fits in enumerate(valid):
                if not fits and at not in found:
                    found[at] = _said(validator, records[at])
        return found

    def _records(self, batch: Batch, unfit: dict[int, str]) -> list[Any]:
        """Each record as JSON values; those that cannot be are noted in `unfit`."""
        batch = batch.settled()
        layout = batch.layout
        if layout.format == "lines":
            lines = text.bare(text.standing(batch.frame), layout)
            return [{LINE: line} for line in lines]
        if layout.format == "csv":
            return self._of_cells(batch)
        texts = text.standing(batch.frame)
        if not len(texts):
            return []
        try:
            return json_text.objects(texts.str.join("\n")[0].encode())
        except (msgspec.MsgspecError, RecursionError):
            return [_object(line, at, unfit) for at, line in enumerate(texts)]

    def _of_cells(self, batch: Batch) -> list[dict[str, Any]]:
        columns = batch.layout.columns
        names = (
            columns if self.columns.sees_all else [n for n in columns if n in self.columns.names]
        )
        if not names:
            return [{} for _ in range(len(batch))]
        cells = text.csv_base_values(batch.frame, batch.layout, names)
        values = [self._read(name, cell) for name, cell in zip(names, cells, strict=True)]
        if any(absent for _, absent in values):
            return [
                {n: v for n, v in zip(names, row, strict=True) if v is not _ABSENT}
                for row in zip(*(v for v, _ in values), strict=True)
            ]
        return [
            dict(zip(names, row, strict=True)) for row in zip(*(v for v, _ in values), strict=True)
        ]

    def _read(self, name: str, cells: pl.Series) -> tuple[list[Any], bool]:
        """A column's cells as JSON values of the types the schema allows; whether some are absent."""
        allowed = self._allowed.get(name)
        if allowed is None:
            allowed = self._allowed[name] = self.columns.allowed(name)
        values: list[Any] = cells.to_list()
        nothing = None if "null" in allowed and allowed != ALL else _ABSENT
        empty = bool((cells == "").any())
        if allowed != ALL:
            # From the widest to the narrowest: the last one that fits a cell counts.
            for kind, word in (("number", "float"), ("integer", "integer"), ("boolean", "boolean")):
                if kind in allowed:
                    view, misfits = views.cast_text(cells, word, declared=True)
                    if misfits is not None:
                        view = views.without(view, misfits)
                    values = [
                        old if new is None else new
                        for old, new in zip(values, view.to_list(), strict=True)
                    ]
        if empty:
            values = [nothing if value == "" else value for value in values]
        return values, empty and nothing is _ABSENT


def _object(line: str, at: int, unfit: dict[int, str]) -> Any:
    try:
        return msgspec.json.decode(line)
    except msgspec.MsgspecError:
        unfit[at] = "a number that no float can hold"
    except RecursionError:
        unfit[at] = "it is nested too deeply"
    return {}


def _said(validator: jsonschema_rs.Validator, record: Any) -> str:
    errors: list[str] = []
    more = 0
    for error in validator.iter_errors(record):
        if len(errors) < SAID:
            errors.append(_one(error))
        else:
            more += 1
    return "; ".join(errors) + (f"; and {more} more" if more else "")


def _one(error: jsonschema_rs.ValidationError) -> str:
    """`amount: -3 is less than the minimum of 0`."""
    kind, where = error.kind, list(error.instance_path)
    what = kind.as_dict()
    message = error.message
    if kind.name == "required":
        where, message = [*where, what["property"]], "it is required"
    elif kind.name in ("additionalProperties", "unevaluatedProperties"):
        names: Sequence[str] = what["unexpected"]
        message = f"not allowed here: {', '.join(map(json.dumps, names))}"
    elif kind.name == "falseSchema":
        message = "it is not allowed here"
    elif kind.name == "anyOf":
        message = f"{_shown(error.instance)} fits none of `anyOf`"
    elif kind.name == "oneOf":
        message = message.replace(" schemas listed in the 'oneOf' keyword", " of `oneOf`")
    elif kind.name == "const":
        message = f"{_shown(error.instance)} is not {_shown(what['expected_value'])}"
    if len(message) > _LONGEST:
        # The value stands first and the rule last.
        message = f"{message[: _LONGEST // 2]}…{message[-_LONGEST // 2 :]}"
    at = pointer(where)
    return f"{at}: {message}" if at else message


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)
