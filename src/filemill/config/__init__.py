"""Configuration: text to plan, with every problem at its place.

`load` (in `loading`) is the door. Inside, in the order of the work: `locating` finds the file, `reading` makes a tree
of texts with places, `layers` merges files and environment, `checking` reads it into parts and judges them (with
`components`, `stepping`, `pipelines`, `tagging`, `folders`, `encrypting`, and `asking` for what only a worker may find
out), `compiling` makes the plan, `revision` what the ledger keeps of it. `problems` and `rendering` say what is wrong.
`schema` and `reference` describe the language from the same models.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from filemill.config.effective import Setting
    from filemill.config.loading import Loaded, load
    from filemill.config.locating import locate
    from filemill.config.problems import ConfigProblems, Problem

__all__ = ["ConfigProblems", "Loaded", "Problem", "Setting", "load", "locate"]


def __getattr__(name: str) -> Any:
    """The names above, loaded when one is asked for: who only wants to know where things are waits for no parser."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from filemill.config import loading  # noqa: PLC0415 -- late is the point

    return getattr(loading, name)
