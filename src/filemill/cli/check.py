"""`filemill check`: every problem of the configuration at once; nothing is started."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from filemill.cli.application import command
from filemill.cli.configuring import load_config
from filemill.cli.failing import FAILED, OK, USAGE
from filemill.cli.session import Session
from filemill.telemetry.wording import plural


class Form(StrEnum):
    """How problems are printed."""

    TEXT = "text"
    JSON = "json"
    GITHUB = "github"


@command(
    "check",
    epilog="Example: filemill check --strict --format github. Exit code 2 when there are errors.",
)
def check(
    session: Session,
    strict: Annotated[
        bool, typer.Option("--strict", help="Warnings count, and there are more: exit 1.")
    ] = False,
    form: Annotated[
        Form | None, typer.Option("--format", help="How to print problems.", show_default="text")
    ] = None,
) -> int:
    """Judge the configuration; every problem at once, nothing started."""
    from filemill.config import ConfigProblems
    from filemill.config.rendering import render

    wanted = form or (Form.JSON if session.output.json else Form.TEXT)
    try:
        loaded = load_config(session, strict=strict)
    except ConfigProblems as error:
        session.output.print(render(error.problems, wanted.value, ending=""))
        return USAGE
    plan = loaded.plan
    if wanted is not Form.TEXT or loaded.warnings:
        session.output.print(render(loaded.warnings, wanted.value, ending=""))
    elif not session.quiet:
        steps = sum(len(pipeline.steps) for pipeline in plan.pipelines)
        session.output.print(
            f"No problems found: {plural(len(plan.sources), 'source')}, {plural(len(plan.tags), 'tag rule')}, "
            f"{plural(len(plan.pipelines), 'pipeline')} ({plural(steps, 'step')}), {plural(len(plan.sinks), 'sink')}."
        )
    return FAILED if strict and loaded.warnings else OK
