"""How a command has something done: by the running server over its socket, or by itself where none runs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Iterator
from typing import Any

import msgspec

from filemill.contents.local import LocalContent
from filemill.durable import Durable, Failpoints
from filemill.intake.retention import Retention
from filemill.ledgers.sqlite.ledger import SqliteLedger
from filemill.ledgers.sqlite.lock import InstanceLock
from filemill.ledgers.sqlite.reserve import Reserve
from filemill.model import errors
from filemill.model.errors import Busy, FilemillError, SystemFault, UsageError
from filemill.model.plan import WebPlan
from filemill.ports.clock import SystemClock
from filemill.service import acts, replies
from filemill.service.acting import Actions, Handler, principal_of
from filemill.service.control import MOST_BYTES, reachable
from filemill.service.encrypting import sealer_of
from filemill.service.keeping_keys import Keys
from filemill.service.keeping_sessions import Sessions
from filemill.service.mending import Mender

PATIENCE = 120.0
"""Seconds in which the server must have answered."""
_answer: msgspec.json.Decoder[replies.Answer] = msgspec.json.Decoder(replies.Answer)


def ask(data: str, act: acts.Request) -> replies.Done:
    """Have an act done on this data directory.

    Raises:
        UsageError: nothing has run there yet.
        Busy: another command holds the data directory, or a server that starts or stops.
        FilemillError: as the server says.
    """
    if not os.path.exists(os.path.join(data, "ledger.db")):
        raise UsageError(
            f"nothing has run here yet: no ledger in {data}",
            help="filemill run, or filemill run --once FILE; FILEMILL_DATA_DIR names another place",
        )
    line = ask_server(data, msgspec.json.encode(act) + b"\n")
    if line is None:
        answer: object = asyncio.run(_alone(data, act))
    else:
        answer = read_answer(line)
    if not isinstance(answer, replies.Done):
        raise SystemFault("the server answered something else than what it was asked")
    return answer


def ask_key(data: str, act: acts.CreateKey) -> replies.KeyMade:
    """Have a key made for this data directory, which is made too if nothing has run there yet.

    Raises:
        Busy: as `ask`.
        FilemillError: as the server says.
    """
    line = ask_server(data, msgspec.json.encode(act) + b"\n") if os.path.isdir(data) else None
    if line is None:
        Durable(Failpoints.from_environment("command")).make_directory(os.fsencode(data), 0o700)
        answer: object = asyncio.run(_alone(data, act))
    else:
        answer = read_answer(line)
    if not isinstance(answer, replies.KeyMade):
        raise SystemFault("the server answered something else than what it was asked")
    return answer


def ask_link(data: str) -> replies.LinkMade:
    """Have the running server make a link that logs a browser in.

    Raises:
        UsageError: no server runs, or it serves no HTTP.
        FilemillError: as the server says.
    """
    answer = read_answer(_ask_running(data, acts.MakeLink()))
    assert isinstance(answer, replies.LinkMade), "a MakeLink is answered by LinkMade"  # noqa: S101
    return answer


def ask_reload(data: str, reason: str = "") -> replies.Reloaded:
    """Have the running server take the configuration on the disk.

    Raises:
        UsageError: no server runs.
        FilemillError: as the server says. That a configuration is bad is no error here, but the answer's `problems`.
    """
    answer = read_answer(_ask_running(data, acts.Reload(reason=reason)))
    assert isinstance(answer, replies.Reloaded), "a Reload is answered by Reloaded"  # noqa: S101
    return answer


def ask_drain(data: str, reason: str = "") -> None:
    """Have the running server finish what runs, and end.

    Raises:
        UsageError: no server runs.
        FilemillError: as the server says.
    """
    read_answer(_ask_running(data, acts.Drain(reason=reason)))


def _no_server() -> bool:
    """Whether two people are needed is said by the configuration in force, which only a server has."""
    raise UsageError("a quarantined file is released by a running server", help="filemill run")


def _ask_running(data: str, act: acts.Request) -> bytes:
    line = ask_server(data, msgspec.json.encode(act) + b"\n")
    if line is None:
        raise UsageError(f"no server runs on {data}", help="filemill run starts one")
    return line


def read_answer(line: bytes) -> replies.Done | replies.Collected | replies.Reloaded | replies.Made:
    """The server's answer.

    Raises:
        FilemillError: as the server says.
    """
    answer = raised(_answer.decode(line))
    if isinstance(answer, replies.Seen | replies.Measured):
        raise SystemFault("the server answered something else than it was asked")
    return answer


def raised(
    answer: replies.Answer,
) -> (
    replies.Done
    | replies.Collected
    | replies.Reloaded
    | replies.Made
    | replies.Seen
    | replies.Measured
):
    """The answer, unless it is a refusal.

    Raises:
        FilemillError: as the server says.
    """
    if isinstance(answer, replies.Refused):
        kind = getattr(errors, answer.error, FilemillError)
        known = isinstance(kind, type) and issubclass(kind, FilemillError)
        raise (kind if known else FilemillError)(answer.message, help=answer.help)
    return answer


def listens(data: str) -> bool:
    """Say whether a running server can be asked.

    Raises:
        SystemFault: it cannot be told.
    """
    with _connected(data, PATIENCE) as connection:
        return connection is not None


def look(data: str) -> replies.Seen | None:
    """What goes on in the server of this data directory; None when none runs, or it does not say within a second."""
    try:
        line = ask_server(data, msgspec.json.encode(acts.Look()) + b"\n", patience=1.0)
        answer = _answer.decode(line) if line else None
    except (FilemillError, msgspec.DecodeError):
        return None
    return answer if isinstance(answer, replies.Seen) else None


def ask_server(data: str, line: bytes, patience: float = PATIENCE) -> bytes | None:
    """The server's answer; None when no server listens.

    Raises:
        Busy: it went away before it answered: what was asked may be done.
        SystemFault: it does not answer.
    """
    with _connected(data, patience) as connection:
        if connection is None:
            return None
        try:
            connection.sendall(line)
            answer = b""
            while not answer.endswith(b"\n") and len(answer) <= MOST_BYTES:
                piece = connection.recv(65_536)
                if not piece:
                    raise Busy(
                        "the server ended before it answered",
                        help="look whether it was done, then ask again",
                    )
                answer += piece
        except OSError as error:
            raise SystemFault(
                f"the server does not answer: {error}", help="filemill status shows what it does"
            ) from error
    return answer


@contextlib.contextmanager
def _connected(data: str, patience: float) -> Iterator[socket.socket | None]:
    """A connection to the server of this data directory; None when none listens.

    Raises:
        SystemFault: it cannot be told.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(patience)
        try:
            with reachable(data) as path:
                connection.connect(path)
            listening = True
        except (FileNotFoundError, ConnectionRefusedError):
            listening = False
        except OSError as error:
            raise SystemFault(f"the server cannot be asked: {error}") from error
        yield connection if listening else None


async def _alone(data: str, act: acts.Request) -> replies.Done | replies.Reloaded | replies.Made:
    """Under the instance lock, so that no server starts meanwhile."""
    with InstanceLock(data):
        clock, durable = SystemClock(), Durable(Failpoints.from_environment("command"))
        ledger = await SqliteLedger.open(
            os.path.join(data, "ledger.db"), durable=durable, clock=clock, reserve=Reserve(data)
        )
        try:
            content = LocalContent(
                os.path.join(os.fsencode(data), b"content"), durable, sealer_of(data)
            )
            content.open()
            more: dict[Any, Handler] = {
                acts.MendFile: Mender(ledger, content, data).mend,
                **Keys(ledger, data, durable).handlers,
                acts.EndSessions: Sessions(ledger, WebPlan()).end,
            }
            retention = Retention(ledger=ledger, content=content, durable=durable, clock=clock)
            actions = Actions(
                ledger, clock, more=more, clear=retention.clear, two_people=_no_server
            )
            return await actions.perform(act, principal_of(os.geteuid()))
        finally:
            await ledger.close()
