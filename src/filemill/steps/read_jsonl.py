"""read_jsonl: every line of the file is one JSON object."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from filemill.ports.step import Form, StepContext, StepSpec, Uses
from filemill.steps.reading import TYPES_HELP, ColumnType, request_of

if TYPE_CHECKING:
    from filemill.formats.jsonl import JsonlReader
    from filemill.records.batch import Batch


class ReadJsonlOptions(BaseModel):
    """Options of `read_jsonl`."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    types: dict[str, ColumnType] = Field(default_factory=dict, description=TYPES_HELP)


class ReadJsonl:
    """Reads JSON lines; a record keeps the text it came in."""

    spec: ClassVar[StepSpec] = StepSpec(
        name="read_jsonl",
        summary="Read the file as JSON lines: one object a record.",
        example="- read_jsonl: {types: {amount: float}}",
        takes=Form.FILE,
        gives=Form.RECORDS,
        opens=True,
    )
    Options: ClassVar[type[BaseModel]] = ReadJsonlOptions

    def __init__(self, context: StepContext) -> None:
        self.context = context
        self.options: ReadJsonlOptions = context.options

    @classmethod
    def uses(cls, options: ReadJsonlOptions) -> Uses:  # noqa: ARG003
        """No expressions, tags or sinks."""
        return Uses()

    def read(self) -> Iterator[Batch]:
        """Batches of objects."""
        yield from self._reader().read()

    def cut(self) -> list[int]:
        """Where its chunks end: behind a line."""
        return self._reader().cut()

    def _reader(self) -> JsonlReader:
        from filemill.formats.jsonl import JsonlReader  # noqa: PLC0415 -- keeps Polars out of `check`

        return JsonlReader(request_of(self.context, self.options.types))
