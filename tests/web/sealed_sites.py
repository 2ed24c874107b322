"""A site whose content is encrypted, and where in it plain bytes can be found."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal

import pyrage
from sites import Site, web_child

import serving

CANARY = b"CaNaRy4711"
TABLE = b"a,b\n" + b"%b,2\n" % CANARY * 40
BIG = b"a,b\n" + b"%b,2\n" % CANARY * 200_000
CONFIG = """\
version: 1
encryption: {{recipients: [{recipient}], identity: key, workspace: {workspace}}}
sources:
  upload: {{http: /upload, types: [text/csv, "*.bin"]}}
tags:
  table: {{name: "*.csv"}}
pipelines:
  tables: {{when: table, steps: [read_csv, {{write: out}}]}}
sinks:
  out: {{folder: out, encrypt: {recipient}}}
"""


class SealedSite(Site):
    """A site where nothing plain may lie."""

    def __init__(self, root):
        self.identity = pyrage.x25519.Identity.generate()
        (root / "key").write_text(f"{self.identity}\n")
        (root / "key").chmod(0o600)
        self.workspace = f"/dev/shm/filemill-test-{os.getpid()}-{root.name}"
        super().__init__(
            root,
            CONFIG.format(recipient=self.identity.to_public(), workspace=self.workspace),
        )

    @contextlib.contextmanager
    def room(self):
        """The workspace goes at the end."""
        try:
            yield
        finally:
            shutil.rmtree(self.workspace, ignore_errors=True)

    @contextlib.contextmanager
    def running(self):
        with self.room(), super().running():
            yield self

    def leaks(self):
        """Files of the data directory and of the sink in which the canary can be read."""
        found = []
        for place in (self.root / ".filemill", self.root / "out"):
            for path in place.rglob("*"):
                with contextlib.suppress(FileNotFoundError):  # moved, or removed, meanwhile
                    if path.is_file() and CANARY in path.read_bytes():
                        found.append(str(path))
        return found

    def output(self, name):
        """What the sink has under this name, opened; waits for it."""
        path = self.root / "out" / f"{name}.age"
        serving.until(path.exists)
        return pyrage.decrypt(path.read_bytes(), [self.identity])

    def content(self, file):
        """The bytes of a file on the disk."""
        (path,) = (self.root / ".filemill" / "content").rglob(f"{file}.*")
        return path.read_bytes()


def kill_child(site):
    child = web_child(site)
    os.kill(child, signal.SIGKILL)
    serving.until(lambda: web_child(site) not in (None, child) and site.answers())
