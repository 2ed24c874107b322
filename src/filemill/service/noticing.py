"""Noticing that the configuration on the disk is another one: by content, whatever was done to the files.

Looking at what `stat` says of each file twice a second is the hint; reading them all every few seconds is the truth (a
network file system may show old times). Links are followed, so a folder whose link leads elsewhere, as Kubernetes swaps
its mounted maps, is a change of every file in it, at once. A file that was only touched is none.

After a configuration was refused, whatever lies beside it may be what mends it (a module that it names for the first
time), so then every file that could belong to it counts.
"""

from __future__ import annotations

import asyncio
import os

from filemill.config.locating import FOLDER
from filemill.config.stored import Stored, changes_on_disk, read_stored
from filemill.config.surroundings import beside
from filemill.service.reloading import SETTLE, Reloader
from filemill.service.server import Server

HINT = 0.5
"""Seconds between looks at what `stat` says."""
TRUTH = 5.0
"""Seconds between looks at the content."""


class Noticing:
    """Reloads whenever the files of the configuration are others than those that run."""

    def __init__(self, server: Server, reloader: Reloader) -> None:
        self._server = server
        self._reloader = reloader
        self._signature: object = None

    async def run(self) -> None:
        """Look until cancelled."""
        clock = self._server.clock
        read_at = clock.monotonic()
        while True:
            await asyncio.sleep(HINT)
            stored, root = read_stored(self._server.revision.text), self._server.plan.root
            signature = await asyncio.to_thread(_signature, stored, root)
            if signature == self._signature and clock.monotonic() - read_at < TRUTH:
                continue
            self._signature, read_at = signature, clock.monotonic()
            if await self._differs():
                await self._settle()
                # Somebody else may have had it judged meanwhile (HUP, `filemill reload`): once is enough.
                await self._reloader.reload(self._differs)

    async def _differs(self) -> bool:
        """Whether the disk has something that was neither taken nor refused."""
        stored, plan = read_stored(self._server.revision.text), self._server.plan
        if (refused := self._reloader.refused) is not None:
            return await asyncio.to_thread(beside, plan, stored) != refused
        return bool(await asyncio.to_thread(changes_on_disk, stored, plan.root))

    async def _settle(self) -> None:
        """Return when two looks found the same."""
        stored, plan = read_stored(self._server.revision.text), self._server.plan
        seen = await asyncio.to_thread(beside, plan, stored)
        while True:
            await asyncio.sleep(SETTLE)
            again = await asyncio.to_thread(beside, plan, stored)
            if again == seen:
                return
            seen = again


def _signature(stored: Stored, root: str) -> object:
    """What `stat` says of every file, links followed, and which files `conf.d` holds."""
    seen: list[object] = []
    for name in stored.files:
        try:
            status = os.stat(os.path.join(root, name))
            seen.append((status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns))
        except OSError:
            seen.append(None)
    try:
        seen.append(sorted(os.listdir(os.path.join(root, FOLDER))))
    except OSError:
        seen.append(None)
    return seen
