"""parse_json: JSON inside a text column."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from filemill.ports.step import StepContext, StepSpec, Uses
from filemill.steps.reading import ColumnType
from filemill.steps.tagging import ElseTag

if TYPE_CHECKING:
    from filemill.records.batch import Batch


class ParseJsonOptions(BaseModel):
    """Options of `parse_json`."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    column: str = Field(min_length=1, description="The column whose text is JSON.")
    into: Literal["columns", "value"] = Field(
        default="columns",
        description="columns: each key of the object becomes a column. value: the column itself holds the parsed "
        "value, of whatever kind, instead of a text.",
    )
    prefix: str = Field(default="", description="Put before each key's name.")
    keys: list[str] | None = Field(
        default=None, min_length=1, description="Only these keys become columns; all unless set."
    )
    keep: bool = Field(default=False, description="Keep the column beside those made of it.")
    types: dict[str, ColumnType] = Field(
        default_factory=dict,
        description="New column to type (`integer`, `float`, `boolean`, `text`). A value that does not fit makes its "
        "record bad. In csv other new columns are text.",
    )
    else_tag: ElseTag = Field(
        default=None,
        description="A record whose JSON is bad gets this tag and stays as it is, instead of being a bad record.",
    )

    @model_validator(mode="after")
    def _fits(self) -> ParseJsonOptions:
        if self.into == "value" and (self.prefix or self.keys or self.keep or self.types):
            raise ValueError("`prefix`, `keys`, `keep` and `types` are for `into: columns`")
        return self


class ParseJson:
    """Parses JSON that is a column's text; what it says keeps its text (`1.10`, nested values)."""

    spec: ClassVar[StepSpec] = StepSpec(
        name="parse_json",
        summary="Parse the JSON in a text column: its keys become columns.",
        example="- parse_json: {column: payload, prefix: payload_}",
        shorthand="column",
        makes_tags=True,
        makes_columns=True,
        notes="Values keep their text (`1.10`, nested objects). An empty text, null or an absent column has nothing to "
        "parse: such a record passes as it is. A key that is a column already makes the record bad, as bad JSON does: "
        "`prefix` keeps them apart. In csv the column stays, empty where it was parsed, if it is the only one or if "
        "`else_tag` may leave bad JSON in it. Lines become JSON records.",
    )
    Options: ClassVar[type[BaseModel]] = ParseJsonOptions

    def __init__(self, context: StepContext) -> None:
        from filemill.records.unfolding import Unfolding  # noqa: PLC0415 -- keeps Polars out of `check`

        self.context = context
        self.options: ParseJsonOptions = context.options
        options = self.options
        self.unfolding = Unfolding(
            options.column,
            prefix=options.prefix,
            keys=None if options.keys is None else frozenset(options.keys),
            keep=options.keep,
            as_value=options.into == "value",
            stays=options.else_tag is not None,
            types=options.types,
        )

    @classmethod
    def uses(cls, options: ParseJsonOptions) -> Uses:
        """Its tag."""
        return Uses(tags=(options.else_tag,) if options.else_tag else ())

    def apply(self, batch: Batch) -> Batch:
        """The batch with its columns; a record with bad JSON is bad, or tagged."""
        tag, own = self.options.else_tag, batch.own
        found = self.unfolding.read(batch)
        if found.bad is not None and tag is None:
            batch = self.context.bad(batch, found.bad, "Json", found.messages)
            found = found.without_bad()
        elif found.bad is not None and tag is not None:
            batch = batch.with_tag(tag, found.bad)
        batch.own = own
        return self.unfolding.write(batch, found) if len(batch) else batch

    def close(self) -> Batch | None:
        """Nothing is held back."""
        return None
