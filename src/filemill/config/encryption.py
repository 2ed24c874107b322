"""`encryption:` as people write it: for whom, by which identity, and where plain bytes may be."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from filemill.ports.units import LocalPath


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Secret(_Strict):
    """A secret in place of a path."""

    secret: str = Field(
        min_length=1, description="NAME of an environment variable, or NAME_FILE of a file."
    )


def _checked_recipient(text: str) -> str:
    if not text.startswith("age1"):
        raise ValueError("this is not a recipient: write age1... (`filemill encryption init`)")
    return text


class Encryption(_Strict):
    """What lies in the data directory is encrypted (age). Needs `filemill[encryption]`."""

    recipients: Annotated[
        list[Annotated[str, AfterValidator(_checked_recipient)]],
        BeforeValidator(lambda value: [value] if isinstance(value, str) else value),
        WithJsonSchema(
            {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
        ),
    ] = Field(
        min_length=1,
        description="For whom content is encrypted: `age1...`, one or several. Each of their identities opens it.",
    )
    identity: LocalPath | Secret = Field(
        description="The identity that opens it: a file (0600) that `filemill encryption init` made, or "
        "`{secret: NAME}`. Workers get it, and the process that opens downloads; nothing else.",
    )
    workspace: LocalPath | None = Field(
        None,
        description="A folder in memory (tmpfs), where workers have the plain bytes of what they work on; a folder of "
        "its own in /dev/shm unless set. Files that it cannot hold fail.",
    )
