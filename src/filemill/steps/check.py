"""check: hold each record against a JSON Schema."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    WithJsonSchema,
)

from filemill.model.errors import PermanentError
from filemill.ports.step import SchemaUse, StepContext, StepSpec, Uses
from filemill.steps.tagging import ElseTag

if TYPE_CHECKING:
    from filemill.records.batch import Batch

MAX_SCHEMA = 4 << 20
"""Bytes a schema may have."""


class SchemaFile(BaseModel):
    """A schema's file, read when the configuration is: a worker never sees another text than the revision has."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    path: str
    text: str


def _read(value: Any, info: ValidationInfo) -> Any:
    root = (info.context or {}).get("root")
    if root is None:
        return value  # a plan carries the text
    if not isinstance(value, str):
        raise ValueError(  # noqa: TRY004 -- what pydantic reports
            "a schema is the path of a file: write `schema: schemas/order.json`"
        )
    path = os.path.normpath(os.path.join(root, os.path.expanduser(value)))
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_SCHEMA + 1)
        if len(data) > MAX_SCHEMA:
            raise ValueError(f"{value} is larger than {MAX_SCHEMA >> 20} MiB")
        return {"path": path, "text": data.decode("utf-8")}
    except UnicodeDecodeError:
        raise ValueError(f"{value} is not UTF-8") from None
    except OSError as error:
        why = error.strerror or str(error)
        advice = "write a path relative to the configuration"
        raise ValueError(f"schema {value}: {why} ({path}): {advice}") from None


class CheckOptions(BaseModel):
    """Options of `check`."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    schema_: Annotated[SchemaFile, BeforeValidator(_read), WithJsonSchema({"type": "string"})] = (
        Field(
            alias="schema",
            description="Path of a JSON Schema (draft 2020-12), relative to the configuration. Every keyword in it is "
            "enforced or refused, none is ignored; a `$ref` leads into the schema itself.",
        )
    )
    else_tag: ElseTag = Field(
        default=None,
        description="Give records that do not fit this tag and let them go on; without it they are bad records of "
        "class `Schema`.",
    )


class Check:
    """Tags the records that do not fit the schema, or makes them bad; changes none."""

    spec: ClassVar[StepSpec] = StepSpec(
        name="check",
        summary="Hold each record against a JSON Schema (draft 2020-12).",
        example="- check: {schema: schemas/order.json, else_tag: bad}",
        makes_tags=True,
        shorthand="schema",
        notes="A csv cell is read as the narrowest type that the schema allows in its column and that fits, else as "
        "text; an empty cell is null where the schema allows null, else it is missing, so `required` refuses it. "
        "Directly behind the reader and without `if:`, the schema's types are the columns' types for every later step, "
        "which sees null where a value does not fit. A bad record's message names the first few things that are wrong, "
        "each with its place in the record.",
    )
    Options: ClassVar[type[BaseModel]] = CheckOptions

    def __init__(self, context: StepContext) -> None:
        from filemill.records.schema_checks import RecordCheck  # noqa: PLC0415 -- keeps Polars out of `check`

        self.context = context
        self.tag: str | None = context.options.else_tag
        self.records = RecordCheck(context.options.schema_.text)

    @classmethod
    def uses(cls, options: CheckOptions) -> Uses:
        """Its schema, the types that declares, and its tag."""
        from filemill.records.json_schema import read  # noqa: PLC0415 -- read where a schema is used
        from filemill.records.schema_columns import Columns  # noqa: PLC0415

        file = options.schema_
        try:
            types = Columns(read(file.text)).declared()
        except (PermanentError, TypeError, ValueError, RecursionError):
            types = {}  # whoever compiles the schema says what is wrong with it
        return Uses(
            tags=(options.else_tag,) if options.else_tag else (),
            schemas=(SchemaUse(("schema",), file.path, file.text),),
            types=types,
        )

    def apply(self, batch: Batch) -> Batch:
        """The batch with the tag on records that do not fit; without a tag those are bad."""
        import polars as pl  # noqa: PLC0415 -- keeps Polars out of `check`

        wrong = self.records.wrong(batch)
        if not wrong and self.tag is None:
            return batch
        rows: Sequence[int] = sorted(wrong)
        mask = pl.Series([False] * len(batch), dtype=pl.Boolean)
        if rows:
            mask = mask.scatter(rows, values=True)
        if self.tag is not None:
            return batch.with_tag(self.tag, mask)
        return self.context.bad(batch, mask, "Schema", [wrong[at] for at in rows])

    def close(self) -> Batch | None:
        """Nothing is held back."""
        return None
