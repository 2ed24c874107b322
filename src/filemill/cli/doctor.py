"""`filemill doctor`: what is guaranteed on this machine and these mounts, and what is missing for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from filemill.cli.application import command
from filemill.cli.configuring import load_config
from filemill.cli.failing import FAILED, OK
from filemill.cli.session import Session
from filemill.model.errors import FilemillError
from filemill.ports.registry import Registry
from filemill.telemetry.wording import plural, printable, wrapped

if TYPE_CHECKING:
    from filemill.ports.examining import Finding

_EPILOG = (
    "It finds out by trying: a hidden probe file is written, synced, renamed and removed in each folder. Nothing else "
    "is changed, and a server may run meanwhile. Exit code 1 when there is a problem.  Example: filemill doctor --json"
)


@command("doctor", epilog=_EPILOG)
def doctor(session: Session) -> int:
    """Say what is guaranteed on this machine and these folders, and what to do where something is missing."""
    found = _examine(session)
    counts = {level: sum(f.level == level for f in found) for level in ("ok", "warning", "problem")}
    output = session.output
    if output.json:
        items = [msgspec.to_builtins(each) for each in found]
        output.document("filemill.doctor/1", items=items, counts=counts)
    else:
        _print(session, found)
        if not session.quiet:
            told = [
                plural(counts[level], level) for level in ("problem", "warning") if counts[level]
            ]
            output.print(f"\n{', '.join(told) or 'Everything is well'}.")
    return FAILED if counts["problem"] else OK


def _examine(session: Session) -> list[Finding]:
    from filemill.durable import Durable, Failpoints
    from filemill.ports.clock import SystemClock
    from filemill.service.examining import (
        Finding,
        Level,
        examine_access,
        examine_certificate,
        examine_data,
        examine_machine,
        examine_places,
        examine_syncing,
    )

    clock, registry = SystemClock(), Registry()
    found = examine_machine(clock)
    try:
        loaded = load_config(session, registry=registry, deep=False)
    except FilemillError as error:
        if session.named:
            raise
        return found + [
            Finding(Level.PROBLEM, "configuration", what, remedy or "filemill check shows where")
            for what, remedy in _wrong(error)
        ]
    plan = loaded.plan
    durable = Durable(Failpoints("doctor"), sync=plan.durability == "power")
    found += examine_data(plan, durable) + examine_syncing(plan, registry, durable, clock)
    found += examine_access(plan, loaded.path, session.environ, clock)
    found += examine_certificate(plan.web, clock)
    if plan.web.port and plan.web.oidc is not None:
        from filemill.service.examining.provider import examine_provider

        found += examine_provider(plan.web.oidc)
    return found + examine_places(plan, registry, durable, clock) + _met(plan.data)


def _met(data: str) -> list[Finding]:
    """What work waits for in the server that runs: it has met what a probe of a moment may not."""
    from filemill.ports.examining import Finding, Level
    from filemill.service.asking import look

    seen = look(data)
    return [
        Finding(
            Level.PROBLEM, each.what, f"work waits in the running server: {each.message}", each.help
        )
        for each in (seen.troubles if seen is not None else ())
    ]


def _wrong(error: FilemillError) -> list[tuple[str, str]]:
    """What is wrong with a configuration, and what to do about it."""
    from filemill.config import ConfigProblems

    if isinstance(error, ConfigProblems):
        return [(each.message, each.help) for each in error.problems if each.severity == "error"]
    return [(error.message, error.help)]


def _print(session: Session, found: list[Finding]) -> None:
    """One block for each thing that was looked at; with -q only what is not well."""
    output = session.output
    signs = {
        "ok": output.paint("good", output.marks.done),
        "warning": output.paint("wait", output.marks.note),
        "problem": output.paint("bad", output.marks.dead),
    }
    room = None if output.columns is None else output.columns - 4
    about = ""
    for each in found:
        if session.quiet and each.level == "ok":
            continue
        if each.about != about:
            about = each.about
            output.print(output.paint("strong", printable(about)))
        first, *more = wrapped(printable(each.what), room)
        output.print(f"  {signs[each.level]} {first}")
        for line in more:
            output.print(f"    {line}")
        if each.help:
            helped = wrapped(f"help: {printable(each.help)}", room)
            output.print(f"    {output.paint('help', 'help:')}{helped[0][5:]}")
            for line in helped[1:]:
                output.print(f"          {line}")
