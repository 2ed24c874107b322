"""Each peer's own virtual environment, made when it is first wanted.

`peers/NAME.txt` pins what `.envs/NAME` holds; another text, or another Python, makes it anew. Nothing of a peer
comes near the environment of the product.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ENVS = HERE / ".envs"
PEERS = HERE / "peers"
STAMP = "made-from"
PATIENCE = 900.0


def python_of(name: str) -> Path:
    """The Python of a peer's environment, which need not be there."""
    return ENVS / name / "bin" / "python"


def is_made(name: str) -> bool:
    """The environment holds what its text asks for."""
    stamp = ENVS / name / STAMP
    return stamp.exists() and stamp.read_text(encoding="utf-8") == _wanted(name)


def make(name: str) -> str:
    """Make a peer's environment where it is not made; says why it cannot be, or nothing."""
    if is_made(name):
        return ""
    folder = ENVS / name
    print(f"installing {name} into {folder.relative_to(HERE.parent)} ..", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    for command in (
        [sys.executable, "-m", "venv", str(folder)],
        [str(python_of(name)), "-m", "pip", "install", "--quiet", "-r", str(PEERS / f"{name}.txt")],
    ):
        try:
            done = subprocess.run(
                command, check=False, capture_output=True, text=True, timeout=PATIENCE
            )
        except subprocess.TimeoutExpired:
            return f"{name} was not installed after {PATIENCE:.0f} s"
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
            reason = (lines or done.stderr.splitlines() or ["no reason was told"])[-1]
            return f"{name} does not install: {reason.removeprefix('ERROR: ').strip()}"
    (folder / STAMP).write_text(_wanted(name), encoding="utf-8")
    return ""


def version_of(name: str) -> str:
    """`celery 5.7.0`: a peer's own line of its text."""
    for line in (PEERS / f"{name}.txt").read_text(encoding="utf-8").splitlines():
        package, _, version = line.partition("==")
        if package == name:
            return f"{name} {version}"
    raise ValueError(f"peers/{name}.txt pins no {name}")


def _wanted(name: str) -> str:
    return f"{sys.version}\n{(PEERS / f'{name}.txt').read_text(encoding='utf-8')}"
