"""Where in users' code an error came from: what of a traceback tells its reader something."""

from __future__ import annotations

import asyncio
import os
import traceback as tracebacks

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_STANDARD = os.path.dirname(os.path.abspath(asyncio.__file__)).rsplit(os.sep, 1)[0] + os.sep


def user_frames(error: BaseException) -> list[tracebacks.FrameSummary]:
    """The traceback's frames outside filemill, the standard library and installed packages, outermost first."""
    return [
        frame
        for frame in tracebacks.extract_tb(error.__traceback__)
        if not frame.filename.startswith((_PACKAGE, "<frozen"))
        and "site-packages" not in frame.filename
        and not frame.filename.startswith(_STANDARD)
    ]


def user_line(error: BaseException) -> str:
    """Where in the user's code an error came from: `steps.py:31 in add_vat`; `?` when nowhere in it."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{os.path.basename(error.filename)}:{error.lineno}"
    frames = user_frames(error)
    if not frames:
        return "?"
    return f"{os.path.basename(frames[-1].filename)}:{frames[-1].lineno} in {frames[-1].name}"


def user_traceback(error: BaseException) -> str:
    """The traceback's text, limited to the user's frames; the whole of it when there are none."""
    frames = user_frames(error)
    if not frames:
        return "".join(tracebacks.format_exception(error))
    return "".join(
        (
            "Traceback (most recent call last):\n",
            *tracebacks.format_list(frames),
            *tracebacks.format_exception_only(error),
        )
    )
