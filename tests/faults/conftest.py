"""What all fault tests share."""

from __future__ import annotations

from starting import start

__all__ = ["start"]
