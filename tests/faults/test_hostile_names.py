"""Names that people, attackers and broken programs give files: outputs byte for byte, nothing printed raw."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

CONFIG = """\
version: 1
sources: {inbox: {folder: inbox, settle: 5ms, settle_unproven: 20ms, tags: [in]}}
pipelines: {all: {when: in, steps: [read_lines, write: out]}}
sinks: {out: {folder: out}}
"""
NAMES = (
    b"not\xff\xfeutf8.log",
    b"x" * 251 + b".log",
    "é".encode() * 125 + b".log",
    b"new\nline.log",
    b"tab\there",
    b"\r",
    b"-rf",
    b"--help",
    b"   ",
    "\u202egnp.exe".encode(),
    "\u009b31mred".encode(),
    b"\x1b[31mred\x1b]0;title\x07",
    b"con\x01trol\x7f",
    b"q..",
    b"quote'\"`$(id)",
    b"%s%d{}{path}",
    b"*?[a]",
    b"\\back\\slash",
    b"~x",
    b"#comment",
    b"a-2.log",
    b"d../in.log",
    b"-d/in.log",
    b"\xff\xfe/n\xff\n.log",
    b"n\nl/in.log",
    b"deep/" + b"/".join([b"y" * 200] * 10) + b"/in.log",
)
RAW = {chr(c) for c in (*range(32), *range(127, 160))} - {"\n"} | set(
    "\u202a\u202b\u202d\u202e\u2066\u2067\u2068"
)


def call(root: bytes, *words: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "filemill", *words],
        cwd=root,
        capture_output=True,
        timeout=60,
        check=False,
    )


def raw(printed: bytes) -> set[str]:
    """Characters that a terminal would act on, and bytes that are no text."""
    text = printed.decode("utf-8", "surrogateescape")
    return {c for c in text if c in RAW or "\ud800" <= c < "\ue000"}


@pytest.mark.timeout(120)
def test_hostile_names_pass_byte_for_byte_and_are_printed_harmless(tmp_path: Path) -> None:
    root = os.fsencode(tmp_path)
    os.makedirs(root + b"/inbox")
    (tmp_path / "filemill.yaml").write_text(CONFIG)
    wanted = {}
    for name in NAMES:
        path = root + b"/inbox/" + name
        os.makedirs(os.path.dirname(path), exist_ok=True)
        wanted[name] = b"this is " + name.hex()[:60].encode() + b"\n"
        with open(path, "wb") as out:
            out.write(wanted[name])
    untouched = {b"fifo", b"link", b"folder link", b"socket"}
    os.mkfifo(root + b"/inbox/fifo")
    os.symlink(b"/etc/hosts", root + b"/inbox/link")
    os.symlink(b"/etc", root + b"/inbox/folder link")
    with socket.socket(socket.AF_UNIX) as listener:
        here = os.getcwd()
        os.chdir(root + b"/inbox")
        try:
            listener.bind(b"socket")
        finally:
            os.chdir(here)
        if os.geteuid() == 0:
            os.mknod(root + b"/inbox/device", stat.S_IFCHR | 0o600, os.makedev(1, 5))
            untouched.add(b"device")

        ran = call(root, "run", "--once")

    assert ran.returncode == 0, ran
    assert not raw(ran.stdout)
    found = {}
    for folder, _, names in os.walk(root + b"/out"):
        for name in names:
            path = os.path.join(folder, name)
            with open(path, "rb") as file:
                found[path.removeprefix(root + b"/out/")] = file.read()
    assert found == wanted
    left = {
        entry.name
        for entry in os.scandir(root + b"/inbox")
        if not entry.is_dir(follow_symlinks=False)
    }
    assert left == untouched

    listed = call(root, "files", "ls")
    assert listed.returncode == 0
    assert not raw(listed.stdout)
    document = call(root, "files", "ls", "--json")
    assert not raw(document.stdout)
    items = json.loads(document.stdout)["items"]
    assert len(items) == len(NAMES)
    for item in items[::5]:
        shown = call(root, "files", "show", item["id"])
        assert shown.returncode == 0
        assert not raw(shown.stdout)
        as_json = call(root, "files", "show", item["id"], "--json")
        assert not raw(as_json.stdout)
        json.loads(as_json.stdout)
