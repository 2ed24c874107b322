"""What a worker may take in the middle of a job: time without a sign of progress, memory, room on the disk.

The kernel holds the worker itself to its memory limit; what its step started, and what lies in its work folder, is
seen only here. One that takes more is ended, and whoever waits for its answer learns why from `killed_for`.
"""

from __future__ import annotations

import asyncio

from filemill.engine.processes import descendants_of, memory_of
from filemill.engine.slots import Slot
from filemill.engine.spawning import STOP_GRACE, ask_to_end, end_soon
from filemill.engine.work import measure
from filemill.model.plan import Plan
from filemill.ports.units import format_size


def check_allowances(slot: Slot, plan: Plan, now: float) -> None:
    """End the worker of a busy slot if it takes too much, `now` in monotonic seconds. From the event loop."""
    _check_deadline(slot, now)
    _check_memory(slot, plan.worker_memory)
    _check_work(slot, plan.max_work)
    if slot.asked_at and now - slot.asked_at > STOP_GRACE:
        # Its socket closes with it, and whoever waits for its answer buries it.
        end_soon(slot.keeper)


def _check_deadline(slot: Slot, now: float) -> None:
    sequence, allowed = slot.page.glance()
    if sequence != slot.sequence:
        slot.sequence = sequence
        slot.moved_at = now
    deadline = allowed or slot.deadline
    if now - slot.moved_at > deadline and not slot.killed_for:
        slot.killed_for = f"timed out after {deadline:g}s"
        slot.asked_at = now
        ask_to_end(slot.keeper)


def _check_memory(slot: Slot, limit: int) -> None:
    if not limit or not slot.pid or slot.killed_for:
        return
    held = sum(memory_of(each) for each in descendants_of(slot.keeper.pid))
    if held > limit:
        slot.killed_for = f"out of memory: it held {format_size(held)}, `worker_memory` allows {format_size(limit)}"
        end_soon(slot.keeper)


def _check_work(slot: Slot, most: int) -> None:
    """Have its work folder measured, in a thread: a step may put any number of files there."""
    if slot.killed_for or (slot.measuring is not None and not slot.measuring.done()):
        return
    slot.measuring = asyncio.ensure_future(_measure(slot, slot.job, most))


async def _measure(slot: Slot, job: int, most: int) -> None:
    used, free = await asyncio.to_thread(measure, slot.work, most)
    if slot.job != job or slot.killed_for or used <= min(most, free):
        return
    allowed = (
        f"`max_work` allows {format_size(most)}"
        if used > most
        else f"only {format_size(free)} are left on its disk"
    )
    slot.killed_for = f"its work folder grew to {format_size(used)}, {allowed}"
    end_soon(slot.keeper)
