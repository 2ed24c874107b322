"""`filemill held release|discard`: what waits for a person goes on, or is given up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from filemill.cli.application import command
from filemill.cli.doing import (
    DryRunOption,
    ReasonOption,
    Result,
    YesOption,
    agreed,
    close,
    one_of_both,
    perform,
)
from filemill.cli.failing import OK
from filemill.cli.files import find
from filemill.cli.held import held
from filemill.cli.reading import open_ledger, short
from filemill.cli.session import Session
from filemill.model.deeds import Chosen, Release
from filemill.model.errors import UsageError
from filemill.queries.choosing import Target, answers_to, held_targets
from filemill.telemetry.wording import printable

if TYPE_CHECKING:
    from filemill.queries import FileHistory
    from filemill.service.acts import Request

WhichArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="[ID]...", help="Held files or runs.", show_default=False),
]
AllOption = Annotated[bool, typer.Option("--all", help="Everything that is held.")]
HeldReasonOption = Annotated[
    str, typer.Option("--held-for", metavar="REASON", help="All that is held so, such as unrouted.")
]
PipelineOption = Annotated[str, typer.Option("--pipeline", "-p", help="Runs of this pipeline.")]


@command(
    "release",
    held,
    epilog="Examples: filemill held release 3fk2 --choice approve · filemill held release --held-for unrouted · "
    "filemill held release 3fk2 --unsafe --reason 'a false alarm'",
)
def release(
    session: Session,
    *,
    which: WhichArgument = None,
    everything: AllOption = False,
    held_for: HeldReasonOption = "",
    pipeline: PipelineOption = "",
    choice: Annotated[
        str, typer.Option("--choice", help="The answer, where the step asks for one.")
    ] = "",
    unsafe: Annotated[
        bool,
        typer.Option("--unsafe", help="Quarantined files, too; nothing scans what is released so."),
    ] = False,
    reason: ReasonOption = "",
    dry_run: DryRunOption = False,
    yes: YesOption = False,
) -> int:
    """Let held runs go on behind the step that held them; files without a pipeline are tagged and routed again."""
    one_of_both(which or [], everything, bool(held_for or pipeline))
    with open_ledger(session) as queries:
        targets = held_targets(queries, which or [], find, reason=held_for, pipeline=pipeline)
        for target in targets:
            if target.state == "quarantined" and not unsafe:
                raise UsageError(
                    f"{short(target.file)} is in quarantine",
                    help=f"filemill files show {short(target.file)} says why; --unsafe lets it go on in spite of it",
                )
            if target.run:
                _fits(choice, target, queries.file(target.run))
    if not agreed(session, "release", targets, yes=yes, dry_run=dry_run, named=bool(which)):
        return OK

    def runs(group: Sequence[Target]) -> Request:
        from filemill.service.acts import ReleaseRuns

        chosen = tuple(Release(t.run, t.fence, choice) for t in group)
        return ReleaseRuns(runs=chosen, reason=reason)

    def files(group: Sequence[Target]) -> Request:
        from filemill.service.acts import ReadmitFiles

        return ReadmitFiles(files=tuple(t.file for t in group), reason=reason, unsafe=unsafe)

    result = _both(session, targets, runs, files, "releasing")
    _tell_of_second(session, result)
    return close(session, "filemill.release/1", "released", result)


@command("discard", held, epilog="Example: filemill held discard 3fk2 --reason 'sent by mistake'")
def discard(
    session: Session,
    *,
    which: WhichArgument = None,
    everything: AllOption = False,
    held_for: HeldReasonOption = "",
    pipeline: PipelineOption = "",
    reason: ReasonOption = "",
    dry_run: DryRunOption = False,
    yes: YesOption = False,
) -> int:
    """Give held runs and files up. Their originals stay until retention takes them."""
    one_of_both(which or [], everything, bool(held_for or pipeline))
    with open_ledger(session) as queries:
        targets = held_targets(queries, which or [], find, reason=held_for, pipeline=pipeline)
    if not agreed(session, "discard", targets, yes=yes, dry_run=dry_run, named=bool(which)):
        return OK

    def runs(group: Sequence[Target]) -> Request:
        from filemill.service.acts import DiscardRuns

        return DiscardRuns(runs=tuple(Chosen(t.run, t.fence) for t in group), reason=reason)

    def files(group: Sequence[Target]) -> Request:
        from filemill.service.acts import DiscardFiles

        return DiscardFiles(files=tuple(t.file for t in group), reason=reason)

    return close(
        session,
        "filemill.discard/1",
        "discarded",
        _both(session, targets, runs, files, "discarding"),
    )


def _both(
    session: Session,
    targets: Sequence[Target],
    runs: Callable[[Sequence[Target]], Request],
    files: Callable[[Sequence[Target]], Request],
    doing: str,
) -> Result:
    """Held runs and held files without runs, each by its own act."""
    result = perform(session, [target for target in targets if target.run], runs, doing)
    rest = [target for target in targets if not target.run]
    if result.stopped:
        result.stopped += len(rest)
        return result
    others = perform(session, rest, files, doing)
    result.moved += others.moved
    result.skipped += others.skipped
    result.live = result.live and others.live
    result.stopped = others.stopped
    return result


def _tell_of_second(session: Session, result: Result) -> None:
    """Say of what is still in quarantine that a second person must release it; it is not skipped."""
    left = [target for target in result.skipped if target.state == "quarantined"]
    if not left:
        return
    with open_ledger(session) as queries:
        waiting = [t for t in left if queries.file(t.file).summary.state == "quarantined"]
    for target in waiting:
        result.skipped.remove(target)
        session.output.say(
            f"{short(target.file)} {printable(target.name)}: noted; it goes on when a second person releases it, too"
        )


def _fits(choice: str, target: Target, history: FileHistory) -> None:
    """Refuse an answer that the step does not know.

    Raises:
        UsageError: with the answers there are.
    """
    choices = answers_to(history, target.run)
    if choices and choice not in choices:
        said = f"`{choice}` is no answer" if choice else "the step asks for an answer"
        raise UsageError(
            f"{said}: {short(target.file)} waits at {target.step}",
            help=" or ".join(f"--choice {each}" for each in choices),
        )
    if choice and not choices:
        raise UsageError(
            f"{short(target.file)} waits at {target.step}, which asks for no answer",
            help="leave --choice out",
        )
