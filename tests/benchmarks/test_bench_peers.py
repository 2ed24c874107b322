"""Every peer's script does its work right, where what it needs is installed; `make bench` installs it."""

from __future__ import annotations

import shutil
from pathlib import Path

import environments
import pytest
from contestants.scripts import CONTESTANTS, Script
from measuring import Measuring, Size

PLAYS = [(one, workload) for one in CONTESTANTS for workload in one.works if workload != "W3"]


@pytest.mark.parametrize(
    ("script", "workload"), PLAYS, ids=[f"{one.name}-{workload}" for one, workload in PLAYS]
)
def test_a_peer_does_the_work(tmp_path: Path, script: Script, workload: str) -> None:
    for program in script.programs:
        if not shutil.which(program):
            pytest.skip(f"{program} is not installed")
    if script.environment and not environments.is_made(script.environment):
        pytest.skip(f"benchmarks/.envs/{script.environment} is not made: `make bench` makes it")
    size = Size(files=30, events=400_000, drops=3, settled=5, calm=0.2)
    result = Measuring(tmp_path, size).run(script, workload)
    assert result.problems == []
    assert result.done


def test_every_environment_pins_its_peer_and_everything_else() -> None:
    names = {one.environment for one in CONTESTANTS if one.environment}
    assert names == {path.stem for path in environments.PEERS.glob("*.txt")}
    for name in names:
        assert environments.version_of(name).startswith(f"{name} ")
        lines = (environments.PEERS / f"{name}.txt").read_text(encoding="utf-8").split()
        assert all("==" in line for line in lines)


def test_a_peer_that_does_not_install_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "nothing.txt").write_text("./not-there==1\n")
    monkeypatch.setattr(environments, "PEERS", tmp_path)
    monkeypatch.setattr(environments, "ENVS", environments.HERE / ".envs" / "test")
    try:
        assert "nothing does not install: " in environments.make("nothing")
        assert not environments.is_made("nothing")
    finally:
        shutil.rmtree(environments.ENVS, ignore_errors=True)


def test_a_program_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    miller = next(one for one in CONTESTANTS if one.name == "Miller")
    assert miller.install() == "`mlr` is not installed (Debian: apt-get install miller)"
