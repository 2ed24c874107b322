"""`filemill dead redrive|discard|resolve`: dead letters tried again, given up, or called mended."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from filemill.cli.application import command
from filemill.cli.dead import dead
from filemill.cli.doing import (
    DryRunOption,
    RateOption,
    ReasonOption,
    Result,
    RevisionOption,
    YesOption,
    agreed,
    close,
    ended,
    one_of_both,
    per_second,
    perform,
)
from filemill.cli.failing import FAILED, OK
from filemill.cli.files import SinceOption, find
from filemill.cli.reaching import ask
from filemill.cli.reading import open_ledger, short, since
from filemill.cli.session import Session
from filemill.model.deeds import Chosen, Redrive
from filemill.model.errors import UsageError
from filemill.queries.choosing import Target, dead_targets, is_group, revision_of
from filemill.telemetry.wording import plural

if TYPE_CHECKING:
    from filemill.service.acts import Request

WhichArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[ID|GROUP]...", help="Dead files, runs or groups (D-3fa2c1).", show_default=False
    ),
]
PipelineOption = Annotated[str, typer.Option("--pipeline", "-p", help="Of this pipeline.")]
AllOption = Annotated[bool, typer.Option("--all", help="Everything that is dead.")]


class From(StrEnum):
    """Where a redriven run begins."""

    START = "start"
    INPUT = "input"


@command(
    "redrive",
    dead,
    epilog="Examples: filemill dead redrive 3fk2 · filemill dead redrive D-3fa2c1 --canary 1 --rate 20/s",
)
def redrive(
    session: Session,
    *,
    which: WhichArgument = None,
    everything: AllOption = False,
    pipeline: PipelineOption = "",
    span: SinceOption = None,
    begin: Annotated[
        From | None,
        typer.Option(
            "--from",
            help="At the failed step's kept input and nowhere else, or at the start; default: the input where it is "
            "kept and still fits, else the start.",
        ),
    ] = None,
    revision: RevisionOption = "current",
    canary: Annotated[
        int,
        typer.Option("--canary", min=0, help="So many first; the others only if these end well."),
    ] = 0,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait until all of it is at an end.")
    ] = False,
    rate: RateOption = None,
    reason: ReasonOption = "",
    dry_run: DryRunOption = False,
    yes: YesOption = False,
) -> int:
    """Try dead runs again, with all their attempts.

    A run that died when it published only publishes what is missing, from the bytes it staged.
    """
    one_of_both(which or [], everything, bool(pipeline or span))
    pace = per_second(rate)
    targets = _targets(session, which, pipeline, span)
    named = bool(which) and not any(map(is_group, which or []))
    if not agreed(session, "redrive", targets, yes=yes, dry_run=dry_run, named=named):
        return OK

    def act(group: Sequence[Target]) -> Request:
        from filemill.service.acts import RedriveRuns

        return RedriveRuns(
            runs=tuple(
                Redrive(
                    t.run,
                    t.fence,
                    from_input=begin is not From.START,
                    insists=begin is From.INPUT,
                    revision=revision_of(revision, t),
                )
                for t in group
            ),
            reason=reason,
        )

    first, rest = (targets[:canary], targets[canary:]) if canary else (targets, [])
    result = perform(session, first, act, "redriving", rate=pace)
    if rest and not result.stopped:
        stopped = _canary(session, result)
        if stopped:
            close(session, "filemill.redrive/1", "redrove", result)
            session.output.say(f"{stopped}: {plural(len(rest), 'run')} not touched")
            return FAILED
        more = perform(session, rest, act, "redriving", rate=pace)
        result.moved += more.moved
        result.skipped += more.skipped
        result.stopped = more.stopped
    elif rest:
        result.stopped += len(rest)
    if not wait or result.stopped:
        return close(session, "filemill.redrive/1", "redrove", result)
    return _await(session, result)


@command(
    "discard", dead, epilog="Example: filemill dead discard 3fk2 --reason 'partner sent a new one'"
)
def discard(
    session: Session,
    *,
    which: WhichArgument = None,
    everything: AllOption = False,
    pipeline: PipelineOption = "",
    span: SinceOption = None,
    reason: ReasonOption = "",
    dry_run: DryRunOption = False,
    yes: YesOption = False,
) -> int:
    """Give dead runs up: nothing more is done with them. Their originals stay until retention takes them."""
    one_of_both(which or [], everything, bool(pipeline or span))
    targets = _targets(session, which, pipeline, span)
    named = bool(which) and not any(map(is_group, which or []))
    if not agreed(session, "discard", targets, yes=yes, dry_run=dry_run, named=named):
        return OK

    def act(group: Sequence[Target]) -> Request:
        from filemill.service.acts import DiscardRuns

        return DiscardRuns(runs=tuple(Chosen(t.run, t.fence) for t in group), reason=reason)

    return close(
        session, "filemill.discard/1", "discarded", perform(session, targets, act, "discarding")
    )


@command(
    "resolve", dead, epilog="Example: filemill dead resolve D-3fa2c1 --reason 'header alias added'"
)
def resolve(
    session: Session,
    which: Annotated[list[str], typer.Argument(metavar="GROUP...", help="Groups (D-3fa2c1).")],
    *,
    reason: ReasonOption = "",
) -> int:
    """Call the cause of a group mended: it leaves the list, and comes back as a regression if a run dies of it again.

    The runs themselves stay dead until they are redriven or discarded.
    """
    from filemill.service.acts import ResolveCauses

    fingerprints: list[str] = []
    for word in which:
        if not is_group(word):
            raise UsageError(f"`{word}` is not a group", help="filemill dead ls shows the groups")
        with open_ledger(session) as queries:
            fingerprints.append(dead_targets(queries, [word], find)[0].fingerprint)
    ask(session, ResolveCauses(fingerprints=tuple(fingerprints), reason=reason))
    if session.output.json:
        session.output.document("filemill.resolve/1", groups=which)
    elif not session.quiet:
        session.output.print(f"resolved {plural(len(which), 'group')}")
    return OK


def _targets(
    session: Session, which: list[str] | None, pipeline: str, span: str | None
) -> list[Target]:
    with open_ledger(session) as queries:
        return dead_targets(queries, which or [], find, pipeline=pipeline, since_ns=since(span))


def _canary(session: Session, result: Result) -> str:
    """Why the others must not follow; empty when the first ones ended well.

    Raises:
        UsageError: no server runs, so nothing would come of them.
    """
    if not result.live:
        raise UsageError(
            "a canary needs a running server",
            help="start `filemill run` first; the canaries are queued and will run then",
        )
    states = ended(session, [target.run for target in result.moved])
    bad = [run for run, state in states.items() if state != "done"]
    if not bad and not result.skipped:
        return ""
    shown = f" (filemill dead show {short(bad[0])})" if bad else ""
    return f"{plural(len(bad), 'canary run')} did not end well{shown}"


def _await(session: Session, result: Result) -> int:
    """Wait for the ends, and count them."""
    if not result.live:
        raise UsageError(
            "--wait needs a running server", help="the runs are queued: start `filemill run`"
        )
    states = ended(session, [target.run for target in result.moved])
    well = sum(state == "done" for state in states.values())
    bad, skipped = len(states) - well, len(result.skipped)
    if session.output.json:
        close(session, "filemill.redrive/1", "redrove", result, ended=states)
    else:
        total = well + bad + skipped
        session.output.print(f"Done. OK={well} FAIL={bad} SKIP={skipped} TOTAL={total}")
    return FAILED if bad or skipped else OK
