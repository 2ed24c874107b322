"""Thirty kills while the configuration changes and people do everything that can be done."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import everything
import pytest
from program import Program


@pytest.mark.crash
@pytest.mark.slow
@pytest.mark.timeout(1_800)
def test_thirty_kills_while_everything_happens(
    tmp_path: Path,
    start: Callable[..., Program],
    record_property: Callable[[str, object], None],
) -> None:
    said = everything.kill_while_everything_happens(tmp_path / "project", start, kills=30, life=6)
    record_property("commands", dict(said))
    # Each kind of act took place, not only was refused; reloads were done, and died.
    done = ("reloaded", "killed within a reload", "released", "discarded", "replayed", "edited")
    ended = ("redrive 0", "gc 0", "resolve 0", "pause 0", "backfill 0", "backup 0")
    assert all(said[each] for each in (*done, *ended)), said
