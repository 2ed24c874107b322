"""`filemill files`: which files came, and everything that happened to one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from filemill.cli.application import command, group
from filemill.cli.reaching import look
from filemill.cli.reading import STYLES, likely, open_ledger, short, since
from filemill.cli.session import Session
from filemill.cli.wrong_words import meant
from filemill.model.errors import NotFound, UsageError
from filemill.ports.clock import SystemClock
from filemill.telemetry.wording import age, clock, number, of_how_many, printable, size

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from filemill.ports.reading import PauseRow
    from filemill.queries import FileHistory, FileSummary, Queries

files = group("files")
SinceOption = Annotated[
    str | None, typer.Option("--since", metavar="SPAN", help="Only of the last 90s, 24h, 7d...")
]
LimitOption = Annotated[int, typer.Option("--limit", "-n", min=1, max=100_000, help="How many.")]
AfterOption = Annotated[
    str | None, typer.Option("--after", metavar="NEXT", help="The page after; `next` of --json.")
]


@command("ls", files, epilog="Example: filemill files ls '*.csv' --state dead --since 24h")
def ls(
    session: Session,
    *,
    name: Annotated[
        str, typer.Argument(help="Part of the name, or a pattern (*.csv).", show_default=False)
    ] = "",
    state: Annotated[str, typer.Option("--state", "-s", help="done, dead, held, live...")] = "",
    tag: Annotated[str, typer.Option("--tag", help="With this tag; may end in *.")] = "",
    pipeline: Annotated[str, typer.Option("--pipeline", "-p", help="Of this pipeline.")] = "",
    span: SinceOption = None,
    limit: LimitOption = 50,
    after: AfterOption = None,
) -> None:
    """List files, the latest first, each with its worst run."""
    with open_ledger(session) as queries:
        page = queries.files(
            state=state,
            tag=tag,
            pipeline=pipeline,
            name=name,
            since_ns=since(span),
            limit=limit,
            cursor=after,
        )
        paused = queries.paused()
        asked_for = [] if page.items else list(_unknown(queries, tag, pipeline))
    if session.output.json:
        from filemill.service.shapes import file_row

        rows = [file_row(file) for file in page.items]
        session.output.items("filemill.files/1", rows, page.next)
        return
    if not page.items:
        chosen = any((name, state, tag, pipeline, span))
        session.output.say("no file matches" if chosen else "no file has come yet")
        for line in asked_for:
            session.output.say(f"help: {line}")
        return
    now = SystemClock().wall_ns()
    output = session.output
    stopped = stopped_by(session, page.items, paused)
    output.table(
        ("ID", "NAME", "STATE", "PIPELINE", "AGE", "SIZE", "WHAT"),
        [
            (
                short(file.file),
                printable(file.name),
                file.state,
                ",".join(dict.fromkeys(run.pipeline for run in file.runs)) or "-",
                age(now - file.arrived_ns),
                size(file.size),
                what(file, stopped),
            )
            for file in page.items
        ],
        right=(4, 5),
        styles=lambda row: {2: STYLES.get(row[2], "dim")},
    )
    if page.next and not session.quiet:
        output.say(f"... more: --limit {limit * 10}, or --after {page.next}")


def _unknown(queries: Queries, tag: str, pipeline: str) -> Iterator[str]:
    """What was asked for that no file has, with what was probably meant."""
    for kind, word, known in (
        ("tag", tag, queries.tags() if tag and not tag.endswith("*") else []),
        ("pipeline", pipeline, queries.pipelines() if pipeline else []),
    ):
        if word and known and word not in known:
            near = meant(word, known)
            asked = f"; did you mean `{near}`?" if near else ""
            yield f"no file has the {kind} `{printable(word)}`{asked}"


def stopped_by(
    session: Session, files: Sequence[FileSummary], paused: Mapping[str, PauseRow]
) -> dict[str, str]:
    """Why runs that wait are not begun, by pipeline: it is paused, or a sink or the disk is in trouble."""
    waiting = {r.pipeline for f in files for r in f.runs if r.state in {"queued", "publishing"}}
    told: dict[str, str] = {}
    if waiting:
        seen = look(session)
        for each in seen.troubles if seen else ():
            # What names no pipeline (the ledger's disk) stops them all; a full queue stops only what is not taken yet.
            for pipeline in each.pipelines or (() if each.what == "intake" else waiting):
                told.setdefault(pipeline, f"{each.what}: {printable(each.message)}")
    for pipeline, row in paused.items():
        reason = f": {printable(row.reason)}" if row.reason else ""
        told[pipeline] = f"{pipeline} is paused by {printable(row.principal)}{reason}"
    return {pipeline: why for pipeline, why in told.items() if pipeline in waiting}


def what(file: FileSummary, stopped: Mapping[str, str]) -> str:
    """In a few words what became of a file; `stopped` says why a pipeline's runs wait."""
    run = file.worst
    if run is None:
        return printable(file.reason) or ("being read" if file.state == "live" else "")
    if file.state == "dead":
        from filemill.queries import group_name

        text = f"{run.step}: {group_name(run.fingerprint)} {run.error}: {run.message}"
        return printable(text.replace("\n", " "))
    if file.state == "live":
        rows = (("retrying", "running"), ("publishing", "queued"))
        live = next((r for states in rows for r in file.runs if r.state in states), run)
        if live.state == "retrying" and live.due_ns:
            tried = f"try {of_how_many(live.attempt, live.tries)} failed"
            return f"{tried}, again at {clock(live.due_ns)}: {printable(live.message)}"
        why = stopped.get(live.pipeline) if live.state in {"queued", "publishing"} else ""
        return f"{live.state}, {why}" if why else live.state
    if file.state == "held":
        return printable(run.message or file.reason)
    records = sum(each.records for each in file.runs)
    bad = sum(each.bad for each in file.runs)
    return ", ".join(
        part
        for part in (
            f"{number(records)} records" if records else "",
            f"{number(bad)} bad" if bad else "",
        )
        if part
    )


