"""derive: add or replace columns by expressions."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from filemill.ports.step import ExpressionUse, StepContext, StepSpec, Uses

if TYPE_CHECKING:
    from filemill.records.batch import Batch


class DeriveOptions(BaseModel):
    """Options of `derive`."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    columns: dict[str, str] = Field(
        min_length=1,
        description="Column to SQL expression, in order: each one sees the columns made before it.",
    )


class Derive:
    """Adds or replaces columns; every other cell keeps its text."""

    spec: ClassVar[StepSpec] = StepSpec(
        name="derive",
        summary="Add or replace columns by SQL expressions.",
        example='- derive: {slow: "latency_ms >= 1000", total: "price * quantity"}',
        shorthand="columns",
        shorthand_only=True,
    )
    Options: ClassVar[type[BaseModel]] = DeriveOptions

    def __init__(self, context: StepContext) -> None:
        self.context = context
        self.columns = [
            (name, context.expression(sql)) for name, sql in context.options.columns.items()
        ]

    @classmethod
    def uses(cls, options: DeriveOptions) -> Uses:
        """Its expressions."""
        return Uses(
            expressions=tuple(
                ExpressionUse((name,), sql, predicate=False, gives=name)
                for name, sql in options.columns.items()
            )
        )

    def apply(self, batch: Batch) -> Batch:
        """The batch with its columns; a record for which one cannot be computed is bad."""
        from filemill.records.expressions import Troubles, view  # noqa: PLC0415 -- keeps Polars out of `check`

        troubles = Troubles(batch)
        for name, expression in self.columns:
            judged = expression.judge(view(batch, expression.columns))
            troubles.note(judged)
            batch = batch.with_column(name, judged.values)
        return troubles.report(self.context, batch)

    def close(self) -> Batch | None:
        """Nothing is held back."""
        return None
