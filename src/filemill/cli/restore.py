"""`filemill restore`: a data directory from a backup; what is there is moved aside, never removed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from filemill.cli.application import command
from filemill.cli.progress import Stages
from filemill.cli.session import Session
from filemill.ports.clock import SystemClock
from filemill.telemetry.wording import age, plural, printable

if TYPE_CHECKING:
    from filemill.service.backups import Manifest


@command("restore", epilog="Example: filemill restore /backup/filemill-monday --force")
def restore(
    session: Session,
    backup: Annotated[str, typer.Argument(metavar="BACKUP", help="The folder of a backup.")],
    *,
    data: Annotated[
        str | None, typer.Option("--data", metavar="DIR", help="The data directory to make.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Move the data directory that is there aside.")
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Only read the backup back, and say whether it is whole."),
    ] = False,
) -> None:
    """Make a data directory of a backup, after all of the backup was read back.

    What came in, or came to an end, after the backup was made is not in it: see docs/operations.md.
    """
    from filemill.durable import Durable, Failpoints
    from filemill.service import restoring

    output = session.output
    with Stages(session) as stages:
        if dry_run:
            manifest = restoring.verified(os.path.abspath(backup), stages)
            aside = target = None
        else:
            target = os.path.abspath(data) if data else session.data()
            done = restoring.restore(
                backup,
                target,
                durable=Durable(Failpoints.from_environment("restore")),
                clock=SystemClock(),
                told=stages,
                force=force,
            )
            manifest, aside = done.manifest, done.aside
    if output.json:
        output.document(
            "filemill.restore/1",
            data=target,
            aside=aside,
            files=manifest.files,
            bytes=manifest.bytes,
            missing=manifest.missing,
            live=manifest.live,
            made_ns=manifest.made_ns,
        )
        return
    _tell(session, manifest, target, aside)


def _tell(session: Session, manifest: Manifest, target: str | None, aside: str | None) -> None:
    output = session.output
    old = age(SystemClock().wall_ns() - manifest.made_ns)
    what = f"{plural(manifest.files, 'file')} and the ledger, of {old} ago"
    if target is None:
        output.print(f"the backup is whole: {what}")
        return
    output.print(f"restored {what}, in {printable(target)}")
    if aside:
        output.print(f"what was there is in {printable(aside)}")
    if manifest.live:
        output.print(
            f"{plural(manifest.live, 'file')} were not at an end then and go on at the next start; what they "
            "published since will be published again"
        )
        output.say("help: filemill files ls --state live lists them, before you start")
