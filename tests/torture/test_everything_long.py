"""Twenty kills while the configuration changes, dead runs are redriven and `gc` runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import everything
import pytest
from program import Program


@pytest.mark.crash
@pytest.mark.slow
@pytest.mark.timeout(1_800)
def test_twenty_kills_while_everything_happens(
    tmp_path: Path,
    start: Callable[..., Program],
    record_property: Callable[[str, object], None],
) -> None:
    said = everything.kill_while_everything_happens(tmp_path / "project", start, kills=20, life=6)
    record_property("commands", dict(said))
    # Each kind of command took place, not only was refused.
    assert all(said[f"{kind} 0"] for kind in ("dead", "gc")), said
