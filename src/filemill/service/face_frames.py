"""What the server and the web child say to each other: msgpack, each behind a 4-byte big-endian length.

The child parses strangers' bytes, so the server takes nothing on trust from it but who somebody is: every request is
one of the acts that commands have, and is judged as theirs are.
"""

from __future__ import annotations

import struct
from typing import Any

import msgspec

from filemill.model.plan import LimitsPlan, OidcPlan, SessionsPlan, TlsPlan
from filemill.service import acts, replies

LENGTH = struct.Struct(">I")
MOST = 16 << 20
"""Bytes of a message."""


class Entrance(msgspec.Struct, frozen=True):
    """One http source as the child sees it."""

    source: str
    path: str
    max_size: int
    types: tuple[str, ...] = ()


class Named(msgspec.Struct, frozen=True):
    """A source or a sink as the child sees it."""

    name: str
    kind: str


class Opening(msgspec.Struct, frozen=True, tag="opening"):
    """Server: how to serve. Sent first, and again when the configuration changed."""

    data: str
    host: str
    port: int
    hosts: tuple[str, ...]
    behind_proxy: bool
    revision: int
    entrances: tuple[Entrance, ...] = ()
    pipelines: tuple[str, ...] = ()
    sources: tuple[Named, ...] = ()
    sinks: tuple[Named, ...] = ()
    reserve: int | None = None
    """`reserve:`, bytes that what is sent must leave free."""
    sync: bool = True
    """Whether what is promised must outlive a power cut (`durability: power`)."""
    recipients: tuple[str, ...] = ()
    """For whom what is sent is encrypted; none: it is not."""
    tls: TlsPlan | None = None
    limits: LimitsPlan = LimitsPlan()
    proxies: tuple[str, ...] = ()
    oidc: OidcPlan | None = None
    sessions: SessionsPlan = SessionsPlan()

    @property
    def is_private(self) -> bool:
        """Browsers reach it under TLS only, its own or a proxy's."""
        return self.tls is not None or self.behind_proxy


class Answered(msgspec.Struct, frozen=True, tag="answered"):
    """Server: what became of the request of this number."""

    number: int
    answer: replies.Answer | replies.HandedOut


class Listening(msgspec.Struct, frozen=True, tag="listening"):
    """Child: requests are answered from now on."""

    pid: int


class Noted(msgspec.Struct, frozen=True, tag="noted"):
    """Child: the person at the server should know this; `help` is empty where nothing is to be done."""

    message: str
    help: str = ""


class Asked(msgspec.Struct, frozen=True, tag="asked"):
    """Child: have this done for that principal."""

    number: int
    principal: str
    act: acts.Request | acts.Look | acts.Measure | acts.HandOut
    address: str = ""
    """Where they ask from."""


ToChild = Opening | Answered
FromChild = Listening | Asked | Noted
_ENCODER = msgspec.msgpack.Encoder()
_TO_CHILD: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(ToChild)
_FROM_CHILD: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(FromChild)


def pack(message: ToChild | FromChild) -> bytes:
    """One message with its length in front."""
    body = _ENCODER.encode(message)
    return LENGTH.pack(len(body)) + body


def to_child(body: bytes) -> ToChild:
    """What the server said.

    Raises:
        msgspec.MsgspecError: it is no such message.
    """
    return _TO_CHILD.decode(body)  # type: ignore[no-any-return]


def from_child(body: bytes) -> FromChild:
    """What the child said.

    Raises:
        msgspec.MsgspecError: it is no such message.
    """
    return _FROM_CHILD.decode(body)  # type: ignore[no-any-return]
