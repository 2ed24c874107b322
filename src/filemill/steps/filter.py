"""filter: keep the records for which a condition is true, count the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from filemill.ports.step import ExpressionUse, StepContext, StepSpec, Uses

if TYPE_CHECKING:
    from filemill.records.batch import Batch


class FilterOptions(BaseModel):
    """Options of `filter`."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    where: str = Field(
        description="SQL condition; a record for which it is not true (null included) is dropped and counted."
    )


class Filter:
    """Drops records on purpose; none is dropped uncounted."""

    spec: ClassVar[StepSpec] = StepSpec(
        name="filter",
        summary="Keep the records for which a SQL condition is true.",
        example='- filter: "amount > 0"',
        shorthand="where",
        shorthand_only=True,
    )
    Options: ClassVar[type[BaseModel]] = FilterOptions

    def __init__(self, context: StepContext) -> None:
        self.context = context
        self.condition = context.expression(context.options.where)

    @classmethod
    def uses(cls, options: FilterOptions) -> Uses:
        """Its condition."""
        return Uses(expressions=(ExpressionUse((), options.where, predicate=True),))

    def apply(self, batch: Batch) -> Batch:
        """The records that stay; one for which the condition cannot be computed is bad."""
        from filemill.records.expressions import Troubles, view  # noqa: PLC0415 -- keeps Polars out of `check`

        judged = self.condition.judge_truth(view(batch, self.condition.columns))
        stays = judged.values
        if judged.bad is not None:
            troubles = Troubles(batch)
            troubles.note(judged)
            batch = troubles.report(self.context, batch)
            stays = stays.filter(~judged.bad)
        kept = batch.where(stays)
        self.context.count(filtered=len(batch) - len(kept))
        return kept

    def close(self) -> Batch | None:
        """Nothing is held back."""
        return None
