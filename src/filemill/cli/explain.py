"""`filemill explain`: how a file would be tagged and routed, and why."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from filemill.cli.application import command
from filemill.cli.configuring import load_config
from filemill.cli.failing import FAILED, OK
from filemill.cli.files import find
from filemill.cli.reading import open_ledger
from filemill.cli.session import Session
from filemill.model.errors import NotFound, UsageError
from filemill.ports.registry import Registry
from filemill.telemetry.wording import printable

if TYPE_CHECKING:
    from filemill.cli.output import Output
    from filemill.config import Loaded
    from filemill.queries import FileHistory
    from filemill.routing.explaining import Explanation


@command(
    "explain",
    epilog="Example: filemill explain orders.csv. Exit code 1 when no pipeline would take it.",
)
def explain(
    session: Session,
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="A path, or the id of a file that came before.")
    ],
) -> int:
    """Say how a file would be tagged and routed, and why; nothing is written."""
    from filemill.service.explaining import explain_path

    registry = Registry()
    loaded = load_config(session, registry=registry)
    path = os.fsencode(file)
    here = os.path.lexists(path)
    told = explain_path(path, loaded.plan, registry) if here else _known(session, loaded, file)
    if session.output.json:
        session.output.document("filemill.explain/1", **_shape(told))
    else:
        _print(session.output, told)
    return OK if told.runs() else FAILED


def _known(session: Session, loaded: Loaded, wanted: str) -> Explanation:
    from filemill.service.explaining import explain_known

    return explain_known(came_before(session, wanted), loaded.plan)


def came_before(session: Session, wanted: str) -> FileHistory:
    """The file of this id or name that came before.

    Raises:
        UsageError: there is none, and no file of this name here either; or several.
    """
    message = f"{printable(wanted)} is neither a file here nor the id of one that came before"
    try:
        queries = open_ledger(session)
    except UsageError as error:  # nothing came before
        raise UsageError(message) from error
    with queries:
        try:
            return find(queries, wanted)
        except NotFound as error:
            raise UsageError(message, help=error.help) from error


def _print(output: Output, told: Explanation) -> None:
    facts = told.facts
    if facts.error:
        output.print(f"error   {printable(facts.error)}")
        return
    rows: list[tuple[str, str, str]] = []
    for hit in told.tags():
        rows.append(("tags" if not rows else "", hit.tag, printable(hit.why)))
    if not rows:
        rows.append(("tags", "(none)", ""))
    given = {hit.tag for hit in told.tags()}
    missed = [rule for rule in told.rules if not rule.holds and rule.tag not in given]
    rows += [
        ("no" if place == 0 else "", rule.tag, printable(rule.why))
        for place, rule in enumerate(missed)
    ]
    matches = [each for each in told.pipelines if each.matches]
    rows += [
        ("match" if place == 0 else "", each.name, f"when: {each.when}")
        for place, each in enumerate(matches)
    ]
    others = [each for each in told.pipelines if not each.matches]
    rows += [
        ("others" if place == 0 else "", each.name, f"when: {each.when}   {each.why}")
        for place, each in enumerate(others)
    ]
    rows += [
        ("written", quoted.tag, f"for the folder {printable(quoted.text)}")
        for quoted in told.quoted
    ]
    rows += [
        (
            "scan" if place == 0 else "",
            kind,
            "would have to find nothing first; it is not asked here",
        )
        for place, kind in enumerate(told.scanners)
    ]
    header = f"header {', '.join(map(printable, facts.header))}" if facts.header else "no header"
    rows.append(("seen", facts.media or "-", header))
    for line in output.lines_of(("", "", ""), rows, styles={0: "dim", 1: "strong"})[1:]:
        output.print(line)
    output.print(_verdict(told))


def _verdict(told: Explanation) -> str:
    if runs := told.runs():
        return f"It would go through {', '.join(runs)}.   (nothing written)"
    if told.refused:
        return f"It would be rejected: {printable(told.refused)}.   (nothing written)"
    if told.held == "unrouted" and told.unrouted != "hold":
        return f"It would be unrouted: {told.unrouted}.   (nothing written)"
    return f"It would be held: {told.held or 'unreadable'}.   (nothing written)"


def _shape(told: Explanation) -> dict[str, Any]:
    facts = told.facts
    return {
        "name": printable(told.file.relative),
        "source": told.file.source,
        "media": facts.media,
        "header": list(facts.header),
        "error": facts.error,
        "tags": [{"tag": hit.tag, "rule": hit.rule, "why": hit.why} for hit in told.tags()],
        "rules": [{"tag": r.tag, "holds": r.holds, "why": r.why} for r in told.rules],
        "pipelines": [
            {"name": p.name, "when": p.when, "matches": p.matches, "why": p.why}
            for p in told.pipelines
        ],
        "scanners": list(told.scanners),
        "runs": list(told.runs()),
        "held": told.held,
        "rejected": told.refused,
    }
