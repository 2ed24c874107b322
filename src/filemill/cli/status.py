"""`filemill status`: is all well, and if not, where?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from filemill.cli.application import command
from filemill.cli.reaching import look
from filemill.cli.reading import STYLES, open_ledger, short
from filemill.cli.session import Session
from filemill.cli.standing import standing_of
from filemill.telemetry.wording import (
    age,
    clock,
    duration,
    number,
    of_how_many,
    plural,
    printable,
    size,
)

if TYPE_CHECKING:
    from filemill.cli.output import Output
    from filemill.queries import PipelineStatus, Status
    from filemill.service.replies import Seen


@command("status", epilog="Example: filemill status --json")
def status(session: Session) -> None:
    """Counts of files and runs, what waits longest, and the last hour."""
    with open_ledger(session) as queries:
        now = queries.status()
        standing = standing_of(session, queries)
    seen = look(session)
    if session.output.json:
        from filemill.service.shapes import server
        from filemill.service.shapes import status as shape

        config = {
            "revision": standing.revision or None,
            "changes_on_disk": standing.changes,
            "refused": standing.refused or None,
        }
        session.output.document(
            "filemill.status/1", **shape(now), server=server(seen), config=config
        )
        return
    _print_server(session.output, seen, now)
    mark = session.output.paint("wait", session.output.marks.note)
    for line in standing.lines(now.at_ns):
        session.output.print(f"{mark} {line}")
        mark = " "
    _print(session.output, now)


def _print_server(output: Output, seen: Seen | None, now: Status) -> None:
    """Whether one runs, and what it waits for: troubles are its own to tell, the ledger may be on that disk."""
    if seen is None:
        output.print("server  none answers  (filemill run starts one)")
        return
    output.print(f"server  runs, pid {seen.pid}, {plural(seen.running, 'run')} with workers")
    if (rotation := seen.rotation) is not None:
        output.print(
            f"content is encrypted anew: {number(rotation.done)} of {plural(rotation.of, 'content')}"
        )
    for each in seen.troubles:
        sign = output.paint("bad", output.marks.note)
        waits = f"work waits since {age(now.at_ns - each.since_ns)}, nothing is lost"
        if each.next_ns > now.at_ns:
            waits += f"; looked at again at {clock(each.next_ns)}"
        output.print(f"{sign} {each.what}: {printable(each.message)}  {waits}")
        if each.help:
            output.print(f"  {output.paint('help', 'help:')} {printable(each.help)}")


def _print_retries(output: Output, now: Status) -> None:
    waiting = sum(each.runs.get("retrying", 0) for each in now.pipelines)
    if not now.retries:
        return
    output.print()
    output.print(f"{plural(waiting, 'run')} waiting to be tried again, the first of them:")
    output.table(
        ("ID", "NAME", "PIPELINE", "TRIES", "AGAIN AT", "WHY"),
        [
            (
                short(each.file),
                printable(each.name),
                each.run.pipeline,
                of_how_many(each.run.attempt, each.run.tries),
                clock(each.run.due_ns or 0),
                printable(f"{each.run.step}: {each.run.error}: {each.run.message}"),
            )
            for each in now.retries
        ],
        right=(3,),
        indent="  ",
    )


def _print(output: Output, now: Status) -> None:
    attention = [
        f"{number(now.files[state])} {state}  (filemill {where})"
        for state, where in (
            ("dead", "dead ls"),
            ("held", "held ls"),
            ("quarantined", "files ls --state quarantined"),
            ("rejected", "files ls --state rejected"),
        )
        if now.files.get(state)
    ]
    for line in attention:
        output.print(f"{output.paint('wait', output.marks.note)} {line}")
    counts = "  ".join(
        f"{output.paint(STYLES.get(state, 'dim'), state)} {number(count)}"
        for state, count in now.files.items()
    )
    output.print(f"files  {number(now.total)}   {counts}")
    if now.waiting_since_ns:
        output.print(f"oldest waiting  {age(now.at_ns - now.waiting_since_ns)}")
    span = age(now.recent_ns)
    arrived = plural(now.arrived_recently, "file")
    output.print(f"last {span}  {arrived}, {size(now.bytes_recently)} arrived")
    for each in now.pipelines:
        if each.paused:
            ago = age(now.at_ns - each.paused.at_ns)
            reason = f": {printable(each.paused.reason)}" if each.paused.reason else ""
            output.print(
                f"{output.paint('wait', output.marks.held)} {each.pipeline} paused by "
                f"{printable(each.paused.principal)} {ago} ago{reason}  (filemill resume {each.pipeline})"
            )
    if now.pipelines:
        output.print()
        output.table(
            ("PIPELINE", "LIVE", "DONE", "DEAD", "HELD", "OLDEST", f"DONE/{span}", "P50", "P95"),
            [_row(each, now.at_ns) for each in now.pipelines],
            right=(1, 2, 3, 4, 5, 6, 7, 8),
        )
    _print_retries(output, now)


def _row(each: PipelineStatus, now_ns: int) -> tuple[str, ...]:
    return (
        each.pipeline,
        number(each.live),
        number(each.runs.get("done", 0)),
        number(each.runs.get("dead", 0)),
        number(each.runs.get("held", 0)),
        age(now_ns - each.waiting_since_ns) if each.waiting_since_ns else "-",
        number(each.done_recently),
        duration(each.p50_ns) if each.p50_ns else "-",
        duration(each.p95_ns) if each.p95_ns else "-",
    )
