"""tag_records: give records tags by conditions, for `if:` and `route` to use."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import BaseModel, ConfigDict, Field, field_validator

from filemill.ports.step import ExpressionUse, StepContext, StepSpec, Uses
from filemill.steps.tagging import a_tag

if TYPE_CHECKING:
    from filemill.records.batch import Batch


class TagRecordsOptions(BaseModel):
    """Options of `tag_records`."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    tags: dict[str, str] = Field(
        min_length=1,
        description="Tag to SQL condition. A record for which it is true gets the tag; null counts as false.",
    )

    @field_validator("tags")
    @classmethod
    def _are_tags(cls, tags: dict[str, str]) -> dict[str, str]:
        for tag in tags:
            a_tag(tag)
        return tags


class TagRecords:
    """Adds tags to records; changes nothing else."""

    spec: ClassVar[StepSpec] = StepSpec(
        name="tag_records",
        summary="Give records tags by SQL conditions.",
        example='- tag_records: {vip: "amount > 10000", late: "due < shipped"}',
        makes_tags=True,
        shorthand="tags",
        shorthand_only=True,
    )
    Options: ClassVar[type[BaseModel]] = TagRecordsOptions

    def __init__(self, context: StepContext) -> None:
        self.context = context
        self.conditions = [
            (tag, context.expression(sql)) for tag, sql in context.options.tags.items()
        ]

    @classmethod
    def uses(cls, options: TagRecordsOptions) -> Uses:
        """Its conditions and tags."""
        return Uses(
            expressions=tuple(
                ExpressionUse((tag,), sql, predicate=True, gives=tag)
                for tag, sql in options.tags.items()
            ),
            tags=tuple(options.tags),
        )

    def apply(self, batch: Batch) -> Batch:
        """The batch with its tags; a record whose condition cannot be computed is bad."""
        from filemill.records.expressions import Troubles, view  # noqa: PLC0415 -- keeps Polars out of `check`

        troubles = Troubles(batch)
        for tag, condition in self.conditions:
            judged = condition.judge_truth(view(batch, condition.columns))
            troubles.note(judged)
            batch = batch.with_tag(tag, judged.values)
        return troubles.report(self.context, batch)

    def close(self) -> Batch | None:
        """Nothing is held back."""
        return None
