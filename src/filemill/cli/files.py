"""`filemill files`: which files came, and everything that happened to one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from filemill.cli.application import command, group
from filemill.cli.reading import STYLES, likely, open_ledger, short, since
from filemill.cli.session import Session
from filemill.model.errors import NotFound, UsageError
from filemill.ports.clock import SystemClock
from filemill.telemetry.wording import age, clock, number, printable, size

if TYPE_CHECKING:
    from filemill.queries import FileHistory, FileSummary, Queries

files = group("files")
SinceOption = Annotated[
    str | None, typer.Option("--since", metavar="SPAN", help="Only of the last 90s, 24h, 7d...")
]
LimitOption = Annotated[int, typer.Option("--limit", "-n", min=1, max=100_000, help="How many.")]
AfterOption = Annotated[
    str | None, typer.Option("--after", metavar="NEXT", help="The page after; `next` of --json.")
]


@command("ls", files)
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
    if session.output.json:
        from filemill.cli.shapes import file_row

        rows = [file_row(file) for file in page.items]
        session.output.items("filemill.files/1", rows, page.next)
        return
    if not page.items:
        chosen = any((name, state, tag, pipeline, span))
        session.output.say("no file matches" if chosen else "no file has come yet")
        return
    now = SystemClock().wall_ns()
    output = session.output
    output.table(
        ("ID", "NAME", "STATE", "PIPELINE", "AGE", "SIZE", "WHAT"),
        [
            (
                short(file.file),
                printable(file.name),
                file.state,
                ",".join(run.pipeline for run in file.runs) or "-",
                age(now - file.arrived_ns),
                size(file.size),
                what(file),
            )
            for file in page.items
        ],
        right=(4, 5),
        styles=lambda row: {2: STYLES.get(row[2], "dim")},
    )
    if page.next and not session.quiet:
        output.say(f"... more: --limit {limit * 10}, or --after {page.next}")


def what(file: FileSummary) -> str:
    """In a few words what became of a file."""
    run = file.worst
    if run is None:
        return printable(file.reason) or ("being read" if file.state == "live" else "")
    if file.state == "dead":
        from filemill.queries import group_name

        text = f"{run.step}: {group_name(run.fingerprint)} {run.error}: {run.message}"
        return printable(text.replace("\n", " "))
    if file.state == "live":
        live = next((r for r in file.runs if r.state in {"retrying", "running"}), run)
        if live.state == "retrying" and live.due_ns:
            tried = f"try {live.attempt} of {live.tries or '?'} failed"
            return f"{tried}, again at {clock(live.due_ns)}: {printable(live.message)}"
        return live.state
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


@command("show", files)
def show(
    session: Session,
    file: Annotated[str, typer.Argument(metavar="ID", help="A file or run: any unique prefix.")],
) -> None:
    """Show the whole history of one file."""
    with open_ledger(session) as queries:
        history = find(queries, file)
    tell(session, history, verbose=session.verbose)


def tell(session: Session, history: FileHistory, *, verbose: bool) -> None:
    """Print one file's history, drawn or as JSON."""
    if session.output.json:
        from filemill.cli.shapes import file_history

        session.output.document("filemill.file/1", file=file_history(history))
        return
    from filemill.cli.timeline import draw

    draw(session.output, history, verbose=verbose)


def must_be(state: str, history: FileHistory) -> None:
    """Raise NotFound, with the way to its history, when neither the file nor a run of it is in this state."""
    now = history.summary.state
    if state not in {now, *(run.summary.state for run in history.runs)}:
        identity = short(history.summary.file)
        raise NotFound(
            f"{identity} is not {state}, it is {now}", help=f"filemill files show {identity}"
        )


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
