"""`filemill drain`: the running server takes nothing new, finishes what runs, and ends."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Annotated

import typer

from filemill.cli.application import command
from filemill.cli.doing import ReasonOption
from filemill.cli.failing import OK
from filemill.cli.session import Session

_LOOK_EVERY = 0.2
_SAY_EVERY = 10.0


@command("drain", epilog="Example: filemill drain --wait && systemctl stop filemill")
def drain(
    session: Session,
    *,
    wait: Annotated[bool, typer.Option("--wait", help="Return when it has ended.")] = False,
    reason: ReasonOption = "",
) -> int:
    """Have the running server finish what runs and end; what is queued is kept for the next start."""
    pid, drains = _begun(session, reason)
    began = said = time.monotonic()
    while wait and drains():
        time.sleep(_LOOK_EVERY)
        if time.monotonic() - said >= _SAY_EVERY and not session.quiet:
            said = time.monotonic()
            session.output.say(f"draining for {said - began:.0f}s")
    if session.output.json:
        session.output.document("filemill.drain/1", pid=pid, ended=wait)
    elif not session.quiet:
        session.output.print(f"process {pid} has ended" if wait else f"process {pid} drains")
    return OK


def _begun(session: Session, reason: str) -> tuple[int | None, Callable[[], bool]]:
    """Ask for it: the server's pid, and what says whether it still drains."""
    if (address := session.address()) is None:
        from filemill.service.asking import ask_drain
        from filemill.service.reading import server_of

        data = session.data()
        here = server_of(data)
        ask_drain(data, reason)
        return here, lambda: server_of(data) == here
    from filemill.client.acting import ask_drain as ask_over_http
    from filemill.client.connection import Connection
    from filemill.client.reading import RemoteQueries

    queries = RemoteQueries(Connection(address))
    seen = queries.seen()
    there = seen.pid if seen else None
    ask_over_http(queries.connection, reason)

    def drains() -> bool:
        now = queries.seen()
        return now.pid == there if now else queries.connection.answers()

    return there, drains
