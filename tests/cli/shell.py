"""Runs the real command, as a process, in a folder of its own."""

import os
import subprocess
from pathlib import Path

from commanding import ended
from serving import FILEMILL

__all__ = ["FILEMILL", "Shell"]
INSIDE = {
    "audit",
    "check",
    "config",
    "dead",
    "explain",
    "files",
    "graph",
    "held",
    "keys",
    "sessions",
    "status",
    "steps",
}


class Shell:
    """One user in one folder."""

    def __init__(self, folder: Path, *, inside: bool = False) -> None:
        """`inside`: commands that look or ask are done in this process, which saves most of their time."""
        self.folder = folder
        self._inside = inside
        kept = {"PATH", "LANG", "LC_ALL", "TMPDIR"}
        self.environ = {k: v for k, v in os.environ.items() if k in kept}
        self.environ |= {"HOME": str(folder), "PYTHONUTF8": "1", "COLUMNS": "100"}
        self.environ["FILEMILL__WEB__LISTEN"] = "off"  # as everywhere, see tests/conftest.py

    def __call__(
        self, *words: str, code: int = 0, **environ: str
    ) -> subprocess.CompletedProcess[str]:
        """Run `filemill words`, demand this exit code, answer with what it printed."""
        everything = self.environ | environ
        if self._inside and words[0] in INSIDE and "FILEMILL_FAIL" not in everything:
            done = subprocess.CompletedProcess(words, *ended(self.folder, words, everything))
        else:
            done = self._process(words, everything)
        assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        return done

    def _process(
        self, words: tuple[str, ...], environ: dict[str, str]
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*FILEMILL, *words],
            cwd=self.folder,
            env=environ,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
