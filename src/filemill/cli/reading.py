"""What reading commands share: opening the ledger, spans of time, ids and their likely meant ones."""

from __future__ import annotations

import difflib
import os
import re
from typing import TYPE_CHECKING

from filemill.cli.output import Output
from filemill.cli.session import Session
from filemill.model.errors import NotFound, UsageError
from filemill.ports.clock import SystemClock
from filemill.telemetry.lines import SHORT
from filemill.telemetry.wording import printable

if TYPE_CHECKING:
    from filemill.model.runs import BadRecord
    from filemill.queries import FileHistory, FileSummary, Queries
    from filemill.service.originals import Originals

_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)\Z")
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
STYLES = {
    "done": "good",
    "dead": "bad",
    "rejected": "bad",
    "quarantined": "bad",
    "held": "wait",
    "live": "help",
    "retrying": "wait",
}
"""The colour of each state."""


def open_ledger(session: Session, *, patience: float | None = None, opens: bool = True) -> Queries:
    """The ledger of this session's data directory, opened for reading only; or what a server answers over HTTP.

    It has `patience` seconds for each answer, where that is given. With `opens` false, encrypted texts stay so.

    Raises:
        UsageError: nothing has run there yet, or the ledger is of another version.
        SystemFault: it cannot be read.
    """
    if (address := session.address()) is not None:
        from filemill.client.connection import Connection
        from filemill.client.reading import RemoteQueries

        return RemoteQueries(Connection(address, patience=patience))
    from filemill.service.reading import open_queries

    data = session.data()
    try:
        return open_queries(data, opens=opens)
    except NotFound as error:
        raise UsageError(
            f"nothing has run here yet: no ledger in {data}",
            help="filemill run, or filemill run --once FILE; FILEMILL_DATA_DIR names another place",
        ) from error


def originals_of(session: Session, history: FileHistory | None = None) -> Originals:
    """The bytes that are kept: in the data directory, or what a server gives of them over HTTP, as of this file."""
    if (address := session.address()) is not None:
        from filemill.client.originals import RemoteOriginals

        return RemoteOriginals(address, history)
    from filemill.service.originals import Originals

    return Originals(session.data())


def said_of(bad: BadRecord) -> str:
    """What is wrong with a bad record: its class and message; an exception of a user's step names its class itself."""
    named = bad.message.startswith(f"{bad.error}:")
    return printable(bad.message if named else f"{bad.error}: {bad.message}")


def since(text: str | None) -> int:
    """The moment that lies a span (`24h`, `90s`, `7d`) back, as wall nanoseconds; 0 for None.

    Raises:
        UsageError: it is no length of time.
    """
    if text is None:
        return 0
    return SystemClock().wall_ns() - int(span(text) * 1e9)


def is_span(text: str) -> bool:
    """Say whether this is a length of time, as `span` reads it."""
    return _SPAN.match(text.strip()) is not None


def span(text: str) -> float:
    """A length of time (`24h`, `90s`, `7d`) in seconds.

    Raises:
        UsageError: it is none.
    """
    match = _SPAN.match(text.strip())
    if match is None:
        raise UsageError(f"`{text}` is not a length of time", help="such as 90s, 15m, 24h or 7d")
    return float(match[1]) * _SECONDS[match[2]]


def short(identity: str) -> str:
    """An id as people see it."""
    return identity[:SHORT]


def mark_of(output: Output, state: str) -> str:
    """The sign in front of a state, coloured."""
    marks = output.marks
    sign = {
        "done": marks.done,
        "dead": marks.dead,
        "rejected": marks.dead,
        "quarantined": marks.dead,
        "held": marks.held,
        "retrying": marks.again,
    }.get(state, "-")
    return output.paint(STYLES.get(state, "dim"), sign)


def likely(queries: Queries, wanted: str) -> list[FileSummary]:
    """Recent files whose id or name is close to what was asked for; for a did-you-mean."""
    page = queries.files(limit=500).items
    by_name = {os.path.basename(file.name): file for file in reversed(page)}
    by_id = {short(file.file): file for file in page}
    words = difflib.get_close_matches(os.path.basename(wanted), by_name, 2, 0.6)
    ids = difflib.get_close_matches(wanted[:SHORT], by_id, 2, 0.6)
    found = [by_name[word] for word in words] + [by_id[each] for each in ids]
    return list({file.file: file for file in found}.values())
