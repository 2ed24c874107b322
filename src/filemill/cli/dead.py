"""`filemill dead`: what failed for good, grouped by cause."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from filemill.cli.application import command, group
from filemill.cli.files import AfterOption, LimitOption, SinceOption, find
from filemill.cli.letters import status_of
from filemill.cli.reading import open_ledger, originals_of, short, since
from filemill.cli.session import Session
from filemill.ports.clock import SystemClock
from filemill.queries import group_name
from filemill.queries.choosing import must_be
from filemill.service.shapes import dead_cause, dead_group, dead_item, file_history
from filemill.telemetry.wording import age, clock, plural, printable, wrapped

if TYPE_CHECKING:
    from filemill.cli.output import Output
    from filemill.queries import DeadGroup, DeadItem, DeadPage

dead = group("dead")
_EACH = 5
"""Files shown of each group, when all groups are listed."""


@command("ls", dead, epilog="Example: filemill dead ls --pipeline orders --since 24h")
def ls(
    session: Session,
    *,
    cause: Annotated[
        str, typer.Argument(metavar="GROUP", help="One group, as D-3fa2c1.", show_default=False)
    ] = "",
    pipeline: Annotated[str, typer.Option("--pipeline", "-p", help="Of this pipeline.")] = "",
    span: SinceOption = None,
    everything: Annotated[
        bool, typer.Option("--all", "-a", help="Also groups that are resolved.")
    ] = False,
    limit: LimitOption = 200,
    after: AfterOption = None,
) -> None:
    """List what failed for good, grouped by cause, the latest first; groups that are resolved only with --all."""
    with open_ledger(session) as queries:
        page = queries.dead(
            resolved=everything,
            pipeline=pipeline,
            fingerprint=cause,
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
            hidden=page.hidden,
        )
        return
    hidden = f"{plural(page.hidden, 'resolved group')} not shown: --all" if page.hidden else ""
    if not page.groups:
        output.say(hidden or (f"no group {cause}" if cause else "nothing is dead"))
        return
    _print(output, page, limit if cause else _EACH)
    if hidden and not session.quiet:
        output.say(hidden)


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
    if clock(found.last_ns) != when:
        when += f"..{clock(found.last_ns)}"
    output.print(
        f"{name}  {output.paint('strong', where)}  {plural(found.count, 'run')}  "
        f"{when} ({age(now - found.last_ns)} ago)  {status_of(output, found.status)}"
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


@command(
    "show",
    dead,
    epilog="Example: filemill dead show 3fk2abcd",
)
def show(
    session: Session,
    file: Annotated[
        str,
        typer.Argument(metavar="ID", help="A dead file or run (any unique prefix), or a group."),
    ],
) -> None:
    """Show a dead file: why, your own frames, bad records, what is kept, what next; or a group, and why it is one."""
    from filemill.cli.letters import (
        cause_items,
        dead_runs,
        draw_cause,
        draw_letter,
        letter_shape,
    )

    output = session.output
    with open_ledger(session) as queries:
        if file[:2].lower() == "d-":
            cause = queries.cause(file)
            if output.json:
                output.document(
                    "filemill.dead-group/1", group=dead_cause(cause), items=cause_items(cause)
                )
                return
            draw_cause(output, cause, SystemClock().wall_ns())
            return
        history = find(queries, file)
    must_be("dead", history)
    runs, originals = dead_runs(history, file), originals_of(session, history)
    root = session.root()
    if output.json:
        output.document(
            "filemill.letter/1",
            file=file_history(history),
            letters=[letter_shape(history, run, originals, root) for run in runs],
        )
        return
    draw_letter(output, history, runs, originals, root=root, verbose=session.verbose)


@command(
    "export",
    dead,
    epilog="Example: filemill dead export D-3fa2c1 --to mend   originals with their reasons",
)
def export(
    session: Session,
    *,
    what: Annotated[
        str,
        typer.Argument(
            metavar="ID|GROUP", help="A dead file or run, or a group.", show_default=False
        ),
    ] = "",
    everything: Annotated[bool, typer.Option("--all", help="Everything that is dead.")] = False,
    to: Annotated[
        str, typer.Option("--to", metavar="DIR", help="Where to; made if it is missing.")
    ] = "dead-letters",
    records: Annotated[
        bool,
        typer.Option(
            "--records",
            help="Only the bad records, in the input's format with its header; also of files that are done.",
        ),
    ] = False,
) -> int:
    """Write originals, each with its `.reason.json`, into a folder; nothing there is overwritten, no state changes."""
    from filemill.cli.exporting import export_all

    return export_all(session, what, everything=everything, to=to, records=records)
