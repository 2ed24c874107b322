"""`filemill pause` and `filemill resume`: a pipeline begins no runs for a while. It outlives restarts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from filemill.cli.application import command
from filemill.cli.doing import ReasonOption
from filemill.cli.failing import OK
from filemill.cli.reaching import ask, known_pipelines
from filemill.cli.session import Session
from filemill.cli.wrong_words import meant
from filemill.model.errors import UsageError

if TYPE_CHECKING:
    from filemill.service.acts import Request

WhichArgument = Annotated[list[str], typer.Argument(metavar="PIPELINE...", help="Pipelines.")]


@command("pause", epilog="Example: filemill pause orders --reason 'warehouse is down'")
def pause(session: Session, which: WhichArgument, *, reason: ReasonOption = "") -> int:
    """Begin no runs of these pipelines any more. Files are taken and queued; what runs now is finished."""
    from filemill.service.acts import PausePipelines

    known = known_pipelines(session)
    for name in which:
        if name not in known:
            near = meant(name, known)
            there = f"there are: {', '.join(known)}"
            raise UsageError(
                f"no pipeline `{name}`", help=f"did you mean `{near}`?  {there}" if near else there
            )
    return _do(session, PausePipelines(pipelines=tuple(which), reason=reason), "paused", which)


@command("resume", epilog="Example: filemill resume orders")
def resume(session: Session, which: WhichArgument, *, reason: ReasonOption = "") -> int:
    """Begin runs of these paused pipelines again."""
    from filemill.service.acts import ResumePipelines

    return _do(session, ResumePipelines(pipelines=tuple(which), reason=reason), "resumed", which)


def _do(session: Session, act: Request, verb: str, names: list[str]) -> int:
    done = ask(session, act)
    output = session.output
    if output.json:
        output.document(
            f"filemill.{'pause' if verb == 'paused' else 'resume'}/1",
            live=done.live,
            items=[
                {"pipeline": name, "moved": moved}
                for name, moved in zip(names, done.moved, strict=True)
            ],
        )
        return OK
    for name, moved in zip(names, done.moved, strict=True):
        if not moved:
            output.say(f"{name} is {'paused already' if verb == 'paused' else 'not paused'}")
        elif not session.quiet:
            output.print(f"{verb} {name}")
    return OK
