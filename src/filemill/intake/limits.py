"""What a source accepts by size and name, before anything looks inside a file; and the tags a source gives."""

from __future__ import annotations

import fnmatch
import mimetypes

from filemill.model.tags import quote_tag_part
from filemill.ports.source import SourceSettings
from filemill.ports.units import format_size

_TYPES = mimetypes.MimeTypes(filenames=())
"""Python's own table only: what a machine has in /etc/mime.types must not decide what is taken."""
for _ending, _media in (
    (".jsonl", "application/x-ndjson"),
    (".ndjson", "application/x-ndjson"),
    (".log", "text/plain"),
    (".parquet", "application/vnd.apache.parquet"),
    (".yaml", "application/yaml"),
    (".yml", "application/yaml"),
    (".tsv", "text/tab-separated-values"),
    (".xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    (".zst", "application/zstd"),
):
    _TYPES.add_type(_media, _ending)


def refusal(settings: SourceSettings, relative: bytes, size: int) -> str:
    """Why a file of this name and size is not accepted by its source; empty when it is."""
    if settings.max_size is not None and size > settings.max_size:
        return f"{format_size(size)} is over max_size {format_size(settings.max_size)}"
    if settings.types:
        name = relative.rsplit(b"/", 1)[-1].decode("utf-8", "replace").lower()
        media = media_by_name(name)
        if not any(
            fnmatch.fnmatchcase(media if "/" in each else name, each.lower())
            for each in settings.types
        ):
            return f"{media} is not among types: {', '.join(settings.types)}"
    return ""


def media_by_name(name: str) -> str:
    """The media type a name promises; `application/octet-stream` when it promises none."""
    media, coding = _TYPES.guess_type(name, strict=False)
    if coding is not None:
        return f"application/{coding}"
    return media or "application/octet-stream"


def source_tags(settings: SourceSettings, relative: bytes) -> tuple[str, ...]:
    """The tags its source gives a file: `{dir}` is the first folder below the root, without one no tag."""
    folder, slash, _ = relative.partition(b"/")
    if not slash:
        return tuple(tag for tag in settings.tags if "{dir}" not in tag)
    quoted = quote_tag_part(folder)
    return tuple(tag.replace("{dir}", quoted) for tag in settings.tags)
