"""Media types by content, and what a name may and may not say about them."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import sqlite3
import subprocess
import sys
import tarfile
import zipfile

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filemill.routing.media import extension_type
from filemill.routing.sniffing import HEAD, sniff

TABLE = b"order_id,amount,name\n1,2.50,Ann\n2,3.00,Bob\n"
LOG = b"".join(b"2026-01-01 12:00:00,%03d INFO user logged in\n" % i for i in range(30))


def made(kind, tmp_path):
    out = io.BytesIO()
    frame = pl.DataFrame({"a": [1, 2]})
    match kind:
        case "parquet":
            frame.write_parquet(out)
        case "arrow":
            frame.write_ipc(out)
        case "avro":
            frame.write_avro(out)
        case "zip" | "xlsx":
            with zipfile.ZipFile(out, "w") as archive:
                if kind == "xlsx":
                    archive.writestr("[Content_Types].xml", "<Types/>")
                    archive.writestr("xl/workbook.xml", "<workbook/>")
                else:
                    archive.writestr("a.csv", TABLE)
        case "tar":
            with tarfile.open(fileobj=out, mode="w") as archive:
                archive.addfile(tarfile.TarInfo("empty"))
        case "sqlite":
            with sqlite3.connect(tmp_path / "db") as database:
                database.execute("create table t (a)")
            database.close()
            out.write((tmp_path / "db").read_bytes())
        case _:
            out.write({"gz": gzip, "bz2": bz2, "xz": lzma}[kind].compress(TABLE))
    return out.getvalue()


@pytest.mark.parametrize(
    "kind", ["parquet", "arrow", "avro", "zip", "xlsx", "tar", "sqlite", "gz", "bz2", "xz"]
)
def test_real_files_of_data_formats(kind, tmp_path):
    data = made(kind, tmp_path)
    assert sniff(data, b"x").media == extension_type(b"x." + kind.encode())
    assert sniff(data, b"x." + kind.encode()).mismatch == ""
    assert sniff(data, b"orders.csv").mismatch == "text/csv"


@pytest.mark.parametrize(
    ("data", "media"),
    [
        (b"\x28\xb5\x2f\xfd\x00", "application/zstd"),
        (b"7z\xbc\xaf\x27\x1c\x00", "application/x-7z-compressed"),
        (b"ORC\x08\x03\x10\x00", "application/vnd.apache.orc"),
        (b"%PDF-1.7\n", "application/pdf"),
        (b"\x89PNG\r\n\x1a\n\x00", "image/png"),
        (b"\xff\xd8\xff\xe0\x00", "image/jpeg"),
        (b"GIF89a\x00", "image/gif"),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 ", "image/webp"),
        (b"II*\x00\x08\x00", "image/tiff"),
        (b"\x00\x00\x00\x18ftypheic", "image/heic"),
        (b"", "text/plain"),
        (b"just words\n", "text/plain"),
        (TABLE, "text/csv"),
        (TABLE.replace(b",", b"\t"), "text/tab-separated-values"),
        (TABLE.replace(b",", b";").replace(b".", b","), "text/csv"),
        (b'"a","b,c"\n"1","2\n"\n', "text/csv"),
        (b'{"a": 1}\n{"a": 2}\n', "application/x-ndjson"),
        (b'{"a": 1}', "application/json"),
        (b'[{"a": 1},\n {"a": 2}]', "application/json"),
        (b'{\n  "a": 1\n}\n', "application/json"),
        (b"[section]\nkey = 1\n", "text/plain"),
        (b"{not json}\n", "text/plain"),
        (b"<?xml version='1.0'?>\n<a/>", "application/xml"),
        (b"<!DOCTYPE html><p>", "text/html"),
        (b"<svg xmlns='x'></svg>", "image/svg+xml"),
        (b"<order id='1'/>", "application/xml"),
        (b"a < b\n", "text/plain"),
        (b"Dear Ann, hello\nfrom Bob, bye\n", "text/plain"),
        (LOG, "text/plain"),
        (bytes(range(1, 9)) * 50, "application/octet-stream"),
    ],
)
def test_content_alone(data, media):
    assert sniff(data, b"x").media == media


def test_text_that_begins_like_a_binary_format_is_text():
    assert sniff(b"ORC,ELF\n1,2\n", b"x.csv").media == "text/csv"
    assert sniff(b"BMW is a car\n", b"x").media == "text/plain"
    assert sniff(b"MZ,PAR1,x\n1,2,3\n", b"x.csv").header == ("MZ", "PAR1", "x")


def test_the_name_decides_only_what_the_content_leaves_open():
    assert sniff(b"id\n1\n2\n", b"one-column.csv").media == "text/csv"
    assert sniff(b"id\n1\n2\n", b"one-column").media == "text/plain"
    assert sniff(b'{"a":1}\n', b"x.jsonl").media == "application/x-ndjson"
    assert sniff(b"", b"empty.csv").media == "text/csv"
    assert sniff(b"# title\n", b"x.md").media == "text/markdown"
    torn = sniff(b"a,b,c\n1,2\n1,2,3\n1\n", b"torn.csv")
    assert (torn.media, torn.header) == ("text/csv", ("a", "b", "c"))
    torn = sniff(b'{"a":1}\n{"a":\n', b"torn.jsonl")
    assert torn.media == "application/x-ndjson"


@pytest.mark.parametrize(
    ("data", "name", "mismatch"),
    [
        (b"\x89PNG\r\n\x1a\n", b"a.jpg", "image/jpeg"),
        (b'{"a":1}\n{"a":2}\n', b"a.csv", "text/csv"),
        (TABLE, b"a.json", "application/json"),
        (TABLE, b"a.parquet", "application/vnd.apache.parquet"),
        (TABLE, b"a.txt", ""),
        (TABLE, b"a.unknown", ""),
        (b'{"a":1}\n{"a":2}\n', b"a.json", ""),
        (b"PK\x03\x04", b"a.docx", ""),
        (b"\x01\x02\x03\x04", b"a.csv", ""),
    ],
)
def test_mismatch(data, name, mismatch):
    assert sniff(data, name).mismatch == mismatch


def test_headers():
    assert sniff(TABLE, b"x.csv").header == ("order_id", "amount", "name")
    assert sniff(b"\xef\xbb\xbfa;b\r\n1;2\r\n", b"x.csv").header == ("a", "b")
    assert sniff(b'"a, x",b\n1,2\n', b"x.csv").header == ("a, x", "b")
    assert sniff(b'"two\nlines",b\n1,2\n', b"x.csv").header == ("two\nlines", "b")
    assert sniff(b"\n\na,b\n1,2\n", b"x.csv").header == ("a", "b")
    assert sniff(b'{"b":1,"a":2}\n{"c":1}\n', b"x").header == ("b", "a")


def test_other_charsets_are_text_and_say_so():
    found = sniff("name,ort\nJosé,Köln\n".encode("latin-1"), b"x.csv")
    assert (found.media, found.charset, found.header) == (
        "text/csv",
        "unknown-8bit",
        ("name", "ort"),
    )
    assert sniff("a,b\n".encode("utf-16"), b"x.txt").charset == "utf-16"


def test_a_character_cut_by_the_end_of_the_head_is_no_error():
    data = b"a" + "ä".encode() * HEAD
    assert sniff(data, b"x") == sniff(data[:HEAD], b"x")
    assert sniff(data, b"x").charset == ""


def test_big_first_lines():
    one = json.dumps({"a": "x" * HEAD}).encode()
    assert sniff(one, b"x.jsonl").media == "application/x-ndjson"
    assert sniff(one, b"x.json").media == "application/json"


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode), st.binary(max_size=20))
def test_never_raises(data, name):
    found = sniff(data, name)
    assert "/" in found.media
    "".join(found.header).encode()  # can travel to the server


def test_deep_nesting_does_not_break_it():
    assert sniff(b"[" * HEAD, b"x.json").media
    assert sniff(b'{"a":' * 10_000 + b"1" + b"}" * 10_000, b"x.jsonl").media


def test_importing_it_loads_neither_puremagic_nor_polars():
    code = "import sys, filemill.routing.explaining\nsys.exit(bool({'polars', 'puremagic'} & {*sys.modules}))"
    subprocess.run([sys.executable, "-c", code], check=True)
