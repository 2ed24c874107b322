"""How the command line ends badly: exit codes, errors in one line, tracebacks in a file."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import traceback

from filemill.model.errors import FilemillError, SystemFault
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
    tell(f"error: {_lines(error.message)}\n")
    if error.help:
        tell(f"help: {_lines(error.help)}\n")
    return code


def tell(text: str) -> None:
    """Write to stderr. One that cannot be written (a full disk) changes nothing of the exit code."""
    with contextlib.suppress(OSError):
        sys.stderr.write(text)
        sys.stderr.flush()


def stdout_is_lost() -> bool:
    """Say whether stdout holds words that cannot be written: then an OSError is about these, not about a file."""
    try:
        sys.stdout.flush()
    except OSError:
        return True
    return False


def lost_output(error: OSError) -> int:
    """Say that stdout cannot be written, for another reason than that its reader had enough."""
    dispose_of_stdout()
    fault = SystemFault(
        f"the output cannot be written: {error.strerror}",
        help="what the command did is done, only its words are lost: look at where stdout goes",
    )
    return report(fault, FAILED)


def dispose_of_stdout() -> None:
    """Let what is still buffered for stdout go nowhere, so that it is not tried again at the end of the process."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def unexpected(error: Exception, *, verbose: bool) -> int:
    """Print an error nobody meant in one line and keep its traceback in a file (on screen if verbose)."""
    full = "".join(traceback.format_exception(error))
    said = printable(str(error).split("\n", 1)[0])
    tell(f"error: unexpected {type(error).__name__}: {said}\n")
    if verbose:
        tell(full)
        return FAILED
    handle, path = tempfile.mkstemp(prefix="filemill-error-", suffix=".log")
    with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as log:
        log.write(full)
    tell(f"help: this is a defect; the traceback is in {path} (or run again with -v)\n")
    return FAILED


def _lines(text: str) -> str:
    return "\n".join(printable(line) for line in text.splitlines())
