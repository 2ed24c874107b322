"""`filemill audit`: what people and keys did, and whether anybody changed what is written of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from filemill.cli.application import command, group
from filemill.cli.failing import FAILED, OK
from filemill.cli.files import AfterOption, LimitOption, SinceOption
from filemill.cli.reading import open_ledger, short, since
from filemill.cli.session import Session
from filemill.service.access_shapes import audit_verdict
from filemill.service.shapes import audit_row, detail_of
from filemill.telemetry.wording import harmless_json, number, plural, printable, utc

if TYPE_CHECKING:
    from filemill.queries import AuditVerdict

audit = group("audit")
_ID = 26


@command("ls", audit, epilog="Example: filemill audit ls --principal key:acme --since 7d")
def ls(
    session: Session,
    *,
    principal: Annotated[
        str, typer.Option("--principal", metavar="WHO", help="Only of ana, key:acme...")
    ] = "",
    action: Annotated[
        str, typer.Option("--action", metavar="WHAT", help="Only redrive, create-key...")
    ] = "",
    to: Annotated[
        str, typer.Option("--object", metavar="OBJECT", help="Only to this file, run, key...")
    ] = "",
    span: SinceOption = None,
    limit: LimitOption = 50,
    after: AfterOption = None,
) -> None:
    """List what people and keys did, the latest first."""
    with open_ledger(session) as queries:
        page = queries.audit(
            principal=principal,
            action=action,
            object=to,
            since_ns=since(span),
            limit=limit,
            cursor=after,
        )
    output = session.output
    if output.json:
        output.items("filemill.audit/1", [audit_row(row) for row in page.items], page.next)
        return
    if not page.items:
        chosen = any((principal, action, to, span))
        output.say("nothing in the audit fits" if chosen else "nobody has done anything yet")
        return
    output.table(
        ("NO", "AT", "WHO", "WHAT", "TO", "MORE"),
        [
            (
                str(row.number),
                utc(row.at_ns)[:19],
                printable(row.principal),
                printable(row.action),
                printable(short(row.object) if len(row.object) == _ID else row.object),
                printable(" ".join(f"{name}={value}" for name, value in detail_of(row).items())),
            )
            for row in page.items
        ],
        right=(0,),
    )
    if page.next and not session.quiet:
        output.say(f"... more: --limit {limit * 10}, or --after {page.next}")


@command("verify", audit, epilog="Example: filemill audit verify --head 1234:9f2c...")
def verify(
    session: Session,
    *,
    head: Annotated[
        str,
        typer.Option("--head", metavar="NUMBER:CHAIN", help="A head noted before: it must be in."),
    ] = "",
) -> int:
    """Compute the audit's chain anew, row by row. Note the head it says elsewhere: it proves the end, too."""
    with open_ledger(session) as queries:
        verdict = queries.verify_audit(head)
    output = session.output
    if output.json:
        output.document("filemill.audit-verdict/1", **audit_verdict(verdict))
        return FAILED if verdict.problem else OK
    if verdict.problem:
        output.say(f"error: {verdict.problem}")
        output.say("help: compare with a backup, or with what `filemill audit export` gave before")
        return FAILED
    for line in _said(verdict, noted=bool(head)):
        output.print(line)
    return OK


@command("export", audit, epilog="Example: filemill audit export > audit.jsonl")
def export(session: Session) -> None:
    """Print the whole audit, the oldest first, one JSON object a line, each with its chain."""
    encoder = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
    with open_ledger(session) as queries:
        for row in queries.audit_rows():
            line = encoder.encode(audit_row(row) | {"detail_text": row.detail})
            session.output.print(harmless_json(line))


def _said(verdict: AuditVerdict, *, noted: bool) -> list[str]:
    if verdict.removed:
        gone = (
            f"{plural(verdict.removed, 'row')} up to {utc(verdict.removed_until_ns)} "
            "removed by retention; the chain goes on from there"
        )
    else:
        gone = ""
    span = f"rows {number(verdict.first)} to {number(verdict.last)}: " if verdict.rows else ""
    kept = " and the noted head is in it" if noted else ""
    whole = f"{span}{plural(verdict.rows, 'row')}, the chain is whole{kept}"
    return [line for line in (whole, gone, f"head {verdict.head}") if line]
