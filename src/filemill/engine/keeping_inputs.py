"""What is kept of runs that wait for a person: from a worker's file to content, and away when nobody needs it.

The order never changes: a worker writes the input, it is renamed into content and made durable, and only then does the
commit that says that the run is dead or held name it. So no row names bytes that are not there. What a crash leaves of
it before that commit no row names; its reference says that it is an input, and recovery's sweep removes it.

Keeping never stands in the way of the verdict: where it fails, nothing is kept, and the attempt says why.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Sequence

import msgspec

from filemill.engine import frames
from filemill.engine.supervisor import WorkerDied, WorkerPool
from filemill.model.errors import SystemFault
from filemill.model.runs import Captured, RunOrder, RunResult
from filemill.ports.content import INPUT, Content
from filemill.ports.ledger import Fail

_UNUSABLE = "InputUnusable"
_Ended = tuple[RunOrder, RunResult, str]
"""A run that is to wait for a person, and the step where it ended."""


class Inputs:
    """Keeps inputs, and lets go of them. `pool_of` finds the workers of a revision."""

    def __init__(self, pool_of: Callable[[int], WorkerPool], content: Content) -> None:
        self._pool_of = pool_of
        self._content = content
        self._going: set[asyncio.Task[None]] = set()

    async def keep(
        self, ended: Sequence[_Ended], patience: float
    ) -> list[tuple[RunResult, str | None]]:
        """Each result with what is kept of its run, or why nothing is, and the reference of what is new in content.

        All are of one pipeline. `patience` is the longest a worker may go without a sign of progress, in seconds.
        """
        if not ended:
            return []
        asked = [each for each in ended if not _why_not(each)]
        found = {each.run: each for each in await self._capture(asked, patience)}
        references = await asyncio.to_thread(self._take_in, found, asked)
        answers: list[tuple[RunResult, str | None]] = []
        for order, result, step in ended:
            captured = found.get(
                order.run, Captured(order.run, why=_why_not((order, result, step)))
            )
            answers.append(
                (
                    msgspec.structs.replace(result, kept=captured.kept, unkept=captured.why),
                    references.get(order.run),
                )
            )
        return answers

    async def settle(self, fails: Sequence[tuple[RunOrder, Fail]], took: Sequence[bool]) -> None:
        """After the commit: let go of what no row names, be it what was just kept or what was kept before."""
        gone: list[str] = []
        for (order, fail), ok in zip(fails, took, strict=True):
            if not ok and fail.input is not None:
                gone.append(fail.input)
            elif (
                ok
                and order.kept
                and fail.state in ("dead", "held")
                and (fail.input is not None or not order.from_step)
            ):
                gone.append(order.kept)
        if gone:
            await asyncio.to_thread(self._delete, gone)

    def forget(self, reference: str) -> None:
        """Let go of an input that no row names any more, in the background."""
        task = asyncio.create_task(asyncio.to_thread(self._delete, [reference]))
        self._going.add(task)
        task.add_done_callback(self._going.discard)

    async def idle(self) -> None:
        """Return when all that was let go of is gone."""
        if self._going:
            await asyncio.wait(set(self._going))

    async def _capture(self, asked: Sequence[_Ended], patience: float) -> Sequence[Captured]:
        if not asked:
            return ()
        orders = tuple(order for order, _, _ in asked)
        steps = tuple(step for _, _, step in asked)
        try:
            # All are of one job, and so of one revision.
            pool = self._pool_of(orders[0].revision)
            reply, _ = await pool.run(lambda job: frames.Keep(job, orders, steps), patience)
        except WorkerDied as died:
            why = f"the worker was lost while the steps before worked again: {died.reason}"
            return [Captured(order.run, why=why) for order in orders]
        except SystemFault as fault:
            return [Captured(order.run, why=fault.message) for order in orders]
        assert isinstance(reply, frames.Kept), "a Keep is answered by Kept"  # noqa: S101
        return reply.captured

    def _take_in(self, found: dict[str, Captured], asked: Sequence[_Ended]) -> dict[str, str]:
        """Make content of what was written, durable when this returns; by run. What fails is said in `found`."""
        new = [each for each in found.values() if each.path]
        if not new:
            return {}
        fences = {order.run: order.fence for order, _, _ in asked}
        try:
            names = [f"{each.run}.{fences[each.run]}{INPUT}" for each in new]
            references = self._content.reserve(names)
            for each, reference in zip(new, references, strict=True):
                self._content.adopt(each.path, reference)
            self._content.sync(references)
        except OSError as error:
            # The whole group: what is in content and not known to be durable, the next start's sweep removes.
            for each in new:
                why = f"it could not be made durable: {error.strerror or error}"
                found[each.run] = Captured(each.run, why=why)
                with contextlib.suppress(OSError):
                    os.unlink(each.path)  # noqa: TID251 -- scratch: it can be made again from the file
            return {}
        return {each.run: reference for each, reference in zip(new, references, strict=True)}

    def _delete(self, references: Sequence[str]) -> None:
        """Delete what no row names. Never raises: what stays is swept at the next start."""
        with contextlib.suppress(OSError):
            self._content.delete(references)


def _why_not(ended: _Ended) -> str:
    """Why nothing can be kept of a run, where no worker has to be asked to know it."""
    _, result, _ = ended
    if result.chunks:
        return "the file is worked on in chunks"
    if result.failure is not None and result.failure.error == _UNUSABLE:
        return "what was kept before is no use any more"
    return ""
