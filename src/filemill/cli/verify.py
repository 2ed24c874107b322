"""`filemill verify`: is the ledger sound, and is all content there?"""

from __future__ import annotations

from typing import Annotated

import typer

from filemill.cli.application import FAILED, OK, command
from filemill.cli.progress import Stages
from filemill.cli.session import Session
from filemill.telemetry.wording import number, plural, printable

_SHOWN = 20


@command("verify", epilog="Example: filemill verify --deep")
def verify(
    session: Session,
    *,
    deep: Annotated[
        bool, typer.Option("--deep", help="Read all content and compare its digests.")
    ] = False,
) -> int:
    """Look at the ledger's file (all pages, indexes and references) and at every content it needs.

    Changes nothing, and works beside a running server.
    """
    from filemill.service.verifying import verify as look

    data = session.data()
    with Stages(session) as stages:
        verdict = look(data, stages, deep=deep)
    output = session.output
    if output.json:
        output.document(
            "filemill.verify/1",
            sound=verdict.sound,
            ledger=list(verdict.ledger),
            content=[{"reference": r, "problem": said} for r, said in verdict.content],
            looked=verdict.looked,
            unknown=verdict.unknown,
        )
        return OK if verdict.sound else FAILED
    for line in verdict.ledger:
        output.print(f"the ledger: {printable(line)}")
    for reference, said in verdict.content[:_SHOWN]:
        output.print(f"content/{printable(reference)} {said}")
    if len(verdict.content) > _SHOWN:
        output.print(f"and {number(len(verdict.content) - _SHOWN)} more")
    if verdict.unknown:
        output.say(
            f"{plural(verdict.unknown, 'content')} that no row names: kept, they may be somebody's only copy"
        )
    if verdict.sound:
        read = " and read" if deep else ""
        output.print(f"sound: the ledger, and {plural(verdict.looked, 'content')} looked at{read}")
        return OK
    if verdict.ledger:
        output.say("help: stop the server, then: filemill restore BACKUP --force")
    else:
        output.say(
            "help: a backup may have these bytes (BACKUP/content/...): put them back under the same name"
        )
    return FAILED
