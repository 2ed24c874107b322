"""A daemon, and a project that has its files scanned."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from world import World

from clamav import Clamd, running_clamd


@pytest.fixture
def daemon() -> Iterator[Clamd]:
    """A clamd of this test's own, which it may kill."""
    with running_clamd() as clamd:
        yield clamd


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Callable[..., World]]:
    """Makes projects; whatever server of theirs is left is killed."""
    made: list[World] = []

    def make(scan: str, more: str = "") -> World:
        root = tmp_path / f"project{len(made)}"
        root.mkdir()
        made.append(World(root, scan, more))
        return made[-1]

    yield make
    for each in made:
        each.kill()
