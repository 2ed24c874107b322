"""A real server that serves HTTP on a port of its own, and a client that speaks to it."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
from conformance import Described

import serving

CONFIG = """\
version: 1
sources:
  inbox: {folder: inbox, create: true}
  upload: {http: /upload, max_size: 2MB, types: [text/csv, "*.txt"], tags: ["from:upload"]}
  other: {http: /partners/acme, tags: ["partner:acme"]}
tags:
  table: {name: "*.csv"}
  text: {name: "*.txt"}
pipelines:
  tables: {when: table, steps: [read_csv, {write: out}]}
  texts: {when: text, steps: [read_lines, {write: out}]}
sinks:
  out: {folder: out}
"""
DOCUMENTS = """\
version: 1
sources:
  inbox: {folder: inbox, create: true}
  upload: {http: /upload, max_size: 2MB, types: ["*.csv", "*.json", "*.bin"]}
tags:
  table: {name: "*.csv"}
  document: {name: "*.json"}
pipelines:
  tables: {when: table, steps: [read_csv, {write: out}]}
  documents: {when: document, steps: [read_json, {write: out}]}
sinks:
  out: {folder: out}
"""
"""Tables, and documents that die when they are broken."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def web_child(site: Site) -> int | None:
    """The pid of what speaks HTTP for this site."""
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (entry / "cmdline").read_bytes().split(b"\0")
            if b"filemill.web" in words and (entry / "cwd").resolve() == site.root.resolve():
                return int(entry.name)
    return None


class Site:
    """A project folder whose server answers at `url`; `key` opens everything."""

    def __init__(self, root: Path, config: str = CONFIG) -> None:
        self.root = root
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        (root / "inbox").mkdir(exist_ok=True)
        (root / "filemill.yaml").write_text(config)
        self._described: Described | None = None

    @property
    def environ(self) -> dict[str, str]:
        return os.environ | {"FILEMILL__WEB__LISTEN": f"127.0.0.1:{self.port}"}

    @property
    def key(self) -> str:
        return (self.root / ".filemill" / "local.key").read_text().strip()

    @contextlib.contextmanager
    def running(self) -> Iterator[Site]:
        with serving.serving(self.root, self.environ) as log:
            serving.until(lambda: f"web {self.url}".encode() in log.read_bytes())
            yield self

    def client(self, key: str | None = None) -> httpx2.Client:
        headers = {"authorization": f"Bearer {key or self.key}"}
        hooks = {"response": [self._check]}
        return httpx2.Client(base_url=self.url, headers=headers, timeout=30, event_hooks=hooks)

    def stranger(self) -> httpx2.Client:
        return httpx2.Client(base_url=self.url, timeout=30, event_hooks={"response": [self._check]})

    def described(self) -> Described | None:
        """What the server says of its routes; None where it does not say, which is no matter of this test."""
        if self._described is None:
            headers = {"authorization": f"Bearer {self.key}"}
            with contextlib.suppress(httpx2.HTTPError, OSError):
                answer = httpx2.get(f"{self.url}/openapi.json", headers=headers, timeout=30)
                if answer.status_code == 200:
                    self._described = Described(answer.json())
        return self._described

    def _check(self, response: httpx2.Response) -> None:
        """Hold every answer against the description."""
        if (described := self.described()) is not None:
            described.check(response)

    def answers(self) -> bool:
        """Whether somebody answers there now."""
        with contextlib.suppress(httpx2.HTTPError), self.stranger() as client:
            return client.get("/livez").status_code == 200
        return False

    def staged(self) -> list[str]:
        return sorted(os.listdir(self.root / ".filemill" / "uploads"))

    def outputs(self, count: int) -> list[str]:
        """The names of outputs, once there are so many."""
        out = self.root / "out"
        ends = time.monotonic() + serving.LONG
        while True:
            names = sorted(each.name for each in out.glob("[!.]*")) if out.exists() else []
            if len(names) >= count or time.monotonic() > ends:
                return names
            time.sleep(0.02)
