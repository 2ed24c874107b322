"""Files in bad wrappings through the real program: cut and damaged ones, bombs, archives that would leave, wrong text.

Every one is a dead letter that says why and where, in seconds; nothing of it is published, nothing is made anywhere,
and the good files beside it are done.
"""

from __future__ import annotations

import bz2
import gzip
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import msgspec
import pytest
from boxes import left_in
from test_hostile_names import raw

sys.path.insert(0, str(Path(__file__).parents[1] / "envelopes"))

import archives

CONFIG = """\
version: 1
workers: 2
sources: {inbox: {folder: inbox, settle: 5ms, settle_unproven: 20ms, tags: [in]}}
tags:
  packed: {name: ["*.gz", "*.bz2", "*.xz"]}
  box: {name: ["*.zip", "*.tar", "*.tgz"]}
  text: {name: "*.csv"}
  old: {name: "*.old"}
  xml: {name: "*.xml"}
pipelines:
  packed: {when: packed, steps: [decompress, {write: out}]}
  boxes: {when: box, steps: [{unpack: {tags: [part]}}]}
  texts: {when: text and not part, steps: [transcode, read_csv, {write: out}]}
  olds: {when: old, steps: [{transcode: cp1252}, {write: out}]}
  xmls: {when: xml, steps: [{read_xml: {record: item}}, {write: out}]}
  parts: {when: part and not box, steps: [{write: out}]}
sinks: {out: {folder: out}}
"""
CSV = "id,città\n1,Zürich\n2,Köln\n3,Łódź\n"


class Case(msgspec.Struct):
    """One file, and its end."""

    data: bytes
    dead: str = ""
    """Part of the message of its dead letter; empty when it is done."""
    step: str = ""
    gives: bytes | None = None
    """The output under its plain name."""
    name: str = ""


def nested(depth: int) -> bytes:
    data = archives.zipped({"core.txt": b"x"})
    for number in range(depth - 1):
        data = archives.zipped({f"{number}.zip": data})
    return data


LONG = CSV.encode() * 40
CASES = {
    # Compressed files: all members, or nothing and the byte.
    "members.csv.gz": Case(gzip.compress(LONG) + gzip.compress(LONG), gives=LONG * 2, name="members.csv"),
    "good.log.bz2": Case(bz2.compress(LONG) * 3, gives=LONG * 3, name="good.log"),
    "cut.csv.gz": Case(gzip.compress(LONG)[:-20], "ends early, at byte", "decompress"),
    "sum.csv.gz": Case(gzip.compress(LONG)[:-8] + bytes(8), "is damaged between byte", "decompress"),
    "tail.csv.gz": Case(gzip.compress(LONG) + b"trailing garbage", "follow the last member, from byte", "decompress"),
    "bomb.csv.gz": Case(gzip.compress(bytes(8 << 20)) * 9, "times its size", "decompress"),
    # XML: a document type is the end of it.
    "good.xml": Case(b"<x><item><a>1</a></item></x>", gives=b'{"a":"1"}\n', name="good.jsonl"),
    "laughs.xml": Case(
        b'<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]><x><item>&b;</item></x>', "DOCTYPE", "read_xml"
    ),
    "reads.xml": Case(
        b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><x><item>&a;</item></x>', "DOCTYPE", "read_xml"
    ),
    "deep.xml": Case(b"<x>" + b"<item>" * 100_000, "nested more than 500", "read_xml"),
    "cut.xml": Case(b"<x><item><a>1</a></item>", "cut off", "read_xml"),
    # Bombs of archives.
    "overlap.zip": Case(archives.overlapping(), "shares its bytes", "unpack"),
    "lying.zip": Case(archives.lying(1 << 20), "damaged", "unpack"),
    "zeros.zip": Case(archives.zipped({"a": bytes(66 << 20)}), "times its size", "unpack"),
    "many.zip": Case(archives.zipped([(str(n), b"") for n in range(10_001)]), "more than 10,000", "unpack"),
    "endless.tar": Case(archives.endless_tar(), "no number", "unpack"),
    # Archives that would leave their folder.
    "slip.zip": Case(archives.zipped({"fine.csv": b"1", "../../../slipped": b"x"}), "by `..`", "unpack"),
    "root.tar": Case(archives.tarred({b"/tmp/filemill-slipped": b"x"}), "absolute path", "unpack"),
    "link.tar": Case(archives.tarred_entry("link", tarfile.SYMTYPE, "/etc"), "symbolic link", "unpack"),
    "hard.tar": Case(archives.tarred_entry("link", tarfile.LNKTYPE, "/etc/passwd"), "a link", "unpack"),
    "device.tar": Case(archives.tarred_entry("null", tarfile.CHRTYPE), "a device", "unpack"),
    "cut.tgz": Case(archives.tgz({b"a": LONG, b"b": LONG})[:-9], "ends early", "unpack"),
    "good.zip": Case(archives.zipped({"in/side.csv": b"a\n1\n"}), gives=b"a\n1\n", name="good.zip/in/side.csv"),
    # Text.
    "utf16.csv": Case(CSV.encode("utf-16"), gives=CSV.encode()),
    "bare16.csv": Case(CSV.encode("utf-16-be"), gives=CSV.encode()),
    "marked.csv": Case(CSV.encode("utf-8-sig"), gives=CSV.encode()),
    "mixed.csv": Case(CSV.encode() + "4,café\n".encode("cp1252"), "byte 43 is not utf-8", "transcode"),
    "good.old": Case("naïve €\n".encode("cp1252"), gives="naïve €\n".encode()),
    "wrong.old": Case(b"abc\x8ddef\n", "byte 3 is not cp1252", "transcode"),
}  # fmt: skip
DEEP = "deep.zip"
"""Five archives within each other: three are unpacked, the one within them is a dead letter."""


