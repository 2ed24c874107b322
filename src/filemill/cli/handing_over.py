"""A mended file on its way to who takes it: the server that is named, this machine's own, or its next start."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from filemill.cli.session import Session
from filemill.model.deeds import Chosen
from filemill.model.errors import (
    FilemillError,
    NoRoom,
    NotFound,
    QueueFull,
    SystemFault,
    UsageError,
)
from filemill.ports.clock import RandomIds

if TYPE_CHECKING:
    from filemill.queries import FileHistory, RunHistory


class Mended(NamedTuple):
    """A file that a person made in the place of runs of another one."""

    of: FileHistory
    runs: Sequence[RunHistory]
    content: Callable[[], Iterable[bytes]]
    """Its bytes, anew each time."""
    again: bool
    """Though the bad records of a done run were sent before."""
    beside: bool
    """Though sinks hold output of the file."""
    reason: str


class Taken(NamedTuple):
    """What became of it."""

    child: str
    """Id of the new file; empty: the runs have moved on, and nothing was done."""
    live: bool = True
    """A server goes on with it now."""


def hand_over(session: Session, mended: Mended) -> Taken:
    """Have it taken in.

    Raises:
        UsageError: it is not taken.
        SystemFault: it is not known whether it was.
    """
    if session.address() is None:
        return _here(session.data(), mended)
    return _over_http(session, mended)


def _here(data: str, mended: Mended) -> Taken:
    from filemill.service import acts
    from filemill.service.asking import ask
    from filemill.service.mending import drop, stage

    child = RandomIds().new()
    staged, size = stage(data, child, mended.content())
    act = acts.MendFile(
        runs=tuple(Chosen(run.summary.run, run.summary.fence) for run in mended.runs),
        child=child,
        staged=staged,
        relative=mended.of.summary.relative,
        again=mended.again,
        reason=mended.reason,
        size=size,
    )
    try:
        done = ask(data, act)
    except UsageError:
        drop(data, staged)
        raise
    except (FilemillError, OSError) as error:
        # Whether it was done nobody knows: what is staged is left to the next start.
        raise SystemFault(
            str(error), help=f"look whether it was done: filemill files show {child}"
        ) from error
    if not all(done.moved):
        drop(data, staged)
        return Taken("", done.live)
    return Taken(child, done.live)


def _over_http(session: Session, mended: Mended) -> Taken:
    from filemill.client.connection import Connection

    address = session.address()
    assert address is not None  # noqa: S101
    file = mended.of.summary.file
    with Connection(address) as connection:
        try:
            done = connection.send(
                f"/files/{file}/mend",
                mended.content,
                run=[f"{run.summary.run}:{run.summary.fence}" for run in mended.runs],
                again=mended.again,
                beside=mended.beside,
                reason=mended.reason,
            )
        except NotFound:
            return Taken("")
        except (UsageError, QueueFull, NoRoom):
            raise  # it was turned away at the door
        except FilemillError as error:
            raise SystemFault(
                str(error), help=f"look whether it was done: filemill files show {file}"
            ) from error
    return Taken(str(done["child"]), bool(done["live"]))
