"""Following one folder tree: events for speed, scans for truth, patience while it is missing."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec

from filemill.durable.actions import IS_LINUX
from filemill.model.events import (
    Event,
    EventsMissed,
    FileIgnored,
    SourceMissing,
    SourceNotice,
    SourceReturned,
)
from filemill.ports.source import Proof, Sighting, SourceContext
from filemill.ports.units import format_duration
from filemill.sources.names import Ignore
from filemill.sources.scanning import Found, scan
from filemill.sources.watching import Watches

QUIET_INTERVAL = 60.0
"""Seconds between scans that only look after events, from which on they are not worth a word."""
PROBE = 1.0
"""Seconds between looks for a folder that is missing, or that another may have taken the place of."""
LIMITED_POLL = 2.0
"""Seconds between scans once the limit of watches is reached."""
HINT_DELAY = 1.0
"""Seconds after which a name that appeared and was never closed (a hard link) is worth a look."""
BACKLOG = 20_000
"""A source's scans pause while more of its sightings wait for intake: it bounds memory, whatever a folder holds."""
SCAN_SHARE = 50
"""A scan that takes t seconds is not repeated for `SCAN_SHARE` * t: at most 2% of a core goes to scanning."""
_SHORTAGE = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOSPC, errno.ENOMEM})
_COUNTED = 100_000
"""Names remembered between scans to tell missed events; past this many, a scan does not count."""


