"""`filemill dead export`: dead letters as plain files, to be looked at and mended elsewhere."""

from __future__ import annotations

import os
from typing import Any

from filemill.cli.failing import FAILED, OK
from filemill.cli.files import find
from filemill.cli.letters import dead_runs
from filemill.cli.progress import progress
from filemill.cli.reading import open_ledger, originals_of, short
from filemill.cli.session import Session
from filemill.model.errors import NotFound, SystemFault, UsageError
from filemill.queries import Queries
from filemill.service.exporting import Exported, Exporter, dead_of_group
from filemill.telemetry.wording import plural, printable


def export_all(session: Session, what: str, *, everything: bool, to: str, records: bool) -> int:
    """Export what is asked for and say what became of each; the exit code.

    Raises:
        UsageError: nothing, or two things, were asked for.
        NotFound: there is no such file, run or group, or nothing of it can be exported so.
        SystemFault: the folder cannot be written to.
    """
    if bool(what) == everything:
        raise UsageError("say what to export", help="filemill dead export ID, GROUP, or --all")
    output = session.output
    told: list[Exported] = []
    with open_ledger(session) as queries:
        letters = _chosen(queries, what, records=records)
        exporter = Exporter(queries, originals_of(session), to)
        try:
            with progress(session, "exporting", total=len(letters), unit="run") as step:
                for each in exporter.export(letters, records=records):
                    told.append(each)
                    step()
        except OSError as error:
            raise SystemFault(
                f"{plural(len(told), 'run')} exported, then {to} could not be written: {error}",
                help="make room or another folder, and run it again: what is there already stays",
            ) from error
    missed = [each for each in told if each.why]
    if output.json:
        output.document(
            "filemill.export/1", to=os.path.abspath(to), items=[_shape(each) for each in told]
        )
        return FAILED if missed else OK
    for each in told:
        if each.why:
            output.say(f"{short(each.run)}  not exported: {printable(each.why)}")
        else:
            output.print(_line(each, to))
    if not session.quiet:
        counts = [
            (sum(e.new and not e.why for e in told), "OK"),
            (len(missed), "FAIL"),
            (sum(not e.new for e in told), "SKIP"),
        ]
        said = " ".join(f"{word}={count}" for count, word in counts)
        output.say(f"Done. {said} TOTAL={len(told)}")
    return FAILED if missed else OK


def _chosen(queries: Queries, what: str, *, records: bool) -> list[tuple[str, str]]:
    """(file, run) of what was asked for.

    Raises:
        NotFound: there is nothing of it.
    """
    if not what:
        return dead_of_group(queries, "")
    if what[:2].lower() == "d-":
        return dead_of_group(queries, queries.cause(what).group.fingerprint)
    history = find(queries, what)
    runs = dead_runs(history, what)
    if records:
        runs = runs or [run for run in history.runs if run.bad]
    if not runs:
        identity = short(history.summary.file)
        wanted = "has no bad records" if records else f"is not dead, it is {history.summary.state}"
        raise NotFound(f"{identity} {wanted}", help=f"filemill files show {identity}")
    return [(history.summary.file, run.summary.run) for run in runs]


def _line(each: Exported, to: str) -> str:
    path = printable(os.path.join(to, each.name))
    if not each.new:
        return f"{path}  (was there already)"
    if not each.records:
        return path
    more = f", {each.missing:,} more are not kept one by one" if each.missing else ""
    return f"{path}  {plural(each.records, 'record')}{more}"


def _shape(each: Exported) -> dict[str, Any]:
    return {
        "id": each.file,
        "run": each.run,
        "name": each.name,
        "reason": None if each.why else f"{each.name}.reason.json",
        "records": each.records,
        "missing": each.missing,
        "new": each.new and not each.why,
        "error": each.why or None,
    }
