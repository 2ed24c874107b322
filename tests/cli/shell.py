"""Runs the real command, as a process, in a folder of its own."""

import os
import subprocess
from pathlib import Path

from serving import FILEMILL

__all__ = ["FILEMILL", "Shell"]


class Shell:
    """One user in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        kept = {"PATH", "LANG", "LC_ALL", "TMPDIR"}
        self.environ = {k: v for k, v in os.environ.items() if k in kept}
        self.environ |= {"HOME": str(folder), "PYTHONUTF8": "1", "COLUMNS": "100"}
        self.environ["FILEMILL__WEB__LISTEN"] = "off"  # as everywhere, see tests/conftest.py

    def __call__(
        self, *words: str, code: int = 0, **environ: str
    ) -> subprocess.CompletedProcess[str]:
        """Run `filemill words`, demand this exit code, answer with what it printed."""
        done = subprocess.run(
            [*FILEMILL, *words],
            cwd=self.folder,
            env=self.environ | environ,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        return done
