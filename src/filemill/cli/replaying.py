"""`filemill files replay|cancel`: a finished file done once more, a waiting one called back."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from filemill.cli.application import command
from filemill.cli.choosing import Target, ended_targets, run_targets
from filemill.cli.doing import (
    DryRunOption,
    RateOption,
    ReasonOption,
    YesOption,
    agreed,
    close,
    per_second,
    perform,
)
from filemill.cli.failing import OK
from filemill.cli.files import SinceOption, files
from filemill.cli.reading import open_ledger, since
from filemill.cli.session import Session
from filemill.model.deeds import Chosen, Replay
from filemill.model.errors import UsageError
from filemill.ports.clock import RandomIds

if TYPE_CHECKING:
    from filemill.service.acts import Request


class Ended(StrEnum):
    """How a run ended that can be done once more."""

    DONE = "done"
    CANCELLED = "cancelled"
    DISCARDED = "discarded"


IdsArgument = Annotated[
    list[str], typer.Argument(metavar="ID...", help="Files or runs: any unique prefix, or names.")
]


@command(
    "replay",
    files,
    epilog="Examples: filemill files replay 3fk2 · filemill files replay --pipeline orders --since 24h --rate 20/s",
)
def replay(
    session: Session,
    *,
    which: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[ID]...",
            help="Files or runs: any unique prefix, or names.",
            show_default=False,
        ),
    ] = None,
    pipeline: Annotated[str, typer.Option("--pipeline", "-p", help="Of this pipeline.")] = "",
    tag: Annotated[str, typer.Option("--tag", help="Of files with this tag; may end in *.")] = "",
    span: SinceOption = None,
    state: Annotated[
        Ended | None, typer.Option("--state", "-s", help="Runs that ended so; without ids: done.")
    ] = None,
    old: Annotated[
        bool,
        typer.Option("--old", help="With the configuration it ran with; else the current one."),
    ] = False,
    rate: RateOption = None,
    reason: ReasonOption = "",
    dry_run: DryRunOption = False,
    yes: YesOption = False,
) -> int:
    """Do finished, cancelled or discarded runs once more, by new runs; what was published stays.

    Without ids: the latest run of every file and pipeline that the options name.
    """
    pace = per_second(rate)
    if bool(which) == bool(pipeline or tag or span or (state and not which)):
        raise UsageError(
            "ids, or options that say which, not both" if which else "nothing is named",
            help="filemill files replay ID..., or --pipeline, --tag, --since, --state",
        )
    with open_ledger(session) as queries:
        if which:
            states = {str(state)} if state else {each.value for each in Ended}
            targets = run_targets(queries, which, states)
        else:
            wanted = str(state or Ended.DONE)
            targets = ended_targets(
                queries, wanted, pipeline=pipeline, tag=tag, since_ns=since(span)
            )
    if not agreed(session, "replay", targets, yes=yes, dry_run=dry_run, named=bool(which)):
        return OK
    ids = RandomIds()

    def act(group: Sequence[Target]) -> Request:
        from filemill.service.acts import ReplayRuns

        runs = tuple(Replay(t.run, ids.new(), t.revision, pinned=old) for t in group)
        return ReplayRuns(runs=runs, reason=reason)

    result = perform(session, targets, act, rate=pace)
    return close(session, "filemill.replay/1", "replayed", result)


@command("cancel", files, epilog="Example: filemill files cancel 3fk2")
def cancel(
    session: Session,
    which: IdsArgument,
    *,
    reason: ReasonOption = "",
    dry_run: DryRunOption = False,
    yes: YesOption = False,
) -> int:
    """Call runs back that wait or run: nothing of them is published. The file can be replayed."""
    with open_ledger(session) as queries:
        targets = run_targets(queries, which, {"queued", "retrying", "running"})
    if not agreed(session, "cancel", targets, yes=yes, dry_run=dry_run, named=True):
        return OK

    def act(group: Sequence[Target]) -> Request:
        from filemill.service.acts import CancelRuns

        return CancelRuns(runs=tuple(Chosen(t.run, t.fence) for t in group), reason=reason)

    return close(session, "filemill.cancel/1", "cancelled", perform(session, targets, act))
