"""write: send everything to sinks and pass it on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from filemill.ports.step import Form, StepContext, StepSpec, Uses

if TYPE_CHECKING:
    from filemill.records.batch import Batch


_SINKS: dict[str, Any] = {
    "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]
}


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class WriteOptions(BaseModel):
    """Options of `write`."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    to: Annotated[list[str], BeforeValidator(_as_list), WithJsonSchema(_SINKS)] = Field(
        min_length=1, description="A sink, or a list of sinks."
    )


class Write:
    """Sends records, or the whole file where no step has read it, to sinks; passes its input on."""

    spec: ClassVar[StepSpec] = StepSpec(
        name="write",
        summary="Send records, or the file as it is, to sinks.",
        example="- write: photos",
        takes=Form.ANY,
        gives=Form.ANY,
        shorthand="to",
        shorthand_only=True,
    )
    Options: ClassVar[type[BaseModel]] = WriteOptions

    def __init__(self, context: StepContext) -> None:
        self.context = context
        self.sinks: list[str] = list(dict.fromkeys(context.options.to))

    @classmethod
    def uses(cls, options: WriteOptions) -> Uses:
        """Its sinks."""
        return Uses(sinks=tuple(dict.fromkeys(options.to)))

    def deliver(self, batch: Batch) -> Batch | None:
        """Send the batch and pass it on."""
        self.context.send(self.sinks, batch)
        return batch

    def deliver_file(self, run: str) -> None:
        """Send a run's whole file, unchanged."""
        self.context.send_file(self.sinks, run)
