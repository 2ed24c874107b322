"""hold: have a run wait for a person."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from filemill.ports.step import Form, StepContext, StepSpec, Uses

if TYPE_CHECKING:
    from filemill.records.batch import Batch


class HoldOptions(BaseModel):
    """Options of `hold`."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    message: str = Field(
        min_length=1,
        max_length=1_000,
        description="What the person is told who decides.",
    )
    choices: list[str] = Field(
        default_factory=list, description="The answers there are, for the person to choose from."
    )


class Hold:
    """Holds the run when any record reaches it, or, where no step has read the file, when the file does.

    A held file goes no further. Of records the rest of the file is still worked on, so that a person sees all there is
    to see; nothing of it is published either way. Usually under `if:`.
    """

    spec: ClassVar[StepSpec] = StepSpec(
        name="hold",
        summary="Have the run wait for a person; nothing of it is published.",
        example='- hold: "amounts over a million: is this right?"\n  if: huge',
        takes=Form.ANY,
        gives=Form.ANY,
        shorthand="message",
        notes="A file that is held before it is read goes no further. Where a record asks for it, the rest of the file "
        "is still worked on, so that a person sees all there is to see, and functions of your own are called for it. "
        "Nothing of the run is published either way.",
    )
    Options: ClassVar[type[BaseModel]] = HoldOptions

    def __init__(self, context: StepContext) -> None:
        self.context = context
        self.options: HoldOptions = context.options

    @classmethod
    def uses(cls, options: HoldOptions) -> Uses:  # noqa: ARG003
        """No expressions, tags or sinks."""
        return Uses()

    def deliver(self, batch: Batch) -> Batch | None:
        """Hold the runs of these records, and pass them on."""
        lines = batch.frame.get_column("_line")
        for file, start, _ in batch.split_files():
            self._hold(file, int(lines[start]))
        return batch

    def deliver_file(self, run: str) -> None:
        """Hold this run."""
        at = next(at for at, order in enumerate(self.context.orders) if order.run == run)
        self._hold(at, 0)

    def _hold(self, order: int, line: int) -> None:
        options = self.options
        self.context.hold(order, options.message, choices=options.choices, line=line)
