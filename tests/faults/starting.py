"""Fixtures that start the real program, or make a machine for it, and leave nothing of either behind."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from machine import CannotBeBuilt, Machine
from program import Program
from recorded import Recorded

AnyMachine = TypeVar("AnyMachine", bound=Machine)


@pytest.fixture
def start() -> Iterator[Callable[..., Program]]:
    """Starts the program in a project folder; whatever still runs at the end is killed."""
    running: list[Program] = []

    def begin(
        root: Path,
        *,
        entry: list[str] | None = None,
        log: Path | None = None,
        options: tuple[str, ...] = (),
        **environment: str,
    ) -> Program:
        program = Program(
            root,
            environment,
            entry or [sys.executable, "-m", "filemill"],
            log=log,
            options=options,
        )
        running.append(program)
        return program

    yield begin
    for program in running:
        if program.process.poll() is None:
            program.kill_tree()


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """A machine whose power can be cut. Asked for before `start`, it goes after the programs that run on it."""
    yield from _built(Machine(tmp_path / "machine"))


@pytest.fixture
def recorded(tmp_path: Path) -> Iterator[Recorded]:
    """A machine whose disks can be pictured, also asked for before `start`."""
    yield from _built(Recorded(tmp_path / "machine"))


def _built(machine: AnyMachine) -> Iterator[AnyMachine]:
    try:
        machine.build()
    except CannotBeBuilt as error:
        pytest.skip(f"no power cuts here: {error}")
    yield machine
    machine.off()
