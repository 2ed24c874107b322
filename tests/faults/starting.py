"""The fixture that starts the real program and leaves none of it behind."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from program import Program


@pytest.fixture
def start() -> Iterator[Callable[..., Program]]:
    """Starts the program in a project folder; whatever still runs at the end is killed."""
    running: list[Program] = []

    def begin(root: Path, *, entry: list[str] | None = None, **environment: str) -> Program:
        program = Program(root, environment, entry or [sys.executable, "-m", "filemill"])
        running.append(program)
        return program

    yield begin
    for program in running:
        if program.process.poll() is None:
            program.kill_tree()
