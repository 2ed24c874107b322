"""`filemill gc`: remove now what `retention:` says may go."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from filemill.cli.application import command
from filemill.cli.configuring import load_config
from filemill.cli.progress import Stages
from filemill.cli.reading import span
from filemill.cli.session import Session
from filemill.model.errors import UsageError
from filemill.telemetry.wording import plural, size

if TYPE_CHECKING:
    from filemill.intake.retention import Swept

_EPILOG = "Example: filemill gc --dry-run"


@command("gc", epilog=_EPILOG)
def gc(
    session: Session,
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", "-n", help="Say what would go; change nothing.")
    ] = False,
    older_than: Annotated[
        str | None,
        typer.Option(
            "--older-than",
            metavar="SPAN",
            help="In place of `content` and `ledger`: what ended longer ago than this (7d).",
        ),
    ] = None,
    compact: Annotated[
        bool,
        typer.Option(
            "--compact",
            help="Give what the ledger's file does not use back to the disk; needs twice its size for a while.",
        ),
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="With --older-than: do not ask.")
    ] = False,
) -> None:
    """Remove what `retention:` says may go: bytes of files at an end, then what is known of them.

    A running server does this by itself, every hour. Whatever waits for a person stays until `dead` is over.
    """
    from filemill.service.collecting import collect, compact_ledger, would_collect

    seconds = None if older_than is None else span(older_than)
    plan = load_config(session, trusting=True).plan
    if seconds is not None and not dry_run and not yes:
        _ask(f"remove bytes and history of all files that ended more than {older_than} ago?")
    with Stages(session) as stages:
        work = would_collect if dry_run else collect
        swept = work(
            plan, older_than=seconds, told=lambda done: stages("looking", "file", done.looked)
        )
    sizes = compact_ledger(plan.data) if compact and not dry_run else None
    if session.output.json:
        session.output.document(
            "filemill.gc/1",
            dry_run=dry_run,
            files=swept.files,
            bytes=swept.bytes,
            forgotten=swept.forgotten,
            rows=swept.rows,
            ledger_bytes=None if sizes is None else {"before": sizes[0], "after": sizes[1]},
        )
        return
    session.output.print(_told(swept, dry=dry_run))
    if sizes is not None:
        session.output.print(f"ledger: {size(sizes[0])} before, {size(sizes[1])} now")


def _told(swept: Swept, *, dry: bool) -> str:
    if not (swept.files or swept.forgotten or swept.rows):
        return "nothing is old enough to go"
    rows = "" if dry else f" ({plural(swept.rows, 'row')})"
    return (
        f"{'would free' if dry else 'freed'} {size(swept.bytes)} of {plural(swept.files, 'file')}; "
        f"{'would forget' if dry else 'forgot'} {plural(swept.forgotten, 'file')}{rows}"
    )


def _ask(question: str) -> None:
    """Go on only if a person says yes.

    Raises:
        UsageError: there is nobody to ask.
    """
    if not sys.stdin.isatty():
        raise UsageError(
            "--older-than removes more than the configuration says, and there is nobody to ask",
            help="--dry-run shows what would go; --yes does it",
        )
    typer.confirm(question, abort=True, err=True)
