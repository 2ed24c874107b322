"""XML: every element of one name is a record, whose text is a JSON object (`xml_elements` says which).

A document is read block by block, so memory is bounded by `chunk_size` and `max_record`, whatever the file's size. A
file that is malformed or cut off is refused as a whole, because nobody knows then which records are missing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import msgspec

from filemill.formats.json import JsonReader
from filemill.formats.json_elements import Rows
from filemill.formats.terms import ReadRequest
from filemill.formats.xml_elements import XmlElements
from filemill.model.runs import BadRecord
from filemill.ports.step import Opened
from filemill.records.layout import Layout

_ARRAY = b"["[0]


class XmlReader(JsonReader):
    """Reads the elements named `record`, with or without a prefix; those within one belong to it.

    A record has no bytes of its own in the file that would be the record, so no bad one has a range of them.
    """

    def __init__(self, request: ReadRequest, *, record: str) -> None:

        def placeless(index: int, bad: Sequence[BadRecord]) -> None:
            found = [msgspec.structs.replace(each, start=0, end=0) for each in bad]
            request.report_bad(index, found)

        super().__init__(replace(request, report_bad=placeless))
        self.record = record

    def _chunks(self, index: int, opened: Opened) -> Iterator[tuple[Layout, Rows]]:
        layout = self._layout(_ARRAY)
        self.request.note_layout(index, layout)
        elements = XmlElements(
            index,
            self.record,
            self.request.types,
            self.request.step,
            chunk_size=self.request.chunk_size,
            max_record=self.request.max_record,
        )
        for rows in elements.read(opened):
            yield layout, rows

    def _layout(self, kind: int) -> Layout:  # noqa: ARG002 -- there is one kind
        return Layout("jsonl", "xml", self.names, returns=False)
