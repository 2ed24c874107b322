"""`filemill dead input`: what a failed step was given, on stdout or in a file."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from filemill.cli.application import command
from filemill.cli.dead import dead
from filemill.cli.files import find
from filemill.cli.letters import dead_runs
from filemill.cli.reading import open_ledger, originals_of, short
from filemill.cli.session import Session
from filemill.model.errors import NotFound, SystemFault, UsageError
from filemill.queries.choosing import must_be
from filemill.service.originals import Originals, pieces
from filemill.service.reasons import why_not_kept
from filemill.telemetry.wording import printable, size

if TYPE_CHECKING:
    from filemill.queries import FileHistory, RunHistory

_PEEK = 64 << 10
"""Bytes that are looked at before a terminal gets any."""


@command(
    "input",
    dead,
    epilog="Examples: filemill dead input 3fk2 > given.csv · filemill dead input 3fk2 -o given.parquet",
)
def write_input(
    session: Session,
    which: Annotated[
        str,
        typer.Argument(metavar="ID", help="A dead file or run: any unique prefix, or its name."),
    ],
    *,
    to: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="FILE", help="Into this new file; default: stdout."),
    ] = None,
) -> None:
    """Write what the failed step was given: records in the format they were read in, or the whole file."""
    if to is None and session.output.json:
        raise UsageError("stdout is for the input itself", help="with --json, add -o FILE")
    with open_ledger(session) as queries:
        history = find(queries, which)
    must_be("dead", history)
    run = _only(history, which)
    originals = originals_of(session, history)
    with _given(history, run, originals) as (given, length):
        if to is None:
            _to_stdout(given, length)
            return
        _to_file(given, length, to)
    if session.output.json:
        run_id, step = run.summary.run, run.kept.step if run.kept else run.summary.step
        session.output.document("filemill.input/1", run=run_id, step=step, to=to, size=length)
    elif not session.quiet:
        session.output.say(f"{size(length)} in {printable(to)}")


def _only(history: FileHistory, which: str) -> RunHistory:
    """The one dead run that is meant.

    Raises:
        UsageError: several are.
    """
    runs = dead_runs(history, which)
    if len(runs) > 1:
        known = ", ".join(f"{short(run.summary.run)} ({run.summary.pipeline})" for run in runs)
        raise UsageError(
            f"{len(runs)} runs of it are dead: {known}", help="name one of them by its id"
        )
    return runs[0]


@contextmanager
def _given(
    history: FileHistory, run: RunHistory, originals: Originals
) -> Iterator[tuple[BinaryIO, int]]:
    """What the run's failed step was given, open.

    Raises:
        NotFound: nothing is kept of it, and the step was given something else than the original.
    """
    if run.input:
        with originals.input(run) as given:
            yield given
        return
    if why := why_not_kept(run):
        which = short(run.summary.run)
        raise NotFound(
            f"nothing is kept of run {which}: {why}",
            help=f"filemill dead export {which} writes the original; filemill try FILE shows what steps make of it",
        )
    with originals.opened(history.content) as given:
        yield given


def _to_stdout(given: BinaryIO, length: int) -> None:
    """Write it out; a terminal gets text only.

    Raises:
        UsageError: it is no text, and stdout is a terminal.
    """
    if sys.stdout.isatty() and _is_binary(os.pread(given.fileno(), min(_PEEK, length), 0)):
        raise UsageError(
            "this is no text, and a terminal would take it for commands; nothing was written",
            help="filemill dead input ID > FILE, or -o FILE",
        )
    sys.stdout.flush()
    for piece in pieces(given, 0, length):
        sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()


def _is_binary(head: bytes) -> bool:
    """Say whether these bytes are no text, or hold what a terminal acts on."""
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        if len(head) < _PEEK or len(head) - error.start > 3:
            return True  # not only a character that is cut at the end
        text = head[: error.start].decode("utf-8")
    return any(not each.isprintable() and each not in "\r\n\t\ufeff" for each in text)


def _to_file(given: BinaryIO, length: int, to: str) -> None:
    """Write it to a file that is not there yet.

    Raises:
        UsageError: it is there, or cannot be made.
        SystemFault: the disk is full or failing; nothing is left of it.
    """
    try:
        out = open(to, "xb")  # noqa: SIM115 -- closed below, whatever happens
    except FileExistsError as error:
        raise UsageError(
            f"{printable(to)} is there already; nothing was written", help="name another file"
        ) from error
    except OSError as error:
        raise UsageError(f"cannot write {printable(to)}: {error.strerror}") from error
    try:
        with out:
            out.writelines(pieces(given, 0, length))
    except OSError as error:
        os.unlink(to)  # noqa: TID251 -- the person's own new file, of which a half is no use
        raise SystemFault(
            f"{printable(to)} could not be written: {error.strerror}",
            help="make room, and do it again",
        ) from error
