"""The http source: files that are sent to the server over HTTP."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from filemill.ports.examining import Finding, Level
from filemill.ports.source import SourceContext, SourceSettings, SourceSpec
from filemill.ports.units import Size, format_size

_PATH = re.compile(r"/[a-z0-9_-]+(/[a-z0-9_-]+)*\Z")
UPLOADS = "/uploads"
MAX_SIZE = 1 << 30
"""Of one file unless the source says otherwise: strangers may not fill the disk."""


def _one_or_many(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


def _checked_path(path: str) -> str:
    if not _PATH.match(path):
        raise ValueError(
            f"`{path}` is no path to send files to: write one such as /upload, of a-z, 0-9, `_`, `-`"
        )
    if path == UPLOADS or path.startswith(f"{UPLOADS}/"):
        raise ValueError(f"`{path}`: {UPLOADS} is where uploads in parts go; write another path")
    return path


def _no_folder(tags: tuple[str, ...]) -> tuple[str, ...]:
    for tag in tags:
        if "{dir}" in tag:
            raise ValueError(
                f"`{tag}`: what is sent lies in no folder; {{dir}} is of folder sources"
            )
    return tags


Texts = Annotated[tuple[str, ...], BeforeValidator(_one_or_many)]


class HttpSource:
    """Files that are sent to one path. They are written and judged where HTTP is served, and taken in by intake.

    There is nothing to watch: an upload is acknowledged before it is answered, or it was never there.
    """

    spec = SourceSpec(
        name="http",
        summary="files sent over HTTP",
        example="upload: {http: /upload, max_size: 200MB, types: [text/csv, image/*], tags: ['from:upload']}",
    )

    class Options(BaseModel):
        """The keys of an http source."""

        model_config = ConfigDict(extra="forbid", frozen=True)

        http: Annotated[str, AfterValidator(_checked_path)] = Field(
            description="the path that files are sent to, such as /upload"
        )
        tags: Annotated[Texts, AfterValidator(_no_folder)] = Field(
            (), description="tags of its files"
        )
        max_size: Size = Field(MAX_SIZE, description="larger files are refused while they are sent")
        types: Texts = Field(
            (),
            description="only these: media types (`image/*`), which content and name must both be of, "
            "or names (`*.csv`)",
        )
        after: Literal["archive", "delete"] = Field(
            "archive", description="the bytes when every run is done"
        )
        duplicates: Literal["process", "hold", "skip"] = Field(
            "process", description="a file whose content came before"
        )
        priority: int = Field(0, description="higher ones run first")

    def __init__(self, context: SourceContext) -> None:
        self._context = context
        self._options: HttpSource.Options = context.options

    def settings(self) -> SourceSettings:
        """What intake needs to know of it."""
        options = self._options
        return SourceSettings(
            name=self._context.name,
            root=b"",
            after=options.after,
            duplicates=options.duplicates,
            max_size=options.max_size,
            types=options.types,
            tags=options.tags,
            priority=options.priority,
        )

    def watching(self) -> tuple[str, str]:
        """(its path, what is accepted), for people."""
        return f"POST {self._options.http}", f"up to {format_size(self._options.max_size)}"

    async def start(self) -> None:
        """Nothing is to be watched."""

    async def stop(self) -> None:
        """Nothing is watched."""

    async def scanned(self) -> None:
        """Nothing waits outside: what was answered is taken."""

    def examine(self) -> list[Finding]:
        """What it accepts."""
        what = f"POST {self._options.http}, up to {format_size(self._options.max_size)} a file"
        return [Finding(Level.OK, f"source {self._context.name}", what)]
