"""`multipart/form-data` as a stream of events, in bounded memory, strict about what no honest client sends."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from filemill.web.errors import ApiError

MOST_PARTS = 1_000
MOST_FIELDS = 64
MOST_HEAD = 8 << 10
"""Bytes of one part's headers."""
MOST_FIELD = 1 << 10
"""Bytes of one field that is no file."""


class Begun(msgspec.Struct, frozen=True):
    """A file begins. `name` is as it was sent."""

    name: bytes
    digest: str
    """Its Content-Digest header, if it has one."""


class Data(msgspec.Struct, frozen=True):
    """The next bytes of the file that began last."""

    data: bytes


class Ended(msgspec.Struct, frozen=True):
    """The file that began last is whole."""


class Field(msgspec.Struct, frozen=True):
    """One field that is no file."""

    name: str
    value: str


Part = Begun | Data | Ended | Field


class Multipart:
    """Parses one body. `feed` what comes, then `end`.

    Raises:
        ApiError: 400, the content type has no boundary.
    """

    def __init__(self, content_type: str) -> None:
        kind, options = parse_options_header(content_type)
        boundary = options.get(b"boundary", b"")
        if kind != b"multipart/form-data" or not 0 < len(boundary) <= 70:
            raise ApiError(400, "multipart/form-data has a boundary of at most 70 characters")
        self._events: list[Part] = []
        self._headers: dict[str, bytes] = {}
        self._field = bytearray()
        self._value = bytearray()
        self._head = 0
        self._parts = self._fields = 0
        self._text: bytearray | None = None
        self._name = ""
        self._finished = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": self._header_field,
                "on_header_value": self._header_value,
                "on_header_end": self._header_end,
                "on_headers_finished": self._headers_finished,
                "on_part_data": self._data,
                "on_part_end": self._end_part,
                "on_end": self._end,
            },
        )

    def feed(self, data: bytes) -> Iterator[Part]:
        """What these bytes say.

        Raises:
            ApiError: 400, they are no such body; 413, it has too much of something.
        """
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise ApiError(400, f"this is no multipart body: {error}") from error
        events, self._events = self._events, []
        return iter(events)

    def end(self) -> None:
        """Say that nothing more comes.

        Raises:
            ApiError: 400, the body is cut off.
        """
        if not self._finished:
            raise ApiError(400, "the body is cut off: its last boundary is missing")

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > MOST_PARTS:
            raise ApiError(413, f"more than {MOST_PARTS:,} parts")
        self._headers, self._head = {}, 0

    def _grown(self, by: int) -> None:
        self._head += by
        if self._head > MOST_HEAD:
            raise ApiError(413, f"a part's headers have more than {MOST_HEAD:,} bytes")

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._grown(end - start)
        self._field += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._grown(end - start)
        self._value += data[start:end]

    def _header_end(self) -> None:
        name = self._field.decode("latin-1").lower()
        if name in self._headers:
            raise ApiError(400, f"a part has two {name} headers")
        self._headers[name] = bytes(self._value)
        self._field.clear()
        self._value.clear()

    def _headers_finished(self) -> None:
        kind, options = parse_options_header(self._headers.get("content-disposition", b""))
        if kind != b"form-data" or b"name" not in options:
            raise ApiError(400, "a part has no `content-disposition: form-data; name=...`")
        self._name = options[b"name"].decode("utf-8", "replace")
        file = options.get(b"filename")
        if file is None:
            self._fields += 1
            if self._fields > MOST_FIELDS:
                raise ApiError(413, f"more than {MOST_FIELDS} fields")
            self._text = bytearray()
        else:
            self._text = None
            digest = self._headers.get("content-digest", b"").decode("latin-1")
            self._events.append(Begun(file, digest))

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._text is None:
            self._events.append(Data(data[start:end]))
            return
        self._text += data[start:end]
        if len(self._text) > MOST_FIELD:
            raise ApiError(413, f"the field `{self._name}` has more than {MOST_FIELD:,} bytes")

    def _end_part(self) -> None:
        if self._text is None:
            self._events.append(Ended())
        else:
            value = self._text.decode("utf-8", "replace")
            self._events.append(Field(self._name, value))

    def _end(self) -> None:
        self._finished = True
