# ruff: noqa: INP001 -- a project of a user, not a package
"""The demo's own steps: plain functions, one record at a time."""

from filemill import Reject


def place(row: dict) -> dict:
    """Join city and state; an airport without a position is bad."""
    if row["latitude"] is None:
        raise Reject("no position")
    return row | {"place": f"{row['city']}, {row['state']}"}


def celsius(row: dict, *, digits: int = 1) -> dict:
    """Replace degrees Fahrenheit."""
    return row | {"temp": round((row["temp"] - 32) / 1.8, digits)}
