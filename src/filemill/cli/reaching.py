"""How far each command reaches: whether a server can be asked for it over HTTP, and how it is asked.

A command that reaches over HTTP works on values and acts. Where they come from is decided here and in `open_ledger`:
with `--url` (or FILEMILL_URL) from that server, else from this machine's data directory and its server, if one runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from filemill.model.errors import UsageError

if TYPE_CHECKING:
    from filemill.cli.session import Session
    from filemill.service.acts import Request
    from filemill.service.replies import Done, Reloaded, Seen

URL = "FILEMILL_URL"


class Reach(StrEnum):
    """Whom a command needs."""

    HTTP = "http"
    """It asks a server over HTTP where one is named."""
    DATA = "data"
    """It needs the data directory: it refuses when a server is named, so that nobody means another one."""
    HERE = "here"
    """It needs no server; it refuses `--url`, and does not look at FILEMILL_URL."""


_OVER_HTTP = (
    *("upload", "status", "files ls", "files show", "files replay", "files cancel"),
    *("dead ls", "dead show", "dead redrive", "dead discard", "dead resolve"),
    *("held ls", "held show", "held release", "held discard"),
    *("dead export", "dead edit", "dead input", "dead resubmit", "tail"),
    *("keys create", "keys ls", "keys revoke", "sessions ls", "sessions end", "audit verify"),
    *("pause", "resume", "reload", "drain", "audit ls", "audit export", "config log"),
)
_DATA = (
    *("files erase", "backfill", "gc", "backup", "verify", "config diff", "config rollback"),
    *("encryption status", "encryption rotate", "open"),
)
_HERE = (
    *("init", "demo", "run", "check", "try", "explain", "graph", "doctor", "restore"),
    *("steps ls", "steps show", "config show", "config schema", "completion"),
    "encryption init",
)
REACH = {
    **dict.fromkeys(_OVER_HTTP, Reach.HTTP),
    **dict.fromkeys(_DATA, Reach.DATA),
    **dict.fromkeys(_HERE, Reach.HERE),
}
"""Every command; one that is not named here needs no server."""


def reaches(words: str, url: str, environ: Mapping[str, str]) -> bool:
    """Say whether this command may ask a server over HTTP.

    Raises:
        UsageError: it may not, and one is named.
    """
    reach = REACH.get(words, Reach.HERE)
    if reach is Reach.HTTP:
        return True
    named = "--url" if url else URL if reach is Reach.DATA and environ.get(URL) else ""
    if named:
        why = {
            Reach.DATA: "needs the server's data directory, and is not done over HTTP",
            Reach.HERE: "works on this machine, and asks no server over HTTP",
        }[reach]
        without = "without --url" if url else f"with {URL} unset (env -u {URL} ...)"
        where = "on the server's machine " if reach is Reach.DATA else ""
        raise UsageError(
            f"`filemill {words}` {why}",
            help=f"{where}{without}; docs/http.md lists what is done over HTTP",
        )
    return False


def ask(session: Session, act: Request) -> Done:
    """Have an act done: over HTTP, by the server of this machine, or here.

    Raises:
        FilemillError: as whoever does it says.
    """
    if (address := session.address()) is None:
        from filemill.service import asking

        return asking.ask(session.data(), act)
    from filemill.client import acting
    from filemill.client.connection import Connection

    with Connection(address) as connection:
        return acting.ask(connection, act)


def ask_reload(session: Session, reason: str) -> Reloaded:
    """Have the running server take the configuration on its disk.

    Raises:
        FilemillError: as `ask`.
    """
    if (address := session.address()) is None:
        from filemill.service import asking

        return asking.ask_reload(session.data(), reason)
    from filemill.client import acting
    from filemill.client.connection import Connection

    with Connection(address) as connection:
        return acting.ask_reload(connection, reason)


def look(session: Session) -> Seen | None:
    """What goes on in the server; None when none runs, or it does not say."""
    if (address := session.address()) is None:
        from filemill.service import asking

        return asking.look(session.data())
    from filemill.client.connection import Connection
    from filemill.client.reading import RemoteQueries

    with RemoteQueries(Connection(address)) as queries:
        return queries.seen()


def known_pipelines(session: Session) -> list[str]:
    """The pipelines of the configuration that runs, or would.

    Raises:
        FilemillError: as `ask`, or the configuration is wrong.
    """
    if (address := session.address()) is None:
        from filemill.cli.configuring import load_config

        return [each.name for each in load_config(session, trusting=True).plan.pipelines]
    from filemill.client.connection import Connection

    with Connection(address) as connection:
        items: list[dict[str, Any]] = connection.document("/pipelines")["items"]
    return [str(each["pipeline"]) for each in items if each["configured"]]