class Follower:
    """Follows one folder from `start` to `stop`. All methods are called in the event loop."""

    def __init__(
        self,
        context: SourceContext,
        root: bytes,
        *,
        ignore: Ignore,
        recursive: bool,
        identities: bool,
        events: bool,
        interval: float,
    ) -> None:
        self._context = context
        self._root = root
        self._ignore = ignore
        self._recursive = recursive
        self._identities = identities
        self._events = events and IS_LINUX
        self._interval = interval
        self._watches: Watches | None = None
        self._place: tuple[int, int] | None = None
        """(device, inode) of the folder as last watched; None while it is missing."""
        self._threads = ThreadPoolExecutor(2, thread_name_prefix=f"scan-{context.name}")
        self._tasks: list[asyncio.Task[None]] = []
        self._halt = threading.Event()
        self._loop = asyncio.get_running_loop()
        self._scan_now = asyncio.Event()
        self._wanted = self._finished = 0
        self._scan_done = asyncio.Condition()
        self._new_folders: asyncio.Queue[bytes] = asyncio.Queue()
        self._hints: dict[bytes, None] = {}
        self._hint_timer: asyncio.TimerHandle | None = None
        self._announced: set[bytes] = set()
        """Names events told of since the last full scan began; `_announced_before` those of the time before."""
        self._announced_before: set[bytes] = set()
        self._left: set[bytes] = set()
        """Names the last full scan found: staying in place is not a missed event."""
        self._found: set[bytes] = set()
        self._counting = False
        self._missed = 0
        self._said: set[bytes] = set()
        self._limited = False
        self._lost = False

    @property
    def manner(self) -> str:
        """How changes come to be known: `inotify`, `scanned every 2s`, or both."""
        scans = f"scanned every {format_duration(self._interval)}"
        if self._watches is None:
            return scans
        return "inotify" if self._interval >= QUIET_INTERVAL else f"inotify, {scans}"

    def start(self) -> None:
        """Watch the folder itself and begin the first full scan. The folder must be there."""
        self._watch_root()
        self._begin(self._scanning())
        self._begin(self._entering())

    async def stop(self) -> None:
        """Stop; sightings already given stand."""
        self._halt.set()
        if self._hint_timer is not None:
            self._hint_timer.cancel()
        self._unwatch()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._loop.run_in_executor(None, self._threads.shutdown)

    async def scanned(self) -> None:
        """Return when a full scan that began after this call is over (or found the folder missing)."""
        self._wanted += 1
        mine = self._wanted
        self._scan_now.set()
        async with self._scan_done:
            await self._scan_done.wait_for(lambda: self._finished >= mine)

    # -- scans ------------------------------------------------------------------------------------

    async def _scanning(self) -> None:
        """Full scans: at start, on demand, and on the interval."""
        while True:
            self._scan_now.clear()
            began_with = self._wanted
            started = self._context.clock.monotonic()
            there = await self._full_scan()
            async with self._scan_done:
                self._finished = began_with
                self._scan_done.notify_all()
            took = self._context.clock.monotonic() - started
            await self._rest(max(self._interval, took * SCAN_SHARE) if there else PROBE)

    async def _rest(self, seconds: float) -> None:
        """Wait for the next scan's time, or until one is asked for, or another folder stands in this one's place.

        No event tells of the latter: what is mounted over a folder, or unmounted while something in it is open, leaves
        the watched folder as it was, only nobody finds it there any more.
        """
        ends = self._context.clock.monotonic() + seconds
        while (left := ends - self._context.clock.monotonic()) > 0:
            try:
                await asyncio.wait_for(self._scan_now.wait(), min(left, PROBE))
            except TimeoutError:
                if self._place is not None and await self._is_elsewhere():
                    return
            else:
                return

    async def _is_elsewhere(self) -> bool:
        try:
            status = await self._loop.run_in_executor(self._threads, os.stat, self._root)
        except OSError:
            return True
        return (status.st_dev, status.st_ino) != self._place

    async def _full_scan(self) -> bool:
        """One scan of the whole tree; False when the folder is missing."""
        try:
            status = await self._loop.run_in_executor(self._threads, os.stat, self._root)
        except OSError:
            self._missing()
            return False
        returned = self._lost
        if (status.st_dev, status.st_ino) != self._place or returned:
            if self._place is not None and status.st_dev != self._place[0]:
                self._moved_house()
            self._unwatch()
            self._watch_root()
        self._found, self._missed = set(), 0
        self._announced_before, self._announced = self._announced, set()
        try:
            await self._loop.run_in_executor(self._threads, self._scan, b"", True)
        except OSError as error:
            if error.errno not in _SHORTAGE:
                self._missing()
            return False
        self._end_count()
        if returned:
            self._lost = False
            self._emit(SourceReturned(source=self._context.name, path=self._root))
        return True

    async def _entering(self) -> None:
        """Scans of new folders, as events tell of them."""
        while True:
            folder = await self._new_folders.get()
            try:
                await self._loop.run_in_executor(self._threads, self._scan, folder, False)
            except OSError:
                continue  # gone again, or no folder any more

    def _scan(self, below: bytes, full: bool) -> None:
        """Scan and hand over slice by slice. In a thread."""
        call = self._loop.call_soon_threadsafe

        def unreadable(folder: bytes, reason: str) -> None:
            call(self._unreadable, folder, reason)

        for slice_ in scan(
            self._root,
            below,
            ignore=self._ignore,
            recursive=self._recursive,
            identities=self._identities,
            entered=self._watch,
            unreadable=unreadable,
        ):
            if self._halt.is_set():
                return
            call(self._give, slice_, full)
            while self._context.backlog() > BACKLOG and not self._halt.wait(0.02):
                pass

    def _give(self, slice_: list[Found], full: bool) -> None:
        """One slice of a scan, in the loop."""
        if self._halt.is_set():
            return
        if full and self._watches is not None:
            while self._drain():
                pass  # so that what this slice holds and an event announced is not counted as missed
            self._count(slice_)
        name, root = self._context.name, self._root + b"/"
        self._context.sighted(
            [
                Sighting(name, root + relative, relative, Proof.NONE, identity)
                for relative, identity in slice_
            ]
        )

    def _count(self, slice_: list[Found]) -> None:
        if len(self._found) < _COUNTED:
            self._found.update(relative for relative, _ in slice_)
        if self._counting:
            known = (self._announced, self._announced_before, self._left)
            self._missed += sum(
                not any(relative in each for each in known) for relative, _ in slice_
            )

    def _end_count(self) -> None:
        """After a full scan: say what events had missed, and begin to count for the next one."""
        if self._missed:
            self._emit(EventsMissed(source=self._context.name, found=self._missed))
        self._counting = self._watches is not None and len(self._found) < _COUNTED
        self._left, self._found = self._found, set()
        self._announced_before = set()

    def _unreadable(self, folder: bytes, reason: str) -> None:
        if folder not in self._said:
            self._said.add(folder)
            self._emit(
                FileIgnored(
                    source=self._context.name,
                    relative=folder,
                    reason=f"a folder that cannot be listed: {reason}",
                )
            )

    # -- events -----------------------------------------------------------------------------------

    def _watch_root(self) -> None:
        """Begin to watch the folder itself; those in it are added by the scan that follows."""
        try:
            status = os.stat(self._root)
            self._place = (status.st_dev, status.st_ino)
            if not self._events or self._limited:
                return
            self._watches = Watches(self._ignore)
            self._watches.add(b"", self._root)
        except OSError as error:
            self._unwatch()
            if error.errno in _SHORTAGE:
                self._limit()
            return
        self._loop.add_reader(self._watches.fileno(), self._drain)

    def _watch(self, relative: bytes, path: bytes) -> None:
        """Watch one more folder, from a scan's thread."""
        watches = self._watches
        if watches is None:
            return
        try:
            watches.add(relative, path)
        except ValueError:
            return  # closed meanwhile
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.ENOMEM):
                self._loop.call_soon_threadsafe(self._limit)
            elif error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.EBADF):
                raise

    def _unwatch(self) -> None:
        watches, self._watches = self._watches, None
        if watches is not None:
            self._loop.remove_reader(watches.fileno())
            watches.close()

    def _drain(self) -> bool:
        """Take a buffer full of what the queue holds; False when it held nothing."""
        watches = self._watches
        if watches is None:
            return False
        happened = watches.read()
        if happened.files:
            self._announce(happened.files)
        for relative in happened.created:
            self._hint(relative)
        if self._recursive:
            for folder in happened.folders:
                self._new_folders.put_nowait(folder)
        if happened.overflow:
            self._emit(EventsMissed(source=self._context.name, found=0, overflow=True))
        if happened.overflow or happened.moved or happened.root_gone:
            self._counting = False
            self._scan_now.set()
        return happened.any

    def _announce(self, files: dict[bytes, Proof]) -> None:
        if self._counting:
            self._announced.update(files)
            self._counting = len(self._announced) < _COUNTED
        for relative in files:
            self._hints.pop(relative, None)
        name, root = self._context.name, self._root + b"/"
        self._context.sighted(
            [Sighting(name, root + relative, relative, proof) for relative, proof in files.items()]
        )

    def _hint(self, relative: bytes) -> None:
        """A name appeared. Most are written and closed soon; a hard link never is."""
        self._hints[relative] = None
        if self._hint_timer is None:
            self._hint_timer = self._loop.call_later(HINT_DELAY, self._give_hints)

    def _give_hints(self) -> None:
        """Sight the names that appeared a while ago and of which nothing was heard since."""
        self._hint_timer = None
        hints, self._hints = self._hints, {}
        if hints:
            self._announce(dict.fromkeys(hints, Proof.NONE))

    def _limit(self) -> None:
        if self._limited:
            return
        self._limited = True
        self._interval = min(self._interval, LIMITED_POLL)
        self._scan_now.set()
        self._emit(
            SourceNotice(
                source=self._context.name,
                message=f"this user's limit of inotify watches is reached: {os.fsdecode(self._root)} is scanned "
                f"every {LIMITED_POLL:g}s",
                help="sysctl fs.inotify.max_user_watches=1048576 fs.inotify.max_user_instances=1024",
            )
        )

    # -- the folder itself ------------------------------------------------------------------------

    def _missing(self) -> None:
        """The folder is gone: say so once; nothing is concluded about the files that were in it."""
        self._unwatch()
        self._place = None
        if not self._lost:
            self._lost = True
            self._emit(SourceMissing(source=self._context.name, path=self._root))

    def _moved_house(self) -> None:
        """The folder is on another file system: said, since an unmounted source looks like an empty one."""
        self._emit(
            SourceNotice(
                source=self._context.name,
                message=f"{os.fsdecode(self._root)} is on another file system than before",
                help="if it was unmounted, mount it again: what is there will be found then",
            )
        )

    def _emit(self, event: Event) -> None:
        self._context.emit(msgspec.structs.replace(event, at_ns=self._context.clock.wall_ns()))

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(self._loop.create_task(work))
