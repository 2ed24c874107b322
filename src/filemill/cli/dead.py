"""`filemill dead`: what failed for good, grouped by cause."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from filemill.cli.application import command, group
from filemill.cli.files import AfterOption, LimitOption, SinceOption, find, must_be, tell
from filemill.cli.reading import open_ledger, short, since
from filemill.cli.session import Session
from filemill.cli.shapes import dead_group, dead_item, group_name
from filemill.ports.clock import SystemClock
from filemill.telemetry.wording import age, clock, plural, printable, wrapped

if TYPE_CHECKING:
    from filemill.cli.output import Output
    from filemill.queries import DeadGroup, DeadItem, DeadPage

dead = group("dead")
_EACH = 5
"""Files shown of each group, when all groups are listed."""


@command("ls", dead)
def ls(
    session: Session,
    *,
    cause: Annotated[
        str, typer.Argument(metavar="GROUP", help="One group, as D-3fa2c1.", show_default=False)
    ] = "",
    pipeline: Annotated[str, typer.Option("--pipeline", "-p", help="Of this pipeline.")] = "",
    span: SinceOption = None,
    limit: LimitOption = 200,
    after: AfterOption = None,
) -> None:
    """List what failed for good, grouped by cause, the latest first."""
    with open_ledger(session) as queries:
        page = queries.dead(
            pipeline=pipeline,
            fingerprint=_bare(cause),
            since_ns=since(span),
            limit=limit,
            cursor=after,
        )
    output = session.output
    if output.json:
        output.document(
            "filemill.dead/1",
            total=page.total,
            groups=[dead_group(each) for each in page.groups],
            items=[dead_item(each) for each in page.items],
            next=page.next,
        )
        return
    if not page.groups:
        output.say(f"no group {cause}" if cause else "nothing is dead")
        return
    _print(output, page, limit if cause else _EACH)


def _bare(cause: str) -> str:
    """A group as the ledger knows it: `D-3fa2c1` -> `3fa2c1`."""
    return cause[2:] if cause[:2].lower() == "d-" else cause


def _print(output: Output, page: DeadPage, each: int) -> None:
    now = SystemClock().wall_ns()
    output.print(f"{plural(page.total, 'run')} in {plural(len(page.groups), 'group')}")
    for found in page.groups:
        output.print()
        _print_group(output, found, now)
        members = [item for item in page.items if item.run.fingerprint == found.fingerprint]
        _print_members(output, members[:each], now)
        if found.count > min(len(members), each):
            more = found.count - min(len(members), each)
            output.print(f"  ... {more:,} more: filemill dead ls {group_name(found.fingerprint)}")


def _print_group(output: Output, found: DeadGroup, now: int) -> None:
    name = output.paint("bad", group_name(found.fingerprint))
    where = f"{found.pipeline} > {found.step}"
    when = clock(found.first_ns)
    if found.count > 1:
        when += f"..{clock(found.last_ns)}"
    output.print(
        f"{name}  {output.paint('strong', where)}  {plural(found.count, 'run')}  "
        f"{when} ({age(now - found.last_ns)} ago)"
    )
    first = f"{found.error}: {found.message}".splitlines()[0]
    for line in wrapped(printable(first), output.columns and output.columns - 2):
        output.print(f"  {line}")


def _print_members(output: Output, members: list[DeadItem], now: int) -> None:
    rows = [
        (
            short(item.file),
            printable(item.name),
            str(item.run.attempt),
            age(now - item.run.state_ns),
        )
        for item in members
    ]
    if rows:
        output.table(("ID", "NAME", "TRIES", "AGE"), rows, right=(2, 3), indent="  ")


@command("show", dead)
def show(
    session: Session,
    file: Annotated[
        str,
        typer.Argument(metavar="ID", help="A dead file or run (any unique prefix), or a group."),
    ],
) -> None:
    """Show one dead file with its error in full, or the files of one group."""
    if file[:2].lower() == "d-":
        ls(session, cause=file)
        return
    with open_ledger(session) as queries:
        history = find(queries, file)
    must_be("dead", history)
    tell(session, history, verbose=True)
