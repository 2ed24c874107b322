"""What a folder sink can be told."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic.json_schema import SkipJsonSchema

from filemill.sinks import naming
from filemill.sinks.permitting import Permissions, checked


def _mode(value: Any) -> Any:
    """`0640` and `640` are octal, as chmod reads them; a number (a dumped model's) passes."""
    if isinstance(value, str):
        if not re.fullmatch(r"0?o?[0-7]{3}", value):
            raise ValueError(f"`{value}` is no file mode: write three octal digits, such as 0640")
        return int(value.replace("o", ""), 8)
    return value


def _recipients(value: Any) -> Any:
    """One or several recipients; `false`, which stays what it is, says that there are none."""
    if value is False or (isinstance(value, str) and value.lower() == "false"):
        return False
    texts = [value] if isinstance(value, str) else value
    if isinstance(texts, list | tuple):
        if not texts:
            raise ValueError("nobody could read it: write age1..., or false")
        for text in texts:
            if not isinstance(text, str) or not text.startswith("age1"):
                raise ValueError(
                    "this is not a recipient: write age1..., as `filemill encryption init` prints it"
                )
        return tuple(texts)
    return texts


def _not_yet(value: Any) -> Any:
    if value is not None:
        raise ValueError("not available in this version")
    return value


_NotYet = SkipJsonSchema[Annotated[None, BeforeValidator(_not_yet)]]


class FolderOptions(BaseModel):
    """Options of a folder sink."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
    )
    folder: str = Field(min_length=1, description="Where outputs appear; made if it is missing.")
    name: str = Field(
        "{path}",
        description="Name below the folder, of {path} {stem} {name} {ext} {date} {time} {digest8} {id} "
        "{pipeline} {tag:X} and text. {date} is the file's arrival.",
    )
    format: Literal["csv", "jsonl", "json", "lines", "parquet", "raw"] | None = Field(
        None,
        description="How records are written; if not set, as they were read (`read_json`, `read_parquet` and "
        "`read_xml`: jsonl). json: one array. parquet: each column has the one type (integer, float, boolean, else "
        "text) that all the file's records fit; those read from Parquet keep theirs; nested values are JSON texts. "
        "raw: whole files only.",
    )
    compress: Literal["gz", "zst"] | None = Field(
        None,
        description="Compress each output, whose name gets `.gz` or `.zst`. In parquet the columns are compressed, "
        "with zst unless set.",
    )
    encrypt: Annotated[
        tuple[str, ...] | Literal[False] | None,
        BeforeValidator(_recipients),
        WithJsonSchema(
            {
                "anyOf": [
                    {"type": "string"},
                    {"type": "array", "items": {"type": "string"}, "minItems": 1},
                    {"const": False},
                ]
            }
        ),
    ] = Field(
        None,
        description="Encrypt each output (age) for these recipients, `age1...`, one or several; its name gets `.age`. "
        "false: it is plain, which a configuration with `encryption:` wants said.",
    )
    collision: Literal["suffix", "replace", "fail"] = Field(
        "suffix", description="What a taken name does: a-2.csv, replace the file, or a dead letter."
    )
    empty: Literal["none", "write"] = Field(
        "none", description="What a run without records for this sink leaves: nothing, or a header."
    )
    as_: Literal["received"] | None = Field(
        None,
        alias="as",
        description="received: the records' original bytes under the original header.",
    )
    formulas: Literal["keep", "escape"] = Field(
        "keep",
        description="escape: in csv, cells that a spreadsheet would take for a formula (they begin with = + - @ or a "
        "tab) get a `'` before them; numbers stay numbers. Against CSV injection, in files that people open.",
    )
    mode: Annotated[
        int | None,
        BeforeValidator(_mode),
        WithJsonSchema({"type": "string", "pattern": "^0?o?[0-7]{3}$"}),
    ] = Field(
        None, ge=0, le=0o777, description="Permissions of outputs; 0666 less the umask if not set."
    )
    owner: Annotated[str, AfterValidator(checked)] | None = Field(
        None,
        description="Whose outputs are: user, user:group or :group, names or numbers. Only root can give files to "
        "others; a group of this user's own needs no root. If not set: the user that runs filemill.",
    )
    manifest: _NotYet = Field(None, exclude=True)
    rate: _NotYet = Field(None, exclude=True)

    @property
    def permissions(self) -> Permissions:
        """Whose outputs are, and who may read them."""
        return Permissions(self.mode, self.owner or "")

    @field_validator("name")
    @classmethod
    def _check_name(cls, name: str) -> str:
        naming.check_template(name)
        return name

    @model_validator(mode="after")
    def _check_format(self) -> FolderOptions:
        if self.as_ is not None and self.format is not None:
            raise ValueError("`as: received` keeps the input's format: remove `format`")
        if self.formulas == "escape" and (self.as_ or self.format not in (None, "csv")):
            said = "as: received" if self.as_ else f"format: {self.format}"
            raise ValueError(f"`formulas: escape` is for csv, not for `{said}`: remove one of them")
        if self.compress is not None and self.format == "raw":
            raise ValueError("`format: raw` copies files as they are: remove `compress`")
        return self
