"""select: keep only these columns, in this order."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import BaseModel, ConfigDict, Field, field_validator

from filemill.ports.step import ExpressionUse, StepContext, StepSpec, Uses

if TYPE_CHECKING:
    import polars as pl

    from filemill.records.batch import Batch


class SelectOptions(BaseModel):
    """Options of `select`."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    columns: list[str | dict[str, str]] = Field(
        min_length=1,
        description="Columns to keep: a name, or `{name: SQL expression}` for a computed one.",
    )

    @field_validator("columns")
    @classmethod
    def _are_distinct(cls, columns: list[str | dict[str, str]]) -> list[str | dict[str, str]]:
        seen: set[str] = set()
        for column in columns:
            for name in [column] if isinstance(column, str) else list(column):
                if name in seen:
                    raise ValueError(f"column `{name}` is there twice")
                seen.add(name)
        return columns

    def named(self) -> list[tuple[str, str | None]]:
        """(column, expression or None to keep the record's own cell), in order."""
        found: list[tuple[str, str | None]] = []
        for column in self.columns:
            if isinstance(column, str):
                found.append((column, None))
            else:
                found.extend(column.items())
        return found


class Select:
    """Keeps only the named columns; a kept cell keeps its text."""

    spec: ClassVar[StepSpec] = StepSpec(
        name="select",
        summary="Keep only these columns, in this order.",
        example='- select: [order_id, {country: "UPPER(country)"}]',
        shorthand="columns",
        shorthand_only=True,
    )
    Options: ClassVar[type[BaseModel]] = SelectOptions

    def __init__(self, context: StepContext) -> None:
        self.context = context
        self.columns = [
            (name, None if sql is None else context.expression(sql))
            for name, sql in context.options.named()
        ]

    @classmethod
    def uses(cls, options: SelectOptions) -> Uses:
        """Its expressions."""
        return Uses(
            expressions=tuple(
                ExpressionUse((at, name), sql, predicate=False, gives=name)
                for at, column in enumerate(options.columns)
                if isinstance(column, dict)
                for name, sql in column.items()
            ),
            selects=tuple(name for name, _ in options.named()),
        )

    def apply(self, batch: Batch) -> Batch:
        """The batch with only these columns; a record for which one cannot be computed is bad."""
        from filemill.records.expressions import Troubles, view  # noqa: PLC0415 -- keeps Polars out of `check`

        troubles = Troubles(batch)
        columns: list[tuple[str, pl.Series | None]] = []
        for name, expression in self.columns:
            if expression is None:
                columns.append((name, None))
                continue
            judged = expression.judge(view(batch, expression.columns))
            troubles.note(judged)
            columns.append((name, judged.values))
        return troubles.report(self.context, batch.select(columns))

    def close(self) -> Batch | None:
        """Nothing is held back."""
        return None
