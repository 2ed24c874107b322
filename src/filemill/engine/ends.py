"""What users' code can end by, beside returning."""

from __future__ import annotations

import asyncio
import sys

OWN: tuple[type[BaseException], ...] = (
    *(Exception, SystemExit),
    *(KeyboardInterrupt, GeneratorExit, asyncio.CancelledError),
)
"""What Python has: a step that calls `sys.exit` fails like any other.

No signal raises any of these in a worker: Ctrl-C is the server's, so they come from the step's own code.
"""


def ends() -> tuple[type[BaseException], ...]:
    """The same and, if Polars is there, its panics. Where it is not, nothing has to import it for that."""
    if "polars" not in sys.modules:
        return OWN
    from polars.exceptions import PanicException  # noqa: PLC0415 -- it is there already

    return (*OWN, PanicException)
