"""`filemill files replay|cancel`: a finished file done once more, a waiting one called back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from filemill.cli.application import command
from filemill.cli.choosing import Target, run_targets
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
from filemill.cli.files import files
from filemill.cli.reading import open_ledger
from filemill.cli.session import Session
from filemill.model.deeds import Chosen, Replay
from filemill.ports.clock import RandomIds

if TYPE_CHECKING:
    from filemill.service.acts import Request

IdsArgument = Annotated[
    list[str], typer.Argument(metavar="ID...", help="Files or runs: any unique prefix.")
]


@command("replay", files, epilog="Example: filemill files replay 3fk2")
def replay(
    session: Session,
    which: IdsArgument,
    *,
    old: Annotated[
        bool,
        typer.Option("--old", help="With the configuration it ran with; else the current one."),
    ] = False,
    rate: RateOption = None,
    reason: ReasonOption = "",
    dry_run: DryRunOption = False,
    yes: YesOption = False,
) -> int:
    """Do finished, cancelled or discarded runs once more, by new runs; what was published stays."""
    pace = per_second(rate)
    with open_ledger(session) as queries:
        targets = run_targets(queries, which, {"done", "cancelled", "discarded"})
    if not agreed(session, "replay", targets, yes=yes, dry_run=dry_run, named=True):
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
