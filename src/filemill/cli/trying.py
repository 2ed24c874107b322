"""`filemill try`: what a file would become, step by step."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from filemill.cli.application import command
from filemill.cli.configuring import load_config
from filemill.cli.explain import came_before
from filemill.cli.failing import FAILED, OK
from filemill.cli.session import Session
from filemill.ports.registry import Registry

if TYPE_CHECKING:
    from filemill.config import Loaded
    from filemill.service.explaining import Arrival

ABOUT = (
    "Functions of your own do run: one that sends mail sends it. Everything else leaves no trace: sinks, ledger and "
    "inbox are not touched, and it works beside a running server. Exit code 1 when anything would not be done."
)


@command("try", epilog=f"Example: filemill try orders.csv --until read_csv -n 20.  {ABOUT}")
def try_(
    session: Session,
    *,
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE", help="A path, or the id of a file that came before (a dead letter)."
        ),
    ],
    pipeline: Annotated[
        str, typer.Option("--pipeline", "-p", help="Only this one, even if it does not match.")
    ] = "",
    until: Annotated[
        str, typer.Option("--until", metavar="STEP", help="End after this step.")
    ] = "",
    records: Annotated[
        int, typer.Option("--records", "-n", min=0, max=1000, help="Records shown after each step.")
    ] = 5,
    whole: Annotated[
        bool,
        typer.Option("--whole", help="Read a big file to its end, not only its first chunk."),
    ] = False,
) -> int:
    """Take a file through its pipelines and show what each step makes of it; nothing is written."""
    from filemill.service.trying import try_file

    registry = Registry()
    loaded = load_config(session, registry=registry)
    tried = try_file(
        _arrival(session, loaded, registry, file),
        loaded.plan,
        registry,
        pipeline=pipeline,
        until=until,
        records=records,
        whole=whole,
    )
    if session.output.json:
        from filemill.cli.trial_shapes import shape

        session.output.document("filemill.try/1", **shape(tried))
    else:
        from filemill.cli.trials import draw

        draw(session.output, tried, root=os.getcwd(), verbose=session.verbose)
    return OK if tried.fine else FAILED


def _arrival(session: Session, loaded: Loaded, registry: Registry, wanted: str) -> Arrival:
    from filemill.service.explaining import arrival_again, arrival_of

    path = os.fsencode(wanted)
    if os.path.lexists(path):
        return arrival_of(path, loaded.plan, registry)
    return arrival_again(came_before(session, wanted), loaded.plan)
