"""`filemill backup`: ledger and content as they are at one moment, beside a running server or without one."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from filemill.cli.application import FAILED, OK, command
from filemill.cli.progress import Stages
from filemill.cli.session import Session
from filemill.cli.version import version
from filemill.telemetry.wording import plural, printable, size


@command("backup", epilog="Example: filemill backup /backup/filemill-monday --verify")
def backup(
    session: Session,
    folder: Annotated[str, typer.Argument(metavar="FOLDER", help="A new folder.")],
    *,
    verify: Annotated[bool, typer.Option("--verify", help="Then read all of it back.")] = False,
    copy: Annotated[
        bool,
        typer.Option("--copy", help="Copy content; else it is linked where that can be done."),
    ] = False,
) -> int:
    """Copy the ledger, and the content that it needs, as they are at one moment.

    Links cost no room and no time, but share the disk's damage: a backup on another disk is always a copy.
    """
    from filemill.durable import Durable, Failpoints
    from filemill.ports.clock import SystemClock
    from filemill.service.backups import make, problems_of

    durable = Durable(Failpoints.from_environment("backup"))
    target = os.path.abspath(folder)
    with Stages(session) as stages:
        manifest = make(
            session.data(),
            target,
            durable=durable,
            clock=SystemClock(),
            version=version(),
            copies=copy,
            told=stages,
        )
        wrong = problems_of(target, manifest, stages) if verify else []
    output = session.output
    if output.json:
        import msgspec

        output.document(
            "filemill.backup/1",
            **{k: v for k, v in msgspec.structs.asdict(manifest).items() if k != "schema"},
            verified=verify and not wrong,
            problems=wrong,
        )
    else:
        output.print(
            f"backup of {plural(manifest.files, 'file')} ({size(manifest.bytes)}) and the ledger in "
            f"{printable(target)}" + (", read back" if verify and not wrong else "")
        )
        if manifest.missing:
            output.say(
                f"{plural(manifest.missing, 'file')} came to an end meanwhile: their bytes are not in it"
            )
        for line in wrong:
            output.say(f"error: {printable(line)}")
    return FAILED if wrong else OK
