"""Guarantees broken on purpose: each must be seen by some seed, or the simulation proves nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import patch

from filemill.engine.publishing import Publisher
from filemill.intake.moving import Mover
from filemill.ledgers.sqlite import runs
from simulation.machine import Control, Strikes


@contextlib.contextmanager
def broken(name: str) -> Iterator[Control]:
    """Break one of `CONTROLS` meanwhile; nothing for no name."""
    if not name:
        yield Control()
        return
    control = CONTROLS[name]
    if isinstance(control, Control):
        yield control
        return
    breaking, aimed = control
    with breaking():
        yield aimed


def _published_before_staged() -> Any:
    publish = Publisher._publish

    async def hasty(self: Publisher, group: list[Any]) -> None:
        await self._revealer.reveal([each for each in group if not each.noted])
        await publish(self, group)

    return patch.object(Publisher, "_publish", hasty)


def _unlinked_before_ingested() -> Any:
    move = Mover.move

    def hasty(self: Mover, takings: Any, folders: Any) -> None:
        move(self, takings, folders)
        self.let_go([each for each in takings if each.end is None])

    return patch.object(Mover, "move", hasty)


def _any_fence() -> Any:
    def lax(row: Any, fence: int, after: Any) -> bool:
        return row is not None and (row.state, after) in runs._MOVES

    return patch.object(runs, "_may", lax)


AT_UNLINK = Strikes("kill", at_action=11, name="unlink", behind=True)
CONTROLS: dict[str, Control | tuple[Callable[[], Any], Control]] = {
    "names": Control(frozenset({"server.sync_directory"})),
    "claims": Control(frozenset({"server.sync_group", "server.sync_file"})),
    "outputs": Control(frozenset({"worker.sync_group", "worker.sync_file"})),
    "commits": Control(normal=True),
    "staged": (_published_before_staged, Control()),
    "unlinked": (_unlinked_before_ingested, Control(aim=AT_UNLINK)),
    "fences": (_any_fence, Control(aim=Strikes("stop", after=4.0, deaths=0.5), late=True)),
}
"""Names of folders are not synced before DONE (and a claim's commit); the bytes of claims are not; those of outputs are
not; commits are not; STAGED is committed after the rename; an original is removed before its copy is acknowledged; a
late answer of a worker that was given up counts.
"""

__all__ = ["CONTROLS", "broken"]
