"""`filemill files erase`: all that is kept and known of somebody's files, removed for good."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from filemill.cli.application import command
from filemill.cli.doing import DryRunOption, ReasonOption, YesOption, agreed, close, perform
from filemill.cli.failing import OK
from filemill.cli.files import files, find
from filemill.cli.progress import progress
from filemill.cli.reading import open_ledger
from filemill.cli.session import Session
from filemill.model.errors import UsageError
from filemill.queries.choosing import Target
from filemill.telemetry.wording import plural, printable

if TYPE_CHECKING:
    from filemill.queries import FileHistory, Queries
    from filemill.service.acts import Request

_PAGE = 1_000
_SHOWN = 10


@command(
    "erase",
    files,
    epilog="Examples: filemill files erase 3fk2 · filemill files erase --tag partner:acme --reason 'asked to'",
)
def erase(
    session: Session,
    *,
    which: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[ID]...", help="Files: any unique prefix, or names.", show_default=False
        ),
    ] = None,
    tag: Annotated[str, typer.Option("--tag", help="Files with this tag; may end in *.")] = "",
    sender: Annotated[
        str, typer.Option("--from", metavar="WHO", help="Files that key:acme, oidc:bo... sent.")
    ] = "",
    name: Annotated[
        str, typer.Option("--name", help="Files of this part of a name, or pattern (*acme*).")
    ] = "",
    reason: ReasonOption = "",
    dry_run: DryRunOption = False,
    yes: YesOption = False,
) -> int:
    """Remove all that is kept and known of files: bytes, kept inputs, staged outputs, rows, copies of what failed.

    What was made from a file goes with it. Files at work stay: cancel them, or come again. Published outputs are not
    touched; they are listed. The audit keeps ids. `filemill gc --compact` then overwrites what the ledger's file holds.
    """
    if bool(which) == bool(tag or sender or name):
        raise UsageError(
            "ids, or options that say which, not both" if which else "nothing is named",
            help="filemill files erase ID..., or --tag, --from, --name",
        )
    with open_ledger(session) as queries:
        if which:
            roots = [find(queries, word).summary.file for word in which]
        else:
            roots = list(_chosen(queries, tag, sender, name))
        with progress(session, "looking") as step:
            histories = _with_children(queries, roots, step)
    targets = [
        Target(each.summary.file, each.summary.name, state=each.summary.state) for each in histories
    ]
    if not agreed(
        session, "erase", targets, yes=yes, dry_run=dry_run, named=bool(which), unit="file"
    ):
        return OK

    def act(group: Sequence[Target]) -> Request:
        from filemill.service.acts import EraseFiles

        return EraseFiles(files=tuple(each.file for each in group), reason=reason)

    result = perform(session, targets, act, "erasing", unit="file")
    gone = {target.file for target in result.moved}
    outputs = [
        printable(output.path.decode("utf-8", "surrogateescape"))
        for each in histories
        if each.summary.file in gone
        for output in each.delivered
    ]
    code = close(session, "filemill.erase/1", "erased", result, unit="file", published=outputs)
    if outputs and not session.output.json:
        session.output.say(f"what was published is left to you, {plural(len(outputs), 'output')}:")
        shown = outputs if session.verbose else outputs[:_SHOWN]
        for path in shown:
            session.output.say(f"  {path}")
        if len(outputs) > len(shown):
            session.output.say(f"  ... and {len(outputs) - len(shown):,} more (-v, --json)")
    return code


def _chosen(queries: Queries, tag: str, sender: str, name: str) -> Iterator[str]:
    """Every file that fits, the latest first."""
    cursor = None
    while True:
        page = queries.files(tag=tag, principal=sender, name=name, limit=_PAGE, cursor=cursor)
        yield from (each.file for each in page.items)
        cursor = page.next
        if cursor is None:
            return


def _with_children(
    queries: Queries, roots: Sequence[str], step: Callable[..., None]
) -> list[FileHistory]:
    """These files and all that was made from them, each behind what was made from it."""
    found: dict[str, FileHistory] = {}

    def take(file: str) -> None:
        if file not in found:
            history = queries.file(file)
            for child in history.children:
                take(child)
            found[file] = history
            step()

    for file in roots:
        take(file)
    return list(found.values())
