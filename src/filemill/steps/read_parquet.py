"""read_parquet: every row of a Parquet file becomes a record."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from filemill.ports.step import Form, StepContext, StepSpec, Uses
from filemill.steps.reading import request_of

if TYPE_CHECKING:
    from filemill.records.batch import Batch


class ReadParquetOptions(BaseModel):
    """Options of `read_parquet`."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    columns: list[str] | None = Field(
        default=None,
        min_length=1,
        description="Only these columns are read, in this order; all of them unless set.",
    )
    nan: Literal["bad", "null"] = Field(
        default="bad",
        description="NaN and infinity, which no text format can hold: a bad record, or null.",
    )


class ReadParquet:
    """Reads Parquet, a row group at a time. A row has no text of its own: it becomes one as a JSON object."""

    spec: ClassVar[StepSpec] = StepSpec(
        name="read_parquet",
        summary="Read the file as Parquet: one record a row, as a JSON object.",
        example="- read_parquet: {columns: [id, amount]}",
        takes=Form.FILE,
        gives=Form.RECORDS,
        notes="A row becomes a JSON object without loss: numbers keep all their digits (decimals too), dates, times "
        "and durations are texts in ISO 8601, binary is base64, lists and structs are arrays and objects (decimals in "
        "them are texts), a null is a member that is null. What has no such text (NaN, years beyond 9999) makes a bad "
        "record. Line numbers are row numbers. Records are written as JSON lines unless the sink has a `format:`; in "
        "`format: parquet` columns keep their types. `as: received` is not for these records.",
    )
    Options: ClassVar[type[BaseModel]] = ReadParquetOptions

    def __init__(self, context: StepContext) -> None:
        self.context = context
        self.options: ReadParquetOptions = context.options

    @classmethod
    def uses(cls, options: ReadParquetOptions) -> Uses:  # noqa: ARG003
        """No expressions, tags or sinks."""
        return Uses()

    def read(self) -> Iterator[Batch]:
        """Batches of rows."""
        from filemill.formats.parquet import ParquetReader  # noqa: PLC0415 -- keeps Polars out of `check`

        reader = ParquetReader(
            request_of(self.context), columns=self.options.columns, nan=self.options.nan
        )
        yield from reader.read()
