"""How the command line ends badly: exit codes, errors in one line, tracebacks in a file."""

from __future__ import annotations

import os
import sys
import tempfile
import traceback

from filemill.model.errors import FilemillError
from filemill.telemetry.wording import printable

OK = 0
FAILED = 1
"""It ran, and something failed: a file is dead, a check found problems, the machine is in trouble."""
USAGE = 2
"""Words, paths, ids or a configuration that cannot be acted on."""
BUSY = 75
"""Another process holds it; trying again later may help."""
INTERRUPTED = 130


def report(error: FilemillError, code: int) -> int:
    """Print an error that filemill raised on purpose, with its help, and answer with `code`."""
    sys.stderr.write(f"error: {_lines(error.message)}\n")
    if error.help:
        sys.stderr.write(f"help: {_lines(error.help)}\n")
    return code


def unexpected(error: Exception, *, verbose: bool) -> int:
    """Print an error nobody meant in one line and keep its traceback in a file (on screen if verbose)."""
    full = "".join(traceback.format_exception(error))
    said = printable(str(error).split("\n", 1)[0])
    sys.stderr.write(f"error: unexpected {type(error).__name__}: {said}\n")
    if verbose:
        sys.stderr.write(full)
        return FAILED
    handle, path = tempfile.mkstemp(prefix="filemill-error-", suffix=".log")
    with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as log:
        log.write(full)
    sys.stderr.write(f"help: this is a defect; the traceback is in {path} (or run again with -v)\n")
    return FAILED


def _lines(text: str) -> str:
    return "\n".join(printable(line) for line in text.splitlines())
