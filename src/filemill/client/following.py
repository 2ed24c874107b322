"""Reading along over HTTP: `queries.following` of a server, whose events come as they happen.

Where the connection is lost it is made again, and what was missed is told then. What comes twice is told once.
"""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Iterator

import msgspec

from filemill.client.connection import Connection
from filemill.model.errors import Busy, SystemFault
from filemill.model.events import Event
from filemill.queries.following import OVERLAP_NS, Told
from filemill.service import values

_DATA = "data: "
_PAUSE = 2.0
"""Seconds before a lost connection is made again."""
_read: msgspec.msgpack.Decoder[Told] = msgspec.msgpack.Decoder(Told)


class RemoteFollowing:
    """As `Following`, in one thread: `last` once, if at all, then `news` again and again, which waits for some."""

    def __init__(self, connection: Connection, *, tag: str, pipeline: str, state: str) -> None:
        self._connection = connection
        self._asked = {"tag": tag, "pipeline": pipeline, "state": state}
        self._lines: Iterator[str] | None = None
        self._told: dict[str, int] = {}
        """What was told of the time that a new connection begins with, with its time."""
        self._latest = 0
        self._away = False
        self._notes: list[str] = []

    def last(self, count: int) -> list[Event]:
        """The last `count` ends that fit, in the order of time.

        Raises:
            FilemillError: as the server says, or it does not answer.
        """
        self._lines = self._begun(count)
        found: list[Event] = []
        for line in self._lines:
            if line == values.NOW:
                break
            found += self._events(line)
        return found

    def news(self) -> list[Event]:
        """What comes next; nothing where the server only says that it lives, or is not there for now.

        Raises:
            FilemillError: this key may not listen any more.
        """
        try:
            if self._lines is None:
                self._lines = self._begun(0)
            for line in self._lines:
                if line == values.GAP:
                    self._notes.append("more happened meanwhile than is told again")
                if line.startswith((_DATA, ":")):
                    self._is_there()
                    return self._events(line)
        except (Busy, SystemFault) as error:
            self._is_away(error.message)
        else:
            self._is_away(f"{self._connection.address.url} ended the connection")
        self._lines = None
        time.sleep(_PAUSE)
        return []

    def notes(self) -> list[str]:
        """What a person should know who reads along, said once."""
        notes, self._notes = self._notes, []
        return notes

    def _is_away(self, why: str) -> None:
        if not self._away:
            self._notes.append(f"{why}; it is asked again until it answers")
        self._away = True

    def _is_there(self) -> None:
        if self._away:
            self._notes.append(f"{self._connection.address.url} answers again")
        self._away = False

    def _begun(self, count: int) -> Iterator[str]:
        headers = {"accept": values.STREAM}
        if self._latest:
            headers["last-event-id"] = str(self._latest)
        return self._connection.lines("/events", headers, last=count, **self._asked)

    def _events(self, line: str) -> list[Event]:
        if not line.startswith(_DATA) or line in self._told:
            return []
        try:
            event = _read.decode(base64.b64decode(line.removeprefix(_DATA)))
        except (msgspec.MsgspecError, binascii.Error) as error:
            raise SystemFault(
                f"the server's answer cannot be read: {error}",
                help="command and server are of different versions",
            ) from error
        self._latest = max(self._latest, event.at_ns)
        kept = self._latest - 2 * OVERLAP_NS
        self._told = {told: at for told, at in self._told.items() if at >= kept}
        self._told[line] = event.at_ns
        return [event]
