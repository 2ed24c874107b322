"""`filemill reload`: have the running server take the configuration that lies on the disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filemill.cli.application import command
from filemill.cli.doing import ReasonOption
from filemill.cli.failing import OK, USAGE
from filemill.cli.reaching import ask_reload
from filemill.cli.session import Session
from filemill.telemetry.wording import printable

if TYPE_CHECKING:
    from filemill.service.replies import Reloaded


@command("reload", epilog="Example: filemill check && filemill reload")
def reload(session: Session, *, reason: ReasonOption = "") -> int:
    """Have the running server take the configuration on the disk; a bad one changes nothing."""
    return tell(session, ask_reload(session, reason))


def tell(session: Session, done: Reloaded, *, document: bool = True) -> int:
    """Say what became of a reload; 2 when the configuration was refused."""
    output = session.output
    if output.json:
        if document:
            output.document(
                "filemill.reload/1",
                revision=done.revision,
                former=done.former,
                changes=list(done.changes),
                problems=done.problems,
            )
    elif done.problems:
        for line in done.problems.splitlines():
            output.say(printable(line))
    elif not session.quiet:
        words = ", ".join(map(printable, done.changes))
        if done.revision == done.former:
            output.print(f"rev {done.revision}, {words or 'unchanged'}")
        else:
            output.print(f"rev {done.revision} runs now, before it rev {done.former}: {words}")
    return USAGE if done.problems else OK
