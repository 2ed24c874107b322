"""`filemill sessions`: which browsers are logged in, and logging them out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from filemill.cli.application import command, group
from filemill.cli.doing import ReasonOption
from filemill.cli.failing import FAILED, OK
from filemill.cli.reaching import ask
from filemill.cli.reading import open_ledger
from filemill.cli.session import Session
from filemill.cli.wrong_words import meant
from filemill.model.errors import NotFound, UsageError
from filemill.ports.clock import SystemClock
from filemill.service.access_shapes import session_row
from filemill.telemetry.wording import age, plural, printable, utc

if TYPE_CHECKING:
    from collections.abc import Sequence

    from filemill.model.sessions import StoredSession

sessions = group("sessions")


@command("ls", sessions, epilog="Example: filemill sessions ls")
def ls(session: Session) -> None:
    """List logins that were not ended: whose they are, how they began, when something was asked last."""
    now = SystemClock().wall_ns()
    with open_ledger(session) as queries:
        found = [each for each in queries.sessions() if each.expires_ns > now]
    output = session.output
    if output.json:
        output.items("filemill.sessions/1", [session_row(each) for each in found], None)
        return
    if not found:
        output.say("no browser is logged in")
        output.say("help: filemill open")
        return
    output.table(
        ("ID", "WHO", "BY", "ROLES", "FROM", "USED", "UNTIL"),
        [
            (
                each.id,
                printable(each.principal),
                each.how,
                ",".join(each.roles) or "-",
                printable(each.address) or "-",
                f"{age(now - each.used_ns)} ago",
                utc(each.expires_ns)[:19],
            )
            for each in found
        ],
    )


@command("end", sessions, epilog="Example: filemill sessions end oidc:bo --reason 'laptop lost'")
def end(
    session: Session,
    which: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SESSION]...", help="Ids, or whose they are; `sessions ls` shows them."
        ),
    ] = None,
    *,
    every: Annotated[bool, typer.Option("--all", help="Log every browser out.")] = False,
    reason: ReasonOption = "",
) -> int:
    """Log browsers out, at once."""
    from filemill.service.acts import EndSessions

    if bool(which) == every:
        raise UsageError("which sessions?", help="name ids or people, or say --all")
    with open_ledger(session) as queries:
        known = queries.sessions()
    chosen = list(known) if every else [each for word in which or () for each in _find(word, known)]
    chosen = list({each.id: each for each in chosen}.values())
    output = session.output
    done = ask(session, EndSessions(sessions=tuple(each.id for each in chosen), reason=reason))
    if output.json:
        output.document(
            "filemill.sessions-ended/1",
            items=[
                {"id": each.id, "principal": each.principal, "moved": moved}
                for each, moved in zip(chosen, done.moved, strict=True)
            ],
        )
    elif not session.quiet:
        output.print(f"{plural(sum(done.moved), 'session')} ended")
    return OK if all(done.moved) else FAILED


def _find(word: str, known: Sequence[StoredSession]) -> list[StoredSession]:
    found = [each for each in known if word in (each.id, each.principal)]
    if not found:
        near = meant(word, [text for each in known for text in (each.principal, each.id)])
        raise NotFound(
            f"no session `{printable(word)}`",
            help=f"did you mean `{near}`?" if near else "filemill sessions ls",
        )
    return found
