"""`filemill graph`: what is wired to what, as a picture or as data."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import msgspec
import typer

from filemill.cli.application import command
from filemill.cli.configuring import load_config
from filemill.cli.reading import open_ledger
from filemill.cli.session import Session
from filemill.config.problems import did_you_mean
from filemill.model.errors import UsageError
from filemill.model.plan import PipelinePlan, Plan
from filemill.ports.registry import Registry
from filemill.telemetry.wording import printable

_EXAMPLE = "Example: filemill graph orders --format mermaid > orders.mmd"


class Form(StrEnum):
    """How the wiring is drawn."""

    ASCII = "ascii"
    MERMAID = "mermaid"
    DOT = "dot"
    JSON = "json"


@command("graph", epilog=_EXAMPLE)
def graph(
    session: Session,
    *,
    pipeline: Annotated[
        str, typer.Argument(metavar="PIPELINE", help="Only this one.", show_default=False)
    ] = "",
    form: Annotated[
        Form | None, typer.Option("--format", help="How to draw it.", show_default="ascii")
    ] = None,
    live: Annotated[
        bool, typer.Option("--live", help="With the runs of each pipeline, from the ledger.")
    ] = False,
) -> None:
    """Draw what is wired to what: sources, tags, pipelines, steps, branches and sinks."""
    from filemill.cli.graph.wiring import wiring

    registry = Registry()
    plan = load_config(session, registry=registry, deep=False).plan
    chosen = _chosen(plan, pipeline)
    counts = _counts(session) if live else {}
    wanted = form or (Form.JSON if session.output.json else Form.ASCII)
    if wanted is Form.ASCII:
        _draw(session, plan, registry, chosen, counts)
        return
    wires = wiring(plan, registry, chosen)
    if wanted is Form.JSON:
        nodes = [
            msgspec.to_builtins(node)
            | ({"runs": counts.get(node.name, {})} if live and node.kind == "pipeline" else {})
            for node in wires.nodes
        ]
        edges = [{"from": e.begin, "to": e.end, "label": e.label} for e in wires.edges]
        session.output.document("filemill.graph/1", nodes=nodes, edges=edges)
        return
    from filemill.cli.graph.shapes import dot, mermaid

    session.output.print((mermaid if wanted is Form.MERMAID else dot)(wires))


def _chosen(plan: Plan, name: str) -> tuple[PipelinePlan, ...]:
    found = tuple(each for each in plan.pipelines if name in ("", each.name))
    if name and not found:
        known = [each.name for each in plan.pipelines]
        advice = did_you_mean(name, known) or f"pipelines: {', '.join(known) or 'none'}"
        raise UsageError(f"no pipeline `{printable(name)}`", help=advice)
    return found


def _counts(session: Session) -> dict[str, dict[str, int]]:
    with open_ledger(session) as queries:
        return {each.pipeline: each.runs for each in queries.status().pipelines}


def _draw(
    session: Session,
    plan: Plan,
    registry: Registry,
    chosen: tuple[PipelinePlan, ...],
    counts: dict[str, dict[str, int]],
) -> None:
    from filemill.cli.graph.tree import Tree

    output = session.output
    tree = Tree(output, plan, registry)
    tree.sources()
    for each in chosen:
        output.print()
        tree.pipeline(each, counts.get(each.name, {}))
    if not chosen:
        output.say("there is no pipeline yet: filemill.yaml, `pipelines:`")
        return
    output.print()
    tree.sinks(chosen)
