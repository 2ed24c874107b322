"""`filemill tail`: read along with what happens, from the ledger, with a server or without one."""

from __future__ import annotations

import sys
import time
from typing import Annotated

import typer

from filemill.cli.application import command
from filemill.cli.output import wants_color
from filemill.cli.reading import open_ledger
from filemill.cli.session import Session
from filemill.model.events import FileIngested
from filemill.telemetry.console import Console
from filemill.telemetry.jsonlog import JsonLog

_LOOK_EVERY = 0.4
"""Seconds between two looks into the ledger."""
_RATE = 25
"""Lines of one kind a second from which on they are summed, as `run` does."""
_EPILOG = (
    "Example: filemill tail --state dead --pipeline orders.  Arrivals are shown with -v, with --json and with "
    "--state arrived; --json prints one object a line. It goes on until Ctrl-C (exit code 130)."
)


@command("tail", epilog=_EPILOG)
def tail(
    session: Session,
    *,
    tag: Annotated[str, typer.Option("--tag", help="Files with this tag; may end in *.")] = "",
    pipeline: Annotated[str, typer.Option("--pipeline", "-p", help="Of this pipeline.")] = "",
    state: Annotated[
        str, typer.Option("--state", "-s", help="arrived, done, dead, held, retrying...")
    ] = "",
    count: Annotated[
        int, typer.Option("-n", "--last", min=0, max=5_000, help="Begin with so many ends.")
    ] = 10,
    follow: Annotated[
        bool, typer.Option("--follow/--no-follow", help="Go on, or end after the last ends.")
    ] = True,
) -> None:
    """Read along with what becomes of files, as `run` prints it; works with a server and without."""
    with open_ledger(session) as queries:
        following = queries.follow(tag=tag, pipeline=pipeline, state=state)
        log = _log(session, count)
        all_kinds = session.output.json or session.verbose or state == "arrived"
        try:
            for event in following.last(count):
                log(event)
            while follow and not log.gone:
                for event in following.news():
                    if all_kinds or not isinstance(event, FileIngested):
                        log(event)
                for note in following.notes():
                    session.output.say(note)
                time.sleep(_LOOK_EVERY)
        finally:
            log.close(5.0)


def _log(session: Session, count: int) -> Console | JsonLog:
    if session.output.json:
        return JsonLog(sys.stdout)
    return Console(
        sys.stdout,
        color=wants_color(session.color, sys.stdout),
        quiet=session.quiet,
        verbose=True,
        rate=max(_RATE, count),
    )
