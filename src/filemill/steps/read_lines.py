"""read_lines: every line of the file becomes a record with one column, `line`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from filemill.ports.step import Form, StepContext, StepSpec, Uses
from filemill.steps.reading import request_of

if TYPE_CHECKING:
    from filemill.formats.lines import LinesReader
    from filemill.records.batch import Batch


class ReadLinesOptions(BaseModel):
    """Options of `read_lines`."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    keep_blank: bool = Field(
        default=False,
        description="Keep blank lines as records instead of skipping and counting them.",
    )


class ReadLines:
    """Reads plain lines; blank ones are skipped and counted unless they are to be kept."""

    spec: ClassVar[StepSpec] = StepSpec(
        name="read_lines",
        summary="Read the file as lines: one record each, with one column, `line`.",
        example="- read_lines",
        takes=Form.FILE,
        gives=Form.RECORDS,
        opens=True,
    )
    Options: ClassVar[type[BaseModel]] = ReadLinesOptions

    def __init__(self, context: StepContext) -> None:
        self.context = context
        self.options: ReadLinesOptions = context.options

    @classmethod
    def uses(cls, options: ReadLinesOptions) -> Uses:  # noqa: ARG003
        """No expressions, tags or sinks."""
        return Uses()

    def read(self) -> Iterator[Batch]:
        """Batches of lines."""
        yield from self._reader().read()

    def cut(self) -> list[int]:
        """Where its chunks end: behind a line."""
        return self._reader().cut()

    def _reader(self) -> LinesReader:
        from filemill.formats.lines import LinesReader  # noqa: PLC0415 -- keeps Polars out of `check`

        return LinesReader(request_of(self.context), keep_blank=self.options.keep_blank)
