"""read_xml: every element of one name in an XML document becomes a record."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from pydantic import BaseModel, ConfigDict, Field, field_validator

from filemill.ports.step import Form, StepContext, StepSpec, Uses
from filemill.steps.reading import TYPES_HELP, ColumnType, request_of

if TYPE_CHECKING:
    from filemill.records.batch import Batch

_NAME = re.compile(r"[^\s<>/@&'\"=]+\Z")


class ReadXmlOptions(BaseModel):
    """Options of `read_xml`."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    record: str = Field(
        description="Name of the elements that are records, wherever they stand; with a prefix (`ns:item`) only those "
        "that are written with it."
    )
    types: dict[str, ColumnType] = Field(default_factory=dict, description=TYPES_HELP)

    @field_validator("record")
    @classmethod
    def _is_a_name(cls, record: str) -> str:
        if not _NAME.match(record):
            raise ValueError(f"`{record}` is no element's name: write it without < and >")
        return record


class ReadXml:
    """Reads XML as it streams by, however large. A record becomes a JSON object; nothing is ever fetched."""

    spec: ClassVar[StepSpec] = StepSpec(
        name="read_xml",
        summary="Read the file as XML: each element of one name is a record, as a JSON object.",
        example="- read_xml: {record: item, types: {price: float}}",
        takes=Form.FILE,
        gives=Form.RECORDS,
        opens=True,
        notes='Elements inside a record are its columns, attributes too, as `@name` (in SQL `"@name"`); several of '
        "one name are an array, text beside others is `#text`, an empty element is null. All values are texts, but for "
        "columns whose type is declared. Records are written as JSON lines unless the sink has a `format:`; "
        "`as: received` is not for them. The document's encoding is the one that it declares. A file with a DOCTYPE is "
        "refused: no entity is expanded, no file or address looked up. So is one that is malformed, cut off, or nested "
        "more than 500 deep.",
    )
    Options: ClassVar[type[BaseModel]] = ReadXmlOptions

    def __init__(self, context: StepContext) -> None:
        self.context = context
        self.options: ReadXmlOptions = context.options

    @classmethod
    def uses(cls, options: ReadXmlOptions) -> Uses:  # noqa: ARG003
        """No expressions, tags or sinks."""
        return Uses()

    def read(self) -> Iterator[Batch]:
        """Batches of records."""
        from filemill.formats.xml import XmlReader  # noqa: PLC0415 -- keeps Polars out of `check`

        request = request_of(self.context, self.options.types)
        yield from XmlReader(request, record=self.options.record).read()
