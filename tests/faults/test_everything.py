"""Kills, reloads, and everything people do, all at once: exactly once at the end."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import everything
import people
import pytest
import versions
from program import Program, wait_for

pytestmark = [pytest.mark.crash, pytest.mark.timeout(600)]


@pytest.mark.slow
def test_kills_while_everything_happens(
    tmp_path: Path,
    start: Callable[..., Program],
    record_property: Callable[[str, object], None],
) -> None:
    said = everything.kill_while_everything_happens(tmp_path / "project", start, kills=4, life=1)
    record_property("commands", dict(said))
    assert said["reloaded"] >= 1, said


def test_the_judge_sees_what_is_there_twice_or_not_at_all(
    tmp_path: Path, start: Callable[..., Program]
) -> None:
    """The negative control: each damage to good outputs is named."""
    root = tmp_path / "project"
    versions.make(root)
    program = start(root)
    versions.drop(root, 0)
    versions.drop(root, 1)
    assert wait_for(lambda: versions.outputs(root) == 4, 60)
    assert program.stop() == 0
    assert everything.judge(root, 2) == []
    one = next(root.glob("out/even/*.log"))
    twice = one.with_name("again.log")
    shutil.copy(one, twice)
    assert len(everything.judge(root, 2)) == 1
    twice.unlink()
    one.write_text(one.read_text().replace("module=1", "module=2"))
    assert len(everything.judge(root, 2)) == 1
    one.unlink()
    assert len(everything.judge(root, 2)) == 1
    assert len(everything.judge(root, 3)) == 2


def test_the_judge_sees_what_was_mended_twice_or_should_have_been_discarded(tmp_path: Path) -> None:
    for number, (folder, text) in enumerate(
        [
            ("plain", everything.PLAIN.format(number=0)),
            ("plain", everything.PLAIN.format(number=10)),
            ("tables", people.MENDED.format(number=20)),
        ]
    ):
        path = tmp_path / "out" / folder / f"{number}.{'txt' if folder == 'plain' else 'csv'}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert everything.judge_others(tmp_path, 31) == []
    assert len(everything.judge_others(tmp_path, 41)) == 1
    shutil.copy(path, path.with_name("20-2.csv"))
    assert len(everything.judge_others(tmp_path, 31)) == 1
    path.with_name("20-2.csv").write_text(people.MENDED.format(number=30))
    assert len(everything.judge_others(tmp_path, 31)) == 1
