"""`filemill run`: watch the sources, or with --once process what is there and end."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from filemill.cli.application import command
from filemill.cli.configuring import load_config
from filemill.cli.failing import INTERRUPTED, OK, USAGE
from filemill.cli.output import wants_color
from filemill.cli.paths import named_files
from filemill.cli.session import Session
from filemill.cli.version import version
from filemill.model import events as e
from filemill.model.errors import UsageError
from filemill.telemetry.console import Console
from filemill.telemetry.jsonlog import JsonLog

if TYPE_CHECKING:
    from collections.abc import Callable

    from filemill.config import Loaded
    from filemill.model.plan import Plan


@command(
    "run",
    epilog="Examples: filemill run --reload · filemill run --once orders.csv · filemill run --log-format json",
)
def run(
    session: Session,
    *,
    paths: Annotated[
        list[str] | None,
        typer.Argument(help="With --once: these files and no others.", show_default=False),
    ] = None,
    once: Annotated[
        bool, typer.Option("--once", help="Process what is there, wait for it, and end.")
    ] = False,
    again: Annotated[
        bool, typer.Option("--again", help="With --once: unchanged files that are done, too.")
    ] = False,
    reload: Annotated[
        bool,
        typer.Option(
            "--reload", help="Take a changed configuration, or a step's module, as it is saved."
        ),
    ] = False,
    grace: Annotated[
        str | None,
        typer.Option(
            "--grace",
            metavar="TIME",
            help="How long running runs get to finish at the end; default: `grace:`, 60s.",
        ),
    ] = None,
    timeout: Annotated[
        str | None,
        typer.Option(
            "--timeout",
            metavar="TIME",
            help="With --once: end after this long with exit code 75; what waits goes on next time.",
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Worker processes; default: CPUs.")
    ] = None,
    no_web: Annotated[
        bool, typer.Option("--no-web", help="Serve no HTTP, whatever `web:` says.")
    ] = False,
    port: Annotated[
        int | None,
        typer.Option(
            "--port", min=1, max=65535, help="Serve HTTP on this port instead of `web:`'s."
        ),
    ] = None,
    log_format: Annotated[
        str, typer.Option("--log-format", metavar="text|json", help="How to print what happens.")
    ] = "text",
) -> int:
    """Watch the sources and process what arrives; with --once what is there."""
    if (paths or again or timeout is not None) and not once:
        given = "files" if paths else "--again" if again else "--timeout"
        raise UsageError(
            f"{given} can only be given with --once",
            help="filemill run --once FILE...",
        )
    if log_format not in {"text", "json"}:
        raise UsageError(f"no log format `{log_format}`", help="text or json")
    files = named_files(paths or [])
    if paths and not files:
        raise UsageError("no file in what was named; nothing was started")
    if reload and once:
        raise UsageError("--reload is for watching, not for --once")
    loaded = load_or_say(session, workers, grace)
    if loaded is None:
        return USAGE
    loaded = _with_web(loaded, port, no_web=no_web)
    if once:
        from filemill.cli.once import run_once

        patience = None if timeout is None else _seconds("--timeout", timeout)
        return run_once(
            session, loaded, files, again=again, log_format=log_format, timeout=patience
        )
    # Found once: a reload is of this file, whatever becomes of the folder the command was given in.
    session.named = session.config()

    def load() -> Loaded:
        again = _overridden(load_config(session, trusting=True), workers, grace)
        return _with_web(again, port, no_web=no_web)

    return _watch(session, loaded, log_format, load, follow=reload)


def load_or_say(session: Session, workers: int | None, grace: str | None = None) -> Loaded | None:
    """The configuration, its warnings said; None when it has errors, which are then said."""
    from filemill.config import ConfigProblems
    from filemill.config.rendering import render_problem

    try:
        loaded = _settled(session)
    except ConfigProblems as error:
        session.output.say(error.render())
        return None
    if not session.quiet:
        for problem in loaded.warnings:
            session.output.say(render_problem(problem))
    return _overridden(loaded, workers, grace)


def _settled(session: Session) -> Loaded:
    """A configuration that lies on the disk after it was read just as it was read: never half of one version.

    Raises:
        ConfigProblems: it has errors.
        UsageError: it changes all the time.
    """
    import time

    from filemill.config.stored import changes_on_disk, read_stored
    from filemill.service.reloading import SETTLE, TRIES, unsettled

    for _ in range(TRIES):
        loaded = load_config(session, trusting=True)
        if not changes_on_disk(read_stored(loaded.text), loaded.plan.root):
            return loaded
        time.sleep(SETTLE)
    raise unsettled("start it again")


def _overridden(loaded: Loaded, workers: int | None, grace: str | None) -> Loaded:
    """With what the command line says in place of what the configuration says."""
    import msgspec

    plan = loaded.plan
    if workers is not None:
        plan = msgspec.structs.replace(plan, workers=workers)
    if grace is not None:
        plan = msgspec.structs.replace(plan, grace=_seconds("--grace", grace))
    return msgspec.structs.replace(loaded, plan=plan)


def _with_web(loaded: Loaded, port: int | None, *, no_web: bool) -> Loaded:
    """With what the command line says of HTTP."""
    import msgspec

    plan = loaded.plan
    web = plan.web
    if no_web:
        web = msgspec.structs.replace(web, port=0)
    elif port is not None:
        web = msgspec.structs.replace(web, port=port)
    return msgspec.structs.replace(loaded, plan=msgspec.structs.replace(plan, web=web))


def _seconds(option: str, text: str) -> float:
    from filemill.ports.units import parse_duration

    try:
        return parse_duration(text)
    except ValueError as error:
        raise UsageError(f"{option}: {error}", help="such as 30s or 2m") from error


def make_log(session: Session, log_format: str) -> Console | JsonLog:
    """What prints events. It writes to stderr where stdout is for data, as with --json."""
    stream = sys.stderr if session.output.json else sys.stdout
    if log_format == "json":
        return JsonLog(stream)
    return Console(
        stream,
        color=wants_color(session.color, stream),
        quiet=session.quiet,
        verbose=session.verbose,
    )


def _watch(
    session: Session, loaded: Loaded, log_format: str, load: Callable[[], Loaded], *, follow: bool
) -> int:
    from filemill.ports.registry import Registry
    from filemill.service.reloading import Candidate
    from filemill.service.running import watch
    from filemill.service.server import Revision

    log = make_log(session, log_format)

    def emit(event: e.Event) -> None:
        if isinstance(event, e.ServerStarted) and isinstance(log, Console):
            announce(log, session, loaded.plan, event)
        log(event)

    def anew() -> Candidate:
        again = load()
        return Candidate(again.plan, Revision(again.digest, again.text))

    revision = Revision(loaded.digest, loaded.text)
    watching = watch(loaded.plan, revision, Registry(), emit, load=anew, follow=follow)
    try:
        drained = asyncio.run(watching)
    finally:
        log.close()
    return OK if drained else INTERRUPTED


def announce(console: Console, session: Session, plan: Plan, started: e.ServerStarted) -> None:
    """The banner: what was started, from where."""
    console.banner(
        version=version(),
        config=near(session.config()),
        revision=started.revision,
        data=near(plan.data),
        watching=[(near(place).removeprefix("./"), how) for place, how in started.watching],
        workers=plan.workers,
        pipelines=[pipeline.name for pipeline in plan.pipelines],
    )


def near(path: str) -> str:
    """The path as people write it from here: `./x` below the current folder, else absolute."""
    here = os.getcwd()
    return f".{path.removeprefix(here)}" if path.startswith(f"{here}/") else path
