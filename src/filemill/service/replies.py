"""What filemill answers to what it was asked by `acts`: values that go through the control socket.

An answer says of each item whether it moved. `False` is no error: the run was not, or no longer, where the person saw
it.
"""

from __future__ import annotations

import msgspec

from filemill.telemetry.metrics import Sample, Spread


class Done(msgspec.Struct, frozen=True, tag="done"):
    """What became of an act: of each of its items, whether it moved."""

    moved: tuple[bool, ...]
    live: bool = True
    """A server runs and goes on with them now; else at the next start."""


class Reloaded(msgspec.Struct, frozen=True, tag="reloaded"):
    """What became of a reload: `revision` runs now; if it is `former`, nothing changed or `problems` say why."""

    revision: int
    former: int
    changes: tuple[str, ...] = ()
    problems: str = ""


class KeyMade(msgspec.Struct, frozen=True, tag="key-made"):
    """A new key. `key` is its whole text, which is said this once."""

    id: str
    key: str


class LinkMade(msgspec.Struct, frozen=True, tag="link-made"):
    """A link that logs in whoever opens it first; it is said this once."""

    url: str
    expires_ns: int


class SessionOpened(msgspec.Struct, frozen=True, tag="session-opened"):
    """A browser is logged in."""

    id: str
    principal: str
    roles: tuple[str, ...]


Made = KeyMade | LinkMade | SessionOpened
"""What an act made that whoever asked must be told."""


class HandedOut(msgspec.Struct, frozen=True, tag="handed-out"):
    """Where the plain bytes are read, and by what ticket (`encryption.handing_out`)."""

    address: bytes
    ticket: bytes


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    """The act was not done, none of it: an error of the one tree, by its class."""

    error: str
    message: str
    help: str = ""


class Collected(msgspec.Struct, frozen=True, tag="collected"):
    """How far a pass of retention is: see `intake.retention.Swept`."""

    files: int
    bytes: int
    forgotten: int
    rows: int
    looked: int
    over: bool


class TroubleNow(msgspec.Struct, frozen=True):
    """Something wrong with the machine that work waits for."""

    what: str
    since_ns: int
    message: str
    help: str
    pipelines: tuple[str, ...] = ()
    """Those whose runs wait for it; none named: all of them, or (`intake`) none."""
    next_ns: int = 0
    """Wall time of the next look, where there is one."""


class WorkerNow(msgspec.Struct, frozen=True):
    """One worker process."""

    number: int
    pid: int
    revision: int
    busy: bool
    jobs: int
    """How many it was given."""
    runs: tuple[str, ...] = ()
    """Those it said it is at."""


class RotationNow(msgspec.Struct, frozen=True):
    """Content is encrypted anew."""

    done: int
    of: int
    at_ns: int


class Seen(msgspec.Struct, frozen=True, tag="seen"):
    """What goes on in a running server."""

    pid: int
    running: int
    """Runs that workers hold."""
    troubles: tuple[TroubleNow, ...] = ()
    workers: tuple[WorkerNow, ...] = ()
    rotation: RotationNow | None = None
    web: str = ""
    """Where it answers HTTP, for whoever is on this machine; empty: nowhere."""


class Measured(msgspec.Struct, frozen=True, tag="measured"):
    """What a running server measures of itself; names and labels are those of `telemetry.metrics`."""

    samples: tuple[Sample, ...]
    spreads: tuple[Spread, ...]
    seen: Seen


Answer = Done | Reloaded | Made | Seen | Measured | Collected | Refused
