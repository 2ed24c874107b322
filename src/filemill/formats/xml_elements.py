"""The elements of an XML document that are records, found as it streams by, each as a JSON object.

Expat reads it, a block at a time, and tells of tags and text. A record is built while its element is open and is gone
from here when it is handed over; what stands outside of records is passed over. Nothing is ever fetched: a document
type is refused before anything that it declares could count, so there are no entities but XML's own five, no bombs of
them, and no files or addresses to be looked up. Depth, and the bytes of one tag and of one record, have limits.

What an element becomes: attributes are members named `@name`, elements inside it are members, several of one name an
array in their order, its text alone is a text, its text beside any of these the member `#text`; an empty one is null.
Names are as they stand, prefixes included; declarations of namespaces are no data.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn
from xml.parsers import expat

import msgspec

from filemill.formats.json_elements import DEEPEST, Rows
from filemill.model.errors import PermanentError
from filemill.model.runs import BadRecord
from filemill.ports.step import Opened

_BLOCK = 1 << 20
_EACH = 64
"""Bytes a record costs beside its own."""
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?\Z")
_NAMED = 100
"""Names of other elements that are remembered, for an error to show."""
_TYPE = (
    "send it without a DOCTYPE: what one declares (entities, files, addresses) is never followed"
)


class _Open:
    """One element whose end tag has not come."""

    __slots__ = ("members", "name", "texts")

    def __init__(self, name: str, attributes: list[str]) -> None:
        self.name = name
        self.members: dict[str, Any] = {}
        self.texts: list[str] = []
        for key, value in zip(attributes[::2], attributes[1::2], strict=True):
            if key != "xmlns" and not key.startswith("xmlns:"):
                self.members[f"@{key}"] = value

    def add(self, name: str, value: Any) -> None:
        """One element inside it is closed."""
        if name not in self.members:
            self.members[name] = value
            return
        there = self.members[name]
        if isinstance(there, _Several):
            there.append(value)
        else:
            self.members[name] = _Several((there, value))

    def value(self) -> Any:
        """What it is."""
        text = "".join(self.texts)
        if not self.members:
            return text or None
        if text.strip():
            self.members["#text"] = text
        return self.members


class _Several(list[Any]):
    """The elements of one name within another: no value of one of them is one."""


class XmlElements:
    """The records of one file. `types` are those declared of columns: their numbers are numbers."""

    def __init__(
        self,
        index: int,
        record: str,
        types: Mapping[str, str],
        step: str,
        *,
        chunk_size: int,
        max_record: int,
    ) -> None:
        self._index = index
        self._wanted = record
        self._types = types
        self._step = step
        self._chunk_size = chunk_size
        self._max_record = max_record
        self._open: list[_Open] = []
        self._depth = 0
        self._inside = 0
        """Depth of the record that is open; 0: none is."""
        self._size = 0
        """Bytes of it so far."""
        self._count = 0
        self._line = 0
        self._rows = Rows()
        self._others: dict[str, None] = {}
        parser = self._parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.ordered_attributes = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text
        parser.StartDoctypeDeclHandler = _refuse_type
        parser.EntityDeclHandler = _refuse_type
        parser.ExternalEntityRefHandler = _refuse_type

    def read(self, opened: Opened) -> Iterator[Rows]:
        """Its records, about a chunk's at a time.

        Raises:
            PermanentError: it is malformed, cut off, has a document type, or no such element.
            OSError: it cannot be read.
        """
        at = 0
        block = min(_BLOCK, self._chunk_size)
        while data := opened.pread(block, at):
            self._parse(data, final=False)
            at += len(data)
            if at - max(0, self._parser.CurrentByteIndex) > self._max_record + 2 * block:
                raise self._malformed(f"a tag of more than max_record ({self._max_record} bytes)")
            if self._rows.size >= self._chunk_size:
                yield self._taken()
        self._parse(b"", final=True)
        if not self._count and len(self._others) > 1:
            raise self._absent()
        yield self._taken()

    def _taken(self) -> Rows:
        rows, self._rows = self._rows, Rows()
        return rows

    def _parse(self, data: bytes, *, final: bool) -> None:
        try:
            self._parser.Parse(data, final)
        except expat.ExpatError as error:
            if final:
                raise PermanentError(
                    f"the XML is cut off or malformed at line {error.lineno}: {_said(error)}",
                    help="ask the sender for the whole file; drop it again when it is there",
                ) from error
            raise self._malformed(_said(error)) from error
        except (ValueError, LookupError) as error:  # an encoding that nobody knows
            raise self._malformed(str(error)) from error

    def _malformed(self, what: str) -> PermanentError:
        line = self._parser.CurrentLineNumber
        return PermanentError(
            f"the file cannot be read as XML at line {line}: {what}",
            help="mend the file, or ask its sender to",
        )

    def _absent(self) -> PermanentError:
        seen = list(self._others)
        near = difflib.get_close_matches(self._wanted, seen, n=1)
        there = ", ".join(f"<{name}>" for name in seen[:20])
        return PermanentError(
            f"there is no <{self._wanted}> in the file; there is {there}",
            help=f"did you mean `record: {near[0]}`?"
            if near
            else "let `record:` name an element that the file has",
        )

    # -- what expat tells -------------------------------------------------------------------------

    def _start(self, name: str, attributes: list[str]) -> None:
        self._depth += 1
        if self._depth > DEEPEST:
            raise self._malformed(f"elements are nested more than {DEEPEST} deep")
        if self._inside:
            self._grow(len(name) + sum(map(len, attributes)))
            if self._open:
                self._open.append(_Open(name, attributes))
            return
        if self._wanted not in (name, name.rpartition(":")[2]):
            if len(self._others) < _NAMED:
                self._others[name] = None
            return
        self._inside, self._size = self._depth, 0
        self._count += 1
        self._line = self._parser.CurrentLineNumber
        self._open = [_Open(name, attributes)]
        self._grow(sum(map(len, attributes)))

    def _text(self, text: str) -> None:
        if self._inside:
            self._grow(len(text))
            if self._open:
                self._open[-1].texts.append(text)

    def _end(self, name: str) -> None:
        if self._inside:
            if self._depth == self._inside:
                self._inside = 0
                self._close()
            elif self._open:
                value = self._open.pop().value()
                self._open[-1].add(name, value)
        self._depth -= 1

    def _grow(self, size: int) -> None:
        """The open record has so many more characters; one that is too long is let go of, and bad when it ends."""
        self._size += size
        if self._size > self._max_record:
            self._open = []

    def _close(self) -> None:
        rows, (index, number) = self._rows, (self._index, self._count)
        rows.found[index] = rows.found.get(index, 0) + 1
        raw = self._made() if self._open else b""
        self._open = []
        if not raw or len(raw) > self._max_record:
            message = f"longer than max_record ({self._max_record} bytes)"
            bad = BadRecord(self._step, number, self._line, 0, 0, "TooLong", message)
            rows.bad.append((index, bad))
            rows.size += _EACH
            return
        rows.raw.append(raw)
        rows.file.append(index)
        rows.record.append(number)
        rows.line.append(self._line)
        rows.start.append(0)
        rows.size += len(raw) + _EACH

    def _made(self) -> bytes:
        """The record as one JSON object."""
        value = self._open[0].value()
        members = value if isinstance(value, dict) else {"#text": value}
        for name, kind in self._types.items():
            text = members.get(name)
            if isinstance(text, str):
                members[name] = _typed(text.strip(), kind) or text
        return msgspec.json.encode(members)


def _typed(text: str, kind: str) -> msgspec.Raw | None:
    """A text as JSON of the declared type, as it is written; None where it is none."""
    if kind in ("integer", "float") and _NUMBER.match(text):
        return msgspec.Raw(text.encode())
    if kind == "boolean" and text in ("true", "false"):
        return msgspec.Raw(text.encode())
    return None


def _said(error: expat.ExpatError) -> str:
    return expat.ErrorString(error.code) or str(error)


def _refuse_type(*_: Any) -> NoReturn:
    raise PermanentError("the XML has a document type (DOCTYPE), which is refused", help=_TYPE)
