"""read_csv: every row of the file becomes a record."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from filemill.ports.step import Form, StepContext, StepSpec, Uses
from filemill.steps.reading import TYPES_HELP, ColumnType, request_of

if TYPE_CHECKING:
    from filemill.formats.csv import CsvReader
    from filemill.records.batch import Batch


class ReadCsvOptions(BaseModel):
    """Options of `read_csv`."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    types: dict[str, ColumnType] = Field(default_factory=dict, description=TYPES_HELP)
    separator: str | None = Field(
        default=None,
        min_length=1,
        max_length=1,
        description="One character between cells; found in the header (`,` `;` tab `|`) unless set.",
    )
    quoting: Literal["minimal", "none"] = Field(
        default="minimal", description="`none`: quotes are ordinary characters."
    )
    quote: str = Field(
        default='"', min_length=1, max_length=1, description="The character that quotes a cell."
    )
    header: bool = Field(
        default=True, description="False: the first row is a record; set `columns`."
    )
    columns: list[str] = Field(
        default_factory=list, description="Names of the columns of a file without a header."
    )

    @model_validator(mode="after")
    def _names_columns(self) -> ReadCsvOptions:
        if self.header and self.columns:
            raise ValueError("`columns` is for files without a header: set `header: false`")
        if not self.header and not self.columns:
            raise ValueError("a file without a header needs `columns`")
        return self


class ReadCsv:
    """Reads CSV; a cell that no step changes keeps its text."""

    spec: ClassVar[StepSpec] = StepSpec(
        name="read_csv",
        summary="Read the file as CSV: one record a row.",
        example="- read_csv: {types: {amount: float}}",
        takes=Form.FILE,
        gives=Form.RECORDS,
        opens=True,
    )
    Options: ClassVar[type[BaseModel]] = ReadCsvOptions

    def __init__(self, context: StepContext) -> None:
        self.context = context
        self.options: ReadCsvOptions = context.options

    @classmethod
    def uses(cls, options: ReadCsvOptions) -> Uses:  # noqa: ARG003
        """No expressions, tags or sinks."""
        return Uses()

    def read(self) -> Iterator[Batch]:
        """Batches of rows."""
        yield from self._reader().read()

    def cut(self) -> list[int]:
        """Where its chunks end: at rows, as far as counting quotes tells."""
        return self._reader().cut()

    def _reader(self) -> CsvReader:
        from filemill.formats.csv import CsvReader  # noqa: PLC0415 -- keeps Polars out of `check`

        options = self.options
        return CsvReader(
            request_of(self.context, options.types),
            separator=options.separator,
            quote=None if options.quoting == "none" else options.quote,
            header=options.header,
            columns=options.columns,
        )
