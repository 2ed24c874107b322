"""`filemill files replay|cancel`: a finished file done once more, a waiting one called back."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from filemill.cli.application import command
from filemill.cli.doing import (
    DryRunOption,
    RateOption,
    ReasonOption,
    RevisionOption,
    YesOption,
    agreed,
    close,
    per_second,
    perform,
)
from filemill.cli.failing import OK
from filemill.cli.files import SinceOption, files, find
from filemill.cli.reading import open_ledger, since
from filemill.cli.session import Session
from filemill.model.deeds import Chosen, Replay
from filemill.model.errors import UsageError
from filemill.ports.clock import RandomIds
from filemill.queries.choosing import Target, ended_targets, revision_of, run_targets
from filemill.telemetry.wording import plural

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
    epilog="Examples: filemill files replay 3fk2 --supersede · filemill files replay --tag feed:a --since 24h --beside",
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
    supersede: Annotated[
        bool,
        typer.Option(
            "--supersede", help="The new outputs take the places of what the run published."
        ),
    ] = False,
    beside: Annotated[
        bool,
        typer.Option(
            "--beside", help="The new outputs get names of their own (a-2.csv); the old ones stay."
        ),
    ] = False,
    revision: RevisionOption = "current",
    rate: RateOption = None,
    reason: ReasonOption = "",
    dry_run: DryRunOption = False,
    yes: YesOption = False,
) -> int:
    """Do finished, cancelled or discarded runs once more, by new runs.

    Of a run that is done say what becomes of its outputs: --supersede or --beside. It is the latest run of each file
    and pipeline that ids or options name; a run's own id names that one.
    """
    if supersede and beside:
        raise UsageError("--supersede or --beside, not both")
    pace = per_second(rate)
    if bool(which) == bool(pipeline or tag or span or (state and not which)):
        raise UsageError(
            "ids, or options that say which, not both" if which else "nothing is named",
            help="filemill files replay ID..., or --pipeline, --tag, --since, --state",
        )
    with open_ledger(session) as queries:
        if which:
            states = {str(state)} if state else {each.value for each in Ended}
            targets = run_targets(queries, which, find, states, latest=True)
        else:
            wanted = str(state or Ended.DONE)
            targets = ended_targets(
                queries, wanted, pipeline=pipeline, tag=tag, since_ns=since(span)
            )
    done = sum(target.state == Ended.DONE for target in targets)
    if done and not (supersede or beside):
        what = "this run is" if len(targets) == 1 else f"{plural(done, 'run')} of these are"
        raise UsageError(
            f"{what} done: what it published is there, and doing it again makes it a second time",
            help="--supersede puts the new outputs in the places of the old ones, under the same names, each by one "
            "rename; --beside keeps both, the new ones under names of their own (a-2.csv)",
        )
    if not agreed(session, "replay", targets, yes=yes, dry_run=dry_run, named=bool(which)):
        return OK
    ids = RandomIds()

    def act(group: Sequence[Target]) -> Request:
        from filemill.service.acts import ReplayRuns

        runs = tuple(
            Replay(
                t.run,
                ids.new(),
                revision_of(revision, t) or t.revision,
                pinned=revision != "current",
                supersede=supersede,
            )
            for t in group
        )
        return ReplayRuns(runs=runs, reason=reason)

    result = perform(session, targets, act, "replaying", rate=pace)
    left = "the same command again would also do those again that are done by then; `--dry-run` lists them"
    return close(session, "filemill.replay/1", "replayed", result, left=left)


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
        targets = run_targets(queries, which, find, {"queued", "retrying", "running"})
    if not agreed(session, "cancel", targets, yes=yes, dry_run=dry_run, named=True):
        return OK

    def act(group: Sequence[Target]) -> Request:
        from filemill.service.acts import CancelRuns

        return CancelRuns(runs=tuple(Chosen(t.run, t.fence) for t in group), reason=reason)

    return close(
        session, "filemill.cancel/1", "cancelled", perform(session, targets, act, "cancelling")
    )
