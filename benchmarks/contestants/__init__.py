"""Who is measured, and what each of them can do."""

from __future__ import annotations

from contestants import filemill, scripts
from contestants.contestant import Contestant, Place, Survival

ALL: tuple[Contestant, ...] = (*filemill.CONTESTANTS, *scripts.CONTESTANTS)

__all__ = ["ALL", "Contestant", "Place", "Survival"]
