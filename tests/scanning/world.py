"""A project whose files are scanned: the real command in a folder of its own."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import tarfile
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

from clamav import MARKER
from filemill.ports.scanner import EICAR
from serving import FILEMILL, LONG, until

CONFIG = """\
version: 1
workers: 1
scan: {scan}
{more}
sources:
  inbox: {{folder: inbox, settle: 20ms, settle_unproven: 100ms}}
tags:
  archive: {{name: ["*.zip", "*.tar.gz"]}}
  plain: {{name: "*.txt"}}
pipelines:
  open: {{when: archive, steps: [unpack]}}
  copy: {{when: plain, steps: [read_lines, {{write: out}}]}}
sinks:
  out: {{folder: out}}
"""


class World:
    """One project; `scan` is what its configuration says of scanners."""

    def __init__(self, root: Path, scan: str, more: str = "") -> None:
        self.root = root
        (root / "inbox").mkdir()
        kept = {"PATH", "LANG", "LC_ALL", "TMPDIR"}
        self.environ = {k: v for k, v in os.environ.items() if k in kept}
        self.environ |= {"HOME": str(root), "PYTHONUTF8": "1", "COLUMNS": "200"}
        self.server: subprocess.Popen[bytes] | None = None
        self.configure(scan, more)

    def configure(self, scan: str, more: str = "") -> None:
        """Write the configuration."""
        (self.root / "filemill.yaml").write_text(CONFIG.format(scan=scan, more=more))

    def start(self) -> None:
        """Start a server, and return when it is ready."""
        log = self.root / "server.log"
        log.unlink(missing_ok=True)
        with log.open("ab") as out:
            command = [
                *FILEMILL,
                "run",
                "--no-web",
            ]  # several of these run at once: one port is not enough
            server = self.server = subprocess.Popen(
                command, cwd=self.root, env=self.environ, stdout=out, stderr=out
            )
        until(lambda: b"Ready in" in log.read_bytes() or server.poll() is not None)
        assert server.poll() is None, log.read_text()

    def stop(self) -> None:
        """Ctrl-C; it must end well."""
        assert self.server is not None
        self.server.send_signal(signal.SIGINT)
        assert self.server.wait(LONG) == 0, (self.root / "server.log").read_text()

    def kill(self) -> None:
        """SIGKILL, if it runs."""
        if self.server is not None and self.server.poll() is None:
            self.server.kill()
            self.server.wait()

    def drop(self, name: str, data: bytes) -> None:
        """Rename a file into the inbox."""
        aside = self.root / f".{name}"
        aside.write_bytes(data)
        aside.rename(self.root / "inbox" / name)

    def say(self, *words: str, code: int = 0) -> str:
        """Run a command; answers with all that it printed."""
        done = subprocess.run(
            [*FILEMILL, *words],
            cwd=self.root,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=LONG,
            check=False,
        )
        assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def files(self) -> dict[str, str]:
        """State of each file, by name."""
        listed = json.loads(self.say("files", "ls", "--limit", "1000", "--json"))
        return {each["name"]: each["state"] for each in listed["items"]}

    def ids(self) -> dict[str, str]:
        """Id of each file, by name."""
        listed = json.loads(self.say("files", "ls", "--limit", "1000", "--json"))
        return {each["name"]: each["id"] for each in listed["items"]}

    def show(self, name: str) -> dict[str, Any]:
        """All that is known of a file."""
        shown: dict[str, Any] = json.loads(self.say("files", "show", self.ids()[name], "--json"))
        return shown

    def settled(self, count: int, *live: str) -> Counter[str]:
        """Wait until so many files are at rest (those named `live` may be under way); how many are in each state."""

        def rests() -> bool:
            states = self.files()
            under_way = {name for name, state in states.items() if state in _LIVE}
            return len(states) == count and under_way <= set(live)

        until(rests)
        return Counter(self.files().values())

    def troubles(self) -> dict[str, str]:
        """What work waits for, and what is said of it."""
        status = json.loads(self.say("status", "--json"))
        return {
            each["what"]: each["message"] for each in (status["server"] or {}).get("troubles", ())
        }

    @property
    def published(self) -> set[str]:
        """Names of the outputs."""
        out = self.root / "out"
        return (
            {path.name for path in out.rglob("[!.]*") if path.is_file()} if out.exists() else set()
        )


_LIVE = {"live", "retrying"}


def zipped(**files: bytes) -> bytes:
    """A zip archive of these."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name.replace("_", "."), data)
    return made.getvalue()


def tarred(**files: bytes) -> bytes:
    """A tar.gz archive of these."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name.replace("_", "."))
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return made.getvalue()


BAD = EICAR + b"\n"
MARKED = b"first line\n" + MARKER + b"\n"
