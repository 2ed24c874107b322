"""read_json: the objects of a JSON array, or one JSON object."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, field_validator

from filemill.ports.step import Form, StepContext, StepSpec, Uses
from filemill.steps.reading import TYPES_HELP, ColumnType, request_of

if TYPE_CHECKING:
    from filemill.records.batch import Batch

_KEYS: dict[str, Any] = {
    "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]
}


def _keys(value: Any) -> Any:
    return value.split(".") if isinstance(value, str) else value


class ReadJsonOptions(BaseModel):
    """Options of `read_json`."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    at: Annotated[list[str], BeforeValidator(_keys), WithJsonSchema(_KEYS)] = Field(
        default_factory=list,
        description="Keys that lead to the array (`data.items`; a list if a key has a dot); "
        "unless set, the file is the array itself, or one object.",
    )
    types: dict[str, ColumnType] = Field(default_factory=dict, description=TYPES_HELP)

    @field_validator("at")
    @classmethod
    def _are_keys(cls, at: list[str]) -> list[str]:
        if any(not key for key in at):
            raise ValueError("a key is empty: write the keys to the array, such as data.items")
        return at


class ReadJson:
    """Reads a JSON array of objects, however large, or one object. A record keeps the text it came in."""

    spec: ClassVar[StepSpec] = StepSpec(
        name="read_json",
        summary="Read the file as JSON: an array of objects, each one a record, or one object.",
        example="- read_json: {at: data.items, types: {amount: float}}",
        takes=Form.FILE,
        gives=Form.RECORDS,
        opens=True,
        notes="Records keep their text and are written as JSON lines unless the sink has a `format:`. One that spans "
        "several lines in the file becomes one line: white space outside of strings goes; numbers, strings and the "
        "order of keys stay. A sink with `as: received` gets it as it came, in an array at the same keys. A file that "
        "is cut off or malformed around its records is refused as a whole; an element that is no object is a bad "
        "record.",
    )
    Options: ClassVar[type[BaseModel]] = ReadJsonOptions

    def __init__(self, context: StepContext) -> None:
        self.context = context
        self.options: ReadJsonOptions = context.options

    @classmethod
    def uses(cls, options: ReadJsonOptions) -> Uses:  # noqa: ARG003
        """No expressions, tags or sinks."""
        return Uses()

    def read(self) -> Iterator[Batch]:
        """Batches of objects."""
        from filemill.formats.json import JsonReader  # noqa: PLC0415 -- keeps Polars out of `check`

        request = request_of(self.context, self.options.types)
        yield from JsonReader(request, path=self.options.at).read()