@command(
    "show", files, epilog="Examples: filemill files show 3fk2 · filemill files show orders.csv"
)
def show(
    session: Session,
    file: Annotated[
        str, typer.Argument(metavar="ID", help="A file or run: any unique prefix, or its name.")
    ],
) -> None:
    """Show the whole history of one file."""
    with open_ledger(session) as queries:
        history = find(queries, file)
        paused = queries.paused()
    tell(session, history, verbose=session.verbose)
    if not session.output.json:
        for why in stopped_by(session, [history.summary], paused).values():
            session.output.print(f"\nWaits  {why}")


def tell(session: Session, history: FileHistory, *, verbose: bool) -> None:
    """Print one file's history, drawn or as JSON."""
    if session.output.json:
        from filemill.service.shapes import file_history

        session.output.document("filemill.file/1", file=file_history(history))
        return
    from filemill.cli.timeline import draw

    draw(session.output, history, verbose=verbose)


def find(queries: Queries, wanted: str) -> FileHistory:
    """The file of this id, or of this name when exactly one has it.

    Raises:
        NotFound: with those that were probably meant.
        UsageError: several begin with it, or have this name.
    """
    try:
        return queries.file(wanted)
    except NotFound as error:
        named = [f for f in queries.files(name=wanted, limit=500).items if f.name == wanted]
        if len(named) == 1:
            return queries.file(named[0].file)
        if named:
            latest = "  ".join(f"{short(f.file)} ({f.state})" for f in named[:3])
            raise UsageError(
                f"{len(named)} files are named `{printable(wanted)}`",
                help=f"say which by its id, the latest first: {latest}",
            ) from error
        close = "  ".join(f"{short(f.file)} ({printable(f.name)})" for f in likely(queries, wanted))
        raise NotFound(
            f"no file or run `{printable(wanted)}`",
            help=f"did you mean {close}?" if close else error.help,
        ) from error
