"""`filemill held`: what waits for a person, and why."""

from __future__ import annotations

from typing import Annotated

import typer

from filemill.cli.application import command, group
from filemill.cli.files import AfterOption, LimitOption, find, tell
from filemill.cli.reading import open_ledger, short
from filemill.cli.session import Session
from filemill.ports.clock import SystemClock
from filemill.queries.choosing import must_be
from filemill.telemetry.wording import age, printable

held = group("held")


@command("ls", held, epilog="Example: filemill held ls --reason unrouted")
def ls(
    session: Session,
    *,
    reason: Annotated[str, typer.Option("--reason", help="Such as unrouted.")] = "",
    limit: LimitOption = 50,
    after: AfterOption = None,
) -> None:
    """List what waits for a person, the latest first."""
    with open_ledger(session) as queries:
        page = queries.held(reason=reason, limit=limit, cursor=after)
    output = session.output
    if output.json:
        from filemill.service.shapes import held_item

        output.items("filemill.held/1", [held_item(item) for item in page.items], page.next)
        return
    if not page.items:
        output.say("nothing is held")
        return
    now = SystemClock().wall_ns()
    output.table(
        ("ID", "NAME", "REASON", "PIPELINE", "STEP", "AGE", "TAGS"),
        [
            (
                short(item.file),
                printable(item.name),
                printable(item.reason),
                item.run.pipeline if item.run else "-",
                (item.run.step if item.run else "") or "-",
                age(now - item.arrived_ns),
                " ".join(item.tags) or "none",
            )
            for item in page.items
        ],
        right=(5,),
        styles={2: "wait"},
    )


@command("show", held, epilog="Example: filemill held show 3fk2")
def show(
    session: Session,
    file: Annotated[
        str, typer.Argument(metavar="ID", help="A file or run: any unique prefix, or its name.")
    ],
) -> None:
    """Show one held file: why it waits, and its history."""
    with open_ledger(session) as queries:
        history = find(queries, file)
    must_be("held", history)
    tell(session, history, verbose=session.verbose)
