"""map: a Python function as a step, with its path as an option."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from filemill.ports.step import Form, Grain, StepSpec
from filemill.steps.python import PythonStep


class MapOptions(BaseModel):
    """Options of `map`."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_by_name=True)
    function: str = Field(
        pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)+$",
        description="Dotted path of the function: `module.name`, looked up beside the configuration first.",
    )
    with_: dict[str, Any] = Field(
        default_factory=dict, alias="with", description="The function's options."
    )


class Map(PythonStep):
    """The step behind a dotted path, spelled out: `- map: steps.add_vat` is `- steps.add_vat`."""

    spec: ClassVar[StepSpec] = StepSpec(
        name="map",
        summary="Call a Python function of your own, by its dotted path.",
        example="- map: {function: steps.add_vat, with: {rate: 0.2}}",
        takes=Form.ANY,
        gives=Form.ANY,
        grain=Grain.RECORD,
        makes_tags=True,
        shorthand="function",
        notes="The same as the path as the step's name: `- steps.add_vat: {rate: 0.2}`. What one call sees is said by "
        "the annotation of the function's first argument. A function of a table (`polars.DataFrame`) sees the columns "
        "that its batch has, which in JSON lines are the members that occur in it. Where it raises, the batch is "
        "halved and it is called again until the records it raises over are found: these are bad, the others go on.",
    )
    Options: ClassVar[type[BaseModel]] = MapOptions

    @classmethod
    def called(cls, uses: str, options: Any) -> tuple[str, dict[str, Any]]:  # noqa: ARG003
        """The function's path and its options."""
        return options.function, options.with_
