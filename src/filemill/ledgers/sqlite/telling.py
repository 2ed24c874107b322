"""Rows as people may see them: what is packed is unpacked, what is sealed is in the words of who opens the ledger."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import msgspec

from filemill.encryption.texts import in_words
from filemill.ledgers.sqlite.packing import unpack_facts
from filemill.ports.reading import FileRow

_ATTRIBUTES = msgspec.json.Decoder(dict[str, str])
_Row = TypeVar("_Row", bound=msgspec.Struct)
Words = Callable[[str], str]
"""What people see of a text."""


class Telling:
    """The part of `SqliteReading` that has the words for sealed texts."""

    _words: Words | None

    def _told(self, rows: Iterable[_Row]) -> list[_Row]:
        """The rows as people may see them."""
        words = self._words
        return list(rows) if words is None else [in_words(row, words) for row in rows]


def file_row(row: Sequence[Any]) -> FileRow:
    """A file of the columns that reading asks for."""
    values = list(row)
    values[15] = tuple(row[15].split())
    values[16] = row[16].hex() if row[16] else ""
    values[18] = _ATTRIBUTES.decode(row[18])
    values[19:20] = unpack_facts(row[19])
    return FileRow(*values)
