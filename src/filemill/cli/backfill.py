"""`filemill backfill`: old files for the first time, behind whatever comes in."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Annotated

import typer

from filemill.cli.application import command
from filemill.cli.doing import DryRunOption, RateOption, YesOption, per_second
from filemill.cli.failing import OK, USAGE
from filemill.cli.paths import named_files
from filemill.cli.progress import progress
from filemill.cli.session import Session
from filemill.model.errors import UsageError
from filemill.telemetry.wording import plural, printable

_SHOWN = 10


@command(
    "backfill",
    epilog="Example: filemill backfill /archive/2025 --rate 50/s   the same again goes on where it stopped",
)
def backfill(
    session: Session,
    folders: Annotated[
        list[str], typer.Argument(metavar="DIR...", help="Every regular file below; or files.")
    ],
    *,
    rate: RateOption = None,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
) -> int:
    """Copy old files in, never moving or changing them; new ones go first. What came before is not taken again.

    They get the tags of the source whose folder holds them, else `from:backfill`. A running server takes them; without
    one they are processed here, and the command ends when all of them are done.
    """
    pace = per_second(rate)
    paths = named_files(folders)
    output = session.output
    if not paths or dry_run:
        if output.json:
            output.document("filemill.plan/1", what="would backfill", items=paths)
            return OK
        output.say(f"would take {plural(len(paths), 'file')}" if paths else "no file is there")
        for path in paths[:_SHOWN]:
            output.say(f"  {printable(path)}")
        if len(paths) > _SHOWN:
            output.say(f"  ... and {len(paths) - _SHOWN:,} more")
        return OK
    _agreed(len(paths), yes=yes)
    with progress(session, "backfilling", total=len(paths)) as step:
        taken = _through_server(session, paths, pace, step)
        if taken is None:
            return _here(session, paths, pace, step)
    known = len(paths) - taken
    if output.json:
        output.document("filemill.backfill/1", taken=taken, already=known, live=True)
    elif not session.quiet:
        before = f", {known:,} came before" if known else ""
        output.print(
            f"took {plural(taken, 'file')}{before}; filemill status shows what becomes of them"
        )
    return OK


def _agreed(count: int, *, yes: bool) -> None:
    """Ask before much is done.

    Raises:
        UsageError: nobody is there to be asked.
        Abort: no.
    """
    if yes or count == 1:
        return
    import sys

    if not sys.stdin.isatty():
        raise UsageError(f"{plural(count, 'file')} to take, and nobody to ask", help="add --yes")
    typer.confirm(f"backfill {plural(count, 'file')}?", abort=True, err=True)


def _through_server(
    session: Session, paths: Sequence[bytes], pace: float | None, step: Callable[..., None]
) -> int | None:
    """How many a running server took that were new to it; None when none runs."""
    from filemill.service.acts import TakePaths
    from filemill.service.asking import ask, listens
    from filemill.service.running import PIECE

    data = session.data()
    if not listens(data):
        return None
    taken = 0
    piece = PIECE if pace is None else max(1, min(PIECE, int(pace)))
    for first in range(0, len(paths), piece):
        began, group = time.monotonic(), paths[first : first + piece]
        taken += sum(ask(data, TakePaths(paths=tuple(group))).moved)
        step(len(group))
        if pace is not None and first + piece < len(paths):
            time.sleep(max(0.0, len(group) / pace - (time.monotonic() - began)))
    return taken


def _here(
    session: Session, paths: Sequence[bytes], pace: float | None, step: Callable[..., None]
) -> int:
    """Take and process them in this process."""
    from filemill.cli.once import finish, make_emit
    from filemill.cli.run import load_or_say
    from filemill.ports.registry import Registry
    from filemill.service.running import Backfill, once
    from filemill.service.server import Revision

    loaded = load_or_say(session, None)
    if loaded is None:
        return USAGE
    log, emit = make_emit(session, "text")
    work = once(
        loaded.plan,
        Revision(loaded.digest, loaded.text),
        Registry(),
        emit,
        paths,
        backfill=Backfill(step, pace),
    )
    try:
        outcome = asyncio.run(work)
    except KeyboardInterrupt:
        log.close()
        session.output.say("interrupted; the same command goes on where it stopped")
        raise
    finally:
        log.close()
    return finish(session, outcome)
