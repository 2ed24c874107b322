"""The two modes: watch until told to stop, or take what there is and end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from filemill.model.events import Emit
from filemill.model.plan import Plan
from filemill.ports.registry import Registry
from filemill.service.noticing import Noticing
from filemill.service.patience import Patience, Waiting
from filemill.service.reloading import Load, Reloader
from filemill.service.server import Revision, Server

PIECE = 100
"""Old files taken at a time."""


class Backfill(msgspec.Struct, frozen=True):
    """How old files are taken: at most `rate` a second (None: as fast as they are worked on); `told` how many more."""

    told: Callable[[int], None]
    rate: float | None = None


class Outcome(msgspec.Struct, frozen=True):
    """What a one-shot run did: the ids of the files it took, and the named paths it knew already."""

    files: tuple[str, ...]
    known: tuple[bytes, ...] = ()
    older: tuple[str, ...] = ()
    """Where no files were named: those that came before and of which a run ended now."""
    waiting: Waiting | None = None
    """Why it ended before all of them did."""


class _Stop:
    """Ctrl-C or TERM once: drain. Twice: now, whoever else asked for a drain. HUP: look at the configuration."""

    def __init__(self) -> None:
        self.drain = asyncio.Event()
        self.now = asyncio.Event()
        self.reload = asyncio.Event()
        self._terminal = _terminal()
        self._was_asked = False
        self.drained = False
        """All is done that was to be done: a signal has nothing left to ask for."""

    def hung_up(self) -> None:
        """HUP. It also comes when the terminal is closed: then nobody watches any more, and it is as Ctrl-C."""
        if self._terminal is not None and _terminal() is None:
            self.asked()
        else:
            self.reload.set()

    def asked(self) -> None:
        if self._was_asked:
            self.now.set()
        self._was_asked = True
        self.drain.set()


def _leave_no_core() -> None:
    """A dump of this process would hold what its configuration reads as secrets."""
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, most))


def _terminal() -> int | None:
    """The foreground process group of our terminal; None without one."""
    try:
        return os.tcgetpgrp(1)
    except OSError:
        return None


@contextlib.contextmanager
def _signals(stop: _Stop, *, reloads: bool = False) -> Iterator[None]:
    """Have signals heard. Behind it one that comes late is nothing to a server that has drained: it ends well."""
    loop = asyncio.get_running_loop()
    handlers = {signal.SIGINT: stop.asked, signal.SIGTERM: stop.asked}
    if reloads:
        handlers[signal.SIGHUP] = stop.hung_up
    for number, handler in handlers.items():
        loop.add_signal_handler(number, handler)
    try:
        yield
    finally:
        # Held back meanwhile: for a moment each of them would end this process, whatever it has drained.
        held = signal.pthread_sigmask(signal.SIG_BLOCK, handlers)
        for number in handlers:
            loop.remove_signal_handler(number)
            if stop.drained:
                signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, held)


async def watch(
    plan: Plan,
    revision: Revision,
    registry: Registry,
    emit: Emit,
    *,
    load: Load,
    follow: bool = False,
) -> bool:
    """Run until a signal or a drain; True when it drained in peace, False when it was stopped at once.

    `load` reads the configuration anew: on HUP, when a command asks, and with `follow` whenever it changes.

    Raises:
        FilemillError: it could not start, or a part of it ended (a failed ledger sync).
    """
    _leave_no_core()
    stop = _Stop()
    server = Server(plan, revision, registry, emit)
    reloader = Reloader(server, load)
    with _signals(stop, reloads=True):
        try:
            server.listen(reload=reloader.reload, drain=stop.drain.set)
            await _unless(stop.now, server.start(watch=True))
            if not stop.now.is_set():
                waits = [stop.drain.wait(), server.failed(), _reload_when_told(stop, reloader)]
                if follow:
                    waits.append(Noticing(server, reloader).run())
                await _first(*waits)
            await reloader.stop()
            stop.drained = not stop.now.is_set() and bool(
                await _unless(stop.now, server.drain(server.plan.grace))
            )
        finally:
            await server.stop()
    return stop.drained


async def _reload_when_told(stop: _Stop, reloader: Reloader) -> None:
    while True:
        await stop.reload.wait()
        stop.reload.clear()
        await reloader.reload()


async def once(
    plan: Plan,
    revision: Revision,
    registry: Registry,
    emit: Emit,
    paths: Sequence[bytes] = (),
    *,
    again: bool = False,
    backfill: Backfill | None = None,
    patience: float | None = None,
) -> Outcome:
    """Take the named files, or all that waits in the sources, and return when each came to an end.

    Retries are waited for. Named files are never moved or changed; with `backfill` they are old ones, taken at its
    pace. A signal drains; what is left is kept for the next start. So is what waits when `patience` (seconds) is over,
    or when nothing is left but what waits for a sink that could not be used several times.
    """
    _leave_no_core()
    stop = _Stop()
    server = Server(plan, revision, registry, emit)
    taken: asyncio.Task[Outcome] | None = None
    gone: asyncio.Task[str] | None = None
    with _signals(stop):
        try:
            if not await _unless(stop.drain, server.start(watch=False)):
                raise KeyboardInterrupt
            taken = asyncio.create_task(_take(server, paths, again=again, backfill=backfill))
            limits = Patience(server, patience)
            gone = asyncio.create_task(limits.gone())
            await _first(stop.drain.wait(), server.failed(), taken, gone)
            if taken.done() or gone.done():
                outcome = taken.result() if taken.done() else Outcome(tuple(server.arrivals.files))
                await _first(stop.drain.wait(), server.failed(), server.rest(), gone)
                outcome = _with_children(outcome, server.arrivals.parents)
                if not paths:
                    outcome = _with_older(outcome, server.arrivals.ended)
                if gone.done() and not stop.drain.is_set():
                    taken.cancel()
                    waiting = await limits.end(gone.result())
                    outcome = msgspec.structs.replace(outcome, waiting=waiting)
            else:
                taken.cancel()
                outcome = Outcome(())
            if stop.drain.is_set():
                await _unless(stop.now, server.drain(plan.grace))
                raise KeyboardInterrupt
        finally:
            if taken is not None and gone is not None:
                # Where another part of the server failed first, this one failed with it and was said with it.
                taken.cancel()
                gone.cancel()
                await asyncio.gather(taken, gone, return_exceptions=True)
            await server.stop()
    return outcome


async def _take(
    server: Server, paths: Sequence[bytes], *, again: bool, backfill: Backfill | None
) -> Outcome:
    if backfill is not None:
        return await _backfill(server, paths, backfill)
    if not paths:
        await server.scan_once()
        return Outcome(tuple(server.arrivals.files))
    taken = await server.parts.intake.take(paths, again=again)
    known = tuple(path for path, file in zip(paths, taken, strict=True) if file is None)
    return Outcome(tuple(file for file in taken if file is not None), known)


async def _backfill(server: Server, paths: Sequence[bytes], backfill: Backfill) -> Outcome:
    taken: list[str] = []
    known: list[bytes] = []
    loop = asyncio.get_running_loop()
    piece = PIECE if backfill.rate is None else max(1, min(PIECE, int(backfill.rate)))
    for first in range(0, len(paths), piece):
        began, group = loop.time(), paths[first : first + piece]
        for path, file in zip(
            group, await server.parts.intake.take(group, backfill=True), strict=True
        ):
            if file is None:
                known.append(path)
            else:
                taken.append(file)
        backfill.told(len(group))
        if backfill.rate is not None and first + piece < len(paths):
            await asyncio.sleep(max(0.0, len(group) / backfill.rate - (loop.time() - began)))
    return Outcome(tuple(taken), tuple(known))


def _with_older(outcome: Outcome, ended: Mapping[str, None]) -> Outcome:
    """The outcome with the files of an earlier start whose runs ended in this one."""
    files = frozenset(outcome.files)
    older = tuple(file for file in ended if file not in files)
    return msgspec.structs.replace(outcome, older=older)


def _with_children(outcome: Outcome, children: Mapping[str, str]) -> Outcome:
    """The outcome with the files that its own were taken apart into: they are asked for with them."""
    files = dict.fromkeys(outcome.files)
    for child, parent in children.items():
        if parent in files:
            files[child] = None
    return msgspec.structs.replace(outcome, files=tuple(files))


async def _first(*waits: Awaitable[Any]) -> None:
    """Wait for the first of several; its error is raised. Those that were no tasks before are cancelled."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    ours = [task for task in pending if all(task is not wait for wait in waits)]
    for task in ours:
        task.cancel()
    await asyncio.gather(*ours, return_exceptions=True)
    # All are asked: several parts may end of one cause, and an error that nobody asks for is printed as a defect.
    errors = [task.exception() for task in done if not task.cancelled()]
    for error in errors:
        if error is not None:
            raise error


async def _unless(stop: asyncio.Event, work: Awaitable[Any]) -> bool:
    """Do the work unless `stop` is set first; says whether it was done."""
    task = asyncio.ensure_future(work)
    await _first(stop.wait(), task)
    if task.done():
        return True
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return False
