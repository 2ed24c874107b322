"""The version of what is installed."""

from importlib.metadata import version as _installed


def version() -> str:
    """Such as `0.1.0`."""
    return _installed("filemill")
