"""requirements.lock: everything pinned by hash, nothing that says where from."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LOCK = (ROOT / "requirements.lock").read_text()
PINNED = dict(re.findall(r"^([a-z0-9_.-]+)==(\S+)", LOCK, re.MULTILINE))


def _names(requirements):
    return {re.match(r"[A-Za-z0-9_.-]+", each).group().lower() for each in requirements}


def test_every_dependency_is_pinned():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = _names(project["project"]["dependencies"]) | _names(
        project["build-system"]["requires"]
    )
    wanted |= _names(project["dependency-groups"]["dev"])
    assert wanted <= set(PINNED), "scripts/lock writes it anew"


def test_every_pin_has_hashes_and_no_address():
    blocks = re.split(r"^(?=[a-z0-9_.-]+==)", LOCK, flags=re.MULTILINE)[1:]
    assert len(blocks) == len(re.findall(r"^[a-z0-9_.-]+==", LOCK, re.MULTILINE)) >= len(PINNED)
    assert all("--hash=sha256:" in block for block in blocks)
    assert "://" not in LOCK
