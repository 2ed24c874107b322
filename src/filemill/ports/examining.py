"""Examining a place: what a component finds out, by trying, about what it can promise there."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol, runtime_checkable

import msgspec


class Level(StrEnum):
    """How much a finding matters."""

    OK = "ok"
    WARNING = "warning"
    """It works, with less than what could be had."""
    PROBLEM = "problem"
    """It will not work, or not as promised."""


class Finding(msgspec.Struct, frozen=True):
    """One thing that was found out. A warning or problem has a `help` that says what to do."""

    level: Level
    about: str
    """`machine`, `data`, `syncing`, `access`, `source inbox`, `sink orders`."""
    what: str
    help: str = ""
    values: dict[str, str | int | None] | msgspec.UnsetType = msgspec.UNSET
    """What was measured, for programs."""


@runtime_checkable
class Examines(Protocol):
    """A source or sink that can examine its place before it is used, beside a running server too."""

    def examine(self) -> list[Finding]:
        """What is found; never raises for what is wrong with the place. Whatever it makes there it removes again."""
        ...
