"""The version of what is installed."""

from __future__ import annotations


def version() -> str:
    """Such as `0.1.0`."""
    from importlib.metadata import version as installed  # slow to load, and rarely needed

    return installed("filemill")
