"""Formats of records: reading them out of files, and writing them as they came or as steps made them.

A reading step builds a `ReadRequest` and yields from a reader's `read`; a sink asks `encode` for each record's text and
`header_line` for a csv header. Importing this package imports Polars.
"""

from filemill.formats.csv import CsvReader
from filemill.formats.encoding import FORMATS, check_format, encode, header_line, suffix
from filemill.formats.json import JsonReader
from filemill.formats.jsonl import JsonlReader
from filemill.formats.lines import LinesReader
from filemill.formats.parquet import ParquetReader
from filemill.formats.reading import RecordReader
from filemill.formats.terms import ReadRequest
from filemill.formats.xml import XmlReader

__all__ = [
    "FORMATS",
    "CsvReader",
    "JsonReader",
    "JsonlReader",
    "LinesReader",
    "ParquetReader",
    "ReadRequest",
    "RecordReader",
    "XmlReader",
    "check_format",
    "encode",
    "header_line",
    "suffix",
]
