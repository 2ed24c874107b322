"""emit: what reaches this step becomes a file of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from filemill.ports.registry import Registry
from filemill.ports.step import Form, Scope, StepContext, StepSpec, Uses
from filemill.steps.children import TAGS_HELP, ChildTags

if TYPE_CHECKING:
    from filemill.records.batch import Batch


class EmitOptions(BaseModel):
    """Options of `emit`."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    tags: ChildTags = Field(default_factory=list, description=TAGS_HELP)
    name: str = Field(
        "{name}",
        description="Its name below its parent's path, with the placeholders of a folder sink.",
    )
    format: str | None = Field(
        None, description="How records are written; as they were read, if not set."
    )

    @model_validator(mode="after")
    def _as_of_a_sink(self) -> EmitOptions:
        """A folder sink writes it, so a folder sink says what is a name and what a format."""
        options = {"folder": "/", "name": self.name, "format": self.format}
        try:
            Registry().get("sinks", "folder").Options.model_validate(options)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            said = str(first.get("ctx", {}).get("error", first["msg"]))
            raise ValueError(f"`{'.'.join(map(str, first['loc']))}`: {said}") from None
        if self.format == "raw":
            raise ValueError("a file that no step has read is emitted as it is: remove `format`")
        return self


class Emit:
    """Emits a child file of the records that reach it, or of the file as it stands, and passes its input on."""

    spec: ClassVar[StepSpec] = StepSpec(
        name="emit",
        summary="Make a file of its own of the records, or of the file, with tags; it is routed anew.",
        example="- emit: {tags: [part], name: part.csv}",
        takes=Form.ANY,
        gives=Form.ANY,
        scope=Scope.FILE,
    )
    Options: ClassVar[type[BaseModel]] = EmitOptions

    def __init__(self, context: StepContext) -> None:
        self.context = context
        self.sinks = context.emit_through()

    @classmethod
    def uses(cls, options: EmitOptions) -> Uses:
        """The tags of its child."""
        return Uses(children=tuple(dict.fromkeys(options.tags)))

    @classmethod
    def behind(cls, options: EmitOptions) -> dict[str, Any]:
        """Options of the folder sink that writes the child."""
        return {"name": options.name, "format": options.format}

    def deliver(self, batch: Batch) -> Batch | None:
        """Add the batch to the child and pass it on."""
        self.context.send(self.sinks, batch)
        return batch

    def deliver_file(self, run: str) -> None:
        """Emit a run's whole file, as earlier steps have left it."""
        self.context.send_file(self.sinks, run)
