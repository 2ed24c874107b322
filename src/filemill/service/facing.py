"""The face that the server shows to the network: a child process that speaks HTTP, started last and begun again.

Bytes of strangers are parsed there and never in the process that owns the ledger. The server binds the port before
anything else, so that a port that is taken stops the start, and keeps it, so that a child that dies loses nobody's
connection to come. The child reads the ledger by itself; whatever is to be changed it asks for over its socket pair, as
commands do over the control socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Collection, Mapping

import msgspec

from filemill.engine.spawning import describe_exit, environment_for
from filemill.model.errors import (
    Busy,
    FilemillError,
    LedgerSyncError,
    UsageError,
    plainly,
)
from filemill.model.events import Emit, WebListening, WebLost, WebNoted
from filemill.model.plan import Plan, WebPlan
from filemill.ports.clock import Clock
from filemill.ports.source import SourceSettings
from filemill.service import acts, replies
from filemill.service.face_frames import (
    LENGTH,
    MOST,
    Answered,
    Asked,
    Entrance,
    Listening,
    Named,
    Noted,
    Opening,
    pack,
)
from filemill.service.face_frames import from_child as read
from filemill.telemetry.wording import printable

BACKLOG = 1024
GRACE = 5.0
"""Seconds that answers under way get at the end."""
FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0
"""Seconds before a child that died is begun again."""
STEADY = 60.0
"""A child that lived so long (s) is begun again at once."""

Perform = Callable[[acts.Request, str, str], Awaitable[replies.Answer]]
"""Does something for a principal, asked from an address."""
HandOut = Callable[[acts.HandOut, str], Awaitable[replies.HandedOut]]


class Door:
    """The listening socket."""

    def __init__(self, plan: WebPlan) -> None:
        """Bind and listen.

        Raises:
            Busy: the port is taken.
            UsageError: the address is not one of this machine's, or may not be used.
        """
        family = socket.AF_INET6 if ":" in plan.host else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        self.plan = plan
        try:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.socket.bind((plan.host, plan.port))
            self.socket.listen(BACKLOG)
        except OSError as error:
            self.socket.close()
            where = f"{plan.host}:{plan.port}"
            if error.errno == errno.EADDRINUSE:
                by = _holder_of(plan.port)
                raise Busy(
                    f"{where} is held by {by or 'another process'}",
                    help="filemill run --port 8601, or `web: {listen: ...}`; --no-web serves nothing",
                ) from error
            raise UsageError(
                f"{where} cannot be listened on: {error.strerror}",
                help="`web: {listen: ...}` names an address of this machine; --no-web serves nothing",
            ) from error

    def close(self) -> None:
        """Listen no more. Idempotent."""
        self.socket.close()


class Face:
    """The web child and what stands behind it. `start` once, `stop` once; in the server's event loop."""

    def __init__(
        self,
        door: Door,
        opening: Callable[[], Opening],
        perform: Perform,
        look: Callable[[], replies.Seen],
        measure: Callable[[], replies.Measured],
        *,
        hand_out: HandOut,
        secrets: Callable[[], Collection[str]],
        clock: Clock,
        emit: Emit,
    ) -> None:
        """`secrets` are names of the environment that the configuration reads as secrets; the child sees none."""
        self._door = door
        self._secrets = secrets
        self._opening = opening
        self._perform = perform
        self._look = look
        self._hand_out = hand_out
        self._measure = measure
        self._clock = clock
        self._emit = emit
        self._task: asyncio.Task[None] | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._asked: set[asyncio.Task[None]] = set()
        self._ending = asyncio.Event()
        self.crashed: BaseException | None = None
        """The error that ended it: a commit's fate is unknown."""

    def start(self) -> None:
        """Begin to serve, in the background."""
        if self._task is None:
            self._task = asyncio.create_task(self._keep(), name="web child")

    def changed(self) -> None:
        """The configuration is another one now."""
        if self._writer is not None:
            self._writer.write(pack(self._opening()))

    async def stop(self) -> None:
        """Answer what is asked, then end the child. Idempotent."""
        self._ending.set()
        if self._task is None:
            self._door.close()
            return
        if self._writer is not None and self._writer.can_write_eof():
            self._writer.write_eof()
        done, _ = await asyncio.wait({self._task}, timeout=GRACE)
        if not done:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._task = None
        self._door.close()

    async def _keep(self) -> None:
        pause = FIRST_PAUSE
        while not self._ending.is_set():
            began = self._clock.monotonic()
            try:
                why = describe_exit(await self._serve())
            except OSError as error:  # no process, no descriptor: the next one may be had
                why = plainly(error)
            if self._ending.is_set():
                return
            pause = FIRST_PAUSE if self._clock.monotonic() - began > STEADY else pause
            self._emit(WebLost(at_ns=self._clock.wall_ns(), reason=why, again_in=pause))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _serve(self) -> int:
        """One child's life; its exit code."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            process = self._spawn(theirs)
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        reader, self._writer = await asyncio.open_unix_connection(sock=ours, limit=MOST)
        try:
            self._writer.write(pack(self._opening()))
            while (message := await self._next(reader)) is not None:
                if isinstance(message, Listening):
                    plan = self._door.plan
                    self._emit(
                        WebListening(
                            at_ns=self._clock.wall_ns(),
                            host=plan.host,
                            port=plan.port,
                            tls=plan.tls is not None,
                        )
                    )
                    continue
                if isinstance(message, Noted):
                    self._emit(
                        WebNoted(
                            at_ns=self._clock.wall_ns(), message=message.message, help=message.help
                        )
                    )
                    continue
                task = asyncio.create_task(self._answer(message, self._writer))
                self._asked.add(task)
                task.add_done_callback(self._asked.discard)
        finally:
            writer, self._writer = self._writer, None
            writer.close()
            if self._asked:
                # What was asked is done whether or not anybody hears the answer.
                await asyncio.wait(set(self._asked), timeout=GRACE)
            code = await self._reap(process)
        return code

    async def _next(self, reader: asyncio.StreamReader) -> Listening | Asked | Noted | None:
        try:
            (length,) = LENGTH.unpack(await reader.readexactly(LENGTH.size))
            if length > MOST:
                return None
            return read(await reader.readexactly(length))
        except (asyncio.IncompleteReadError, ConnectionError, msgspec.MsgspecError):
            return None

    async def _answer(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        answer: replies.Answer | replies.HandedOut
        try:
            if isinstance(asked.act, acts.Look):
                answer = self._look()
            elif isinstance(asked.act, acts.HandOut):
                answer = await self._hand_out(asked.act, asked.principal)
            elif isinstance(asked.act, acts.Measure):
                answer = self._measure()
            else:
                answer = await self._perform(asked.act, asked.principal, asked.address)
        except LedgerSyncError as error:
            self.crashed = error
            return
        except FilemillError as error:
            answer = replies.Refused(type(error).__name__, error.message, error.help)
        with contextlib.suppress(ConnectionError):
            writer.write(pack(Answered(asked.number, answer)))
            await writer.drain()

    def _spawn(self, theirs: socket.socket) -> subprocess.Popen[bytes]:
        descriptors = (theirs.fileno(), self._door.socket.fileno())
        environment = environment_for(os.environ, None, self._secrets())
        return subprocess.Popen(
            [sys.executable, "-m", "filemill.web", *map(str, (*descriptors, os.getpid()))],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=descriptors,
            env=environment,
            start_new_session=True,
        )

    async def _reap(self, process: subprocess.Popen[bytes]) -> int:
        try:
            return await asyncio.to_thread(process.wait, GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
            return await asyncio.to_thread(process.wait)


def opening_of(plan: Plan, sources: Mapping[str, SourceSettings]) -> Opening:
    """What the child goes by under this plan."""
    kinds = {each.name: each for each in plan.sources if each.kind == "http"}
    return Opening(
        data=plan.data,
        host=plan.web.host,
        port=plan.web.port,
        hosts=plan.web.hosts,
        behind_proxy=plan.web.behind_proxy,
        revision=plan.revision,
        tls=plan.web.tls,
        limits=plan.web.limits,
        proxies=plan.web.proxies,
        oidc=plan.web.oidc,
        sessions=plan.web.sessions,
        entrances=tuple(
            Entrance(
                name,
                str(source.options["http"]),
                sources[name].max_size or 0,
                sources[name].types,
            )
            for name, source in kinds.items()
        ),
        pipelines=tuple(each.name for each in plan.pipelines),
        sources=tuple(Named(each.name, each.kind) for each in plan.sources),
        sinks=tuple(Named(each.name, each.kind) for each in plan.sinks),
        reserve=plan.reserve,
        sync=plan.durability == "power",
        recipients=plan.encryption.recipients if plan.encryption is not None else (),
    )


def _holder_of(port: int) -> str:
    """`pid 4121 (filemill run)`: who listens on a port; empty where it cannot be told."""
    inodes: set[str] = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError), open(table, encoding="ascii") as file:
            rows = [line.split() for line in file.readlines()[1:]]
            inodes |= {
                f"socket:[{row[9]}]"
                for row in rows
                if row[3] == "0A" and int(row[1].rpartition(":")[2], 16) == port
            }
    for pid in filter(str.isdecimal, os.listdir("/proc") if inodes else ()):
        with contextlib.suppress(OSError):  # another user's, or gone
            folder = f"/proc/{pid}/fd"
            if any(os.readlink(f"{folder}/{each}") in inodes for each in os.listdir(folder)):
                with open(f"/proc/{pid}/cmdline", "rb") as file:
                    words = file.read().rstrip(b"\0").split(b"\0")
                said = " ".join(os.path.basename(os.fsdecode(word)) for word in words[:4])
                return f"pid {pid} ({printable(said)})"
    return ""