def call(root: Path, *words: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "filemill", *words],
        cwd=root,
        capture_output=True,
        timeout=100,
        check=False,
    )


@pytest.mark.timeout(150)
def test_what_is_badly_wrapped_is_a_dead_letter_and_nothing_else(tmp_path: Path) -> None:
    root = tmp_path / "project"
    (root / "inbox").mkdir(parents=True)
    (root / "filemill.yaml").write_text(CONFIG)
    for name, case in CASES.items():
        (root / "inbox" / name).write_bytes(case.data)
    (root / "inbox" / DEEP).write_bytes(nested(5))

    ran = call(root, "run", "--once")

    assert ran.returncode == 1, ran.stdout.decode()
    assert b"Traceback" not in ran.stdout + ran.stderr
    assert not raw(ran.stdout)
    dead = {
        item["name"]: item["run"]
        for item in json.loads(call(root, "dead", "ls", "--limit", "100", "--json").stdout)["items"]
    }
    for name, case in CASES.items():
        if case.dead:
            assert case.dead in dead[name]["error"]["message"], (name, dead[name])
            assert dead[name]["error"]["step"] == case.step
            assert dead[name]["attempt"] == 1, "permanent: tried once"
    deepest = f"{DEEP}/3.zip/2.zip/1.zip"
    assert "max_depth" in dead[deepest]["error"]["message"]
    assert dead.keys() == {deepest, *(name for name, case in CASES.items() if case.dead)}

    found = {
        str(path.relative_to(root / "out")): path.read_bytes()
        for path in (root / "out").rglob("*")
        if path.is_file()
    }
    wanted = {
        case.name or name: case.gives for name, case in CASES.items() if case.gives is not None
    }
    assert found == wanted

    data = root / ".filemill"
    assert left_in(data / "children") == []
    assert left_in(data / "work") == []
    assert {path.name for path in tmp_path.iterdir()} == {"project"}, "nothing left its folder"
    assert not os.path.lexists("/tmp/filemill-slipped")
    links = [path for path in root.rglob("*") if path.is_symlink()]
    assert links == []
    status = json.loads(call(root, "status", "--json").stdout)
    assert status["files"].get("live", 0) == 0
