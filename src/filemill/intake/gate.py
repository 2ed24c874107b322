"""Back pressure: how many files may be taken now. What is not taken stays in its source; nothing is lost.

Three things make intake wait: more files than memory should hold are taken and not routed yet; the queue is as long, or
as big, as `queue:` allows; the data directory's disk has less free than `reserve:`. Work on what was taken goes on
meanwhile, which is what shortens the queue and frees the disk. Once full, the queue has to shrink to nine tenths, and
the disk to gain a tenth of its reserve, so that intake does not stutter.

The queue is counted now and again in the ledger, by a reader; what was taken since is added. So the count is never too
low, and never more than that one reading too high.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable

import msgspec

from filemill.model.errors import FilemillError
from filemill.model.events import Emit, IntakeResumed, IntakeWaits
from filemill.ports.clock import Clock
from filemill.ports.units import format_size

MAX_PENDING = 4_096
"""Acknowledged files not yet routed before claiming waits: bounds memory, not the folder."""
LOOK = 1.0
"""Seconds between two counts of the queue, at least."""
SHARE = 20
"""A count that takes t seconds is not repeated for `SHARE` * t."""
USUAL_RESERVE = 1 << 30
"""Bytes kept free unless `reserve` says otherwise; of a disk under 20 GiB a twentieth."""


class QueueLimits(msgspec.Struct, frozen=True):
    """What `queue:` and `reserve:` say; None where they say nothing."""

    files: int | None = None
    size: int | None = None
    reserve: int | None = None


def free_and_reserved(data: bytes, reserve: int | None) -> tuple[int, int]:
    """Bytes that the disk of this folder has free, and those of them that `reserve:` keeps for what is taken already.

    Raises:
        OSError: the disk does not say.
    """
    disk = os.statvfs(data)
    usual = min(USUAL_RESERVE, disk.f_blocks * disk.f_frsize // 20)
    return disk.f_bavail * disk.f_frsize, usual if reserve is None else reserve


class Gate:
    """Says how many files may be taken. In one event loop.

    `count` answers with files and bytes in the queue (bytes only if asked for); it is called in a thread. `pending` is
    how many files wait to be routed, `opened` is called when there is room again.
    """

    def __init__(
        self,
        *,
        data: bytes,
        limits: QueueLimits,
        count: Callable[[bool], tuple[int, int]],
        pending: Callable[[], int],
        opened: Callable[[], None],
        clock: Clock,
        emit: Emit,
    ) -> None:
        self._data = data
        self._limits = limits
        self._count = count
        self._pending = pending
        self._opened = opened
        self._clock = clock
        self._emit = emit
        self._files = self._size = 0
        self._task: asyncio.Task[None] | None = None
        self.waits = ""
        """Why nothing is taken: `queue` or `disk`; empty: it is not so."""
        self.why = ""
        """The same for people; `help` says what they can do, `since_ns` (wall time) since when it is so."""
        self.help = ""
        self.since_ns = 0

    async def start(self) -> None:
        """Count once, then now and again."""
        if self._limits.files is not None or self._limits.size is not None:
            await self._look()
        self._task = asyncio.create_task(self._watch(), name="gate")

    def update(self, limits: QueueLimits) -> None:
        """Go by other limits from now on; what was never counted is, at the next look."""
        self._limits = limits

    async def stop(self) -> None:
        """Count no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def took(self, files: int, size: int) -> None:
        """So many files, and bytes, were acknowledged."""
        self._files += files
        self._size += size

    def room(self, under_way: int) -> int:
        """How many files may be taken beside those that are being taken now; 0 or less: none."""
        self._judge()
        room = MAX_PENDING - self._pending()
        if self.waits:
            return 0
        if self._limits.files is not None:
            room = min(room, self._limits.files - self._files - under_way)
        return room

    def _judge(self) -> None:
        """Open or close, and say so."""
        full, why, help_ = self._full()
        if full == self.waits:
            self.why = why
            return
        before, self.waits, self.why, self.help = self.waits, full, why, help_
        self.since_ns = self._clock.wall_ns()
        if full:
            self._emit(IntakeWaits(at_ns=self._clock.wall_ns(), what=full, message=why, help=help_))
        elif before:
            self._emit(IntakeResumed(at_ns=self._clock.wall_ns(), what=before))
            self._opened()

    def _full(self) -> tuple[str, str, str]:
        limits = self._limits
        part = 0.9 if self.waits == "queue" else 1.0
        rest = "what is taken goes on; files stay in their sources until then"
        if limits.files is not None and self._files >= max(1, limits.files * part):
            return "queue", f"the queue is full ({self._files:,} files)", f"`queue: files`: {rest}"
        if limits.size is not None and self._size >= max(1, limits.size * part):
            size = format_size(self._size)
            return "queue", f"the queue is full ({size})", f"`queue: bytes`: {rest}"
        with contextlib.suppress(
            OSError
        ):  # whoever writes there next will say what is wrong with it
            free, reserve = free_and_reserved(self._data, limits.reserve)
            if free < (reserve * 1.1 if self.waits == "disk" else reserve):
                why = (
                    f"the data directory's disk has {format_size(free)} free, "
                    f"of which `reserve` keeps {format_size(reserve)}"
                )
                return "disk", why, f"free some space, or lower `reserve`: {rest}"
        return "", "", ""

    async def _watch(self) -> None:
        wait = LOOK
        while True:
            await asyncio.sleep(wait)
            began = self._clock.monotonic()
            if self._limits.files is not None or self._limits.size is not None:
                await self._look()
            if self.waits:
                self._judge()  # also where no file waits any more, whose claim would ask
            wait = max(LOOK, (self._clock.monotonic() - began) * SHARE)

    async def _look(self) -> None:
        files, size = self._files, self._size
        try:
            counted = await asyncio.to_thread(self._count, self._limits.size is not None)
        except FilemillError:
            return  # it stays as high as it was, and the ledger's trouble is said by those who write
        self._files, self._size = self._files - files + counted[0], self._size - size + counted[1]
