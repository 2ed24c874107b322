"""Who opens encrypted content for downloads: neither the server nor the process that speaks HTTP, but one between them.

That one (`encryption/handing_out.py`) is begun with the first download, and has the identity from here. The web child
asks for one content at a time; it gets a ticket with which it reads these bytes and no others.
"""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import socket
import subprocess
import sys
from collections.abc import Callable, Collection

from filemill.encryption.age import key_of
from filemill.encryption.handing_out import Setup, Ticket, read_ready, receive, send
from filemill.engine.spawning import environment_for
from filemill.intake.uploaded import FOLDER, staged_name
from filemill.model.deeds import Deed
from filemill.model.errors import SystemFault, UsageError
from filemill.model.plan import EncryptionPlan
from filemill.ports.clock import Clock, is_id
from filemill.ports.content import INPUT
from filemill.ports.ledger import Ledger
from filemill.service import acts, replies
from filemill.service.encrypting import identity_of

_REFERENCE = re.compile(
    rf"[a-z2-7]{{5}}/([a-z2-7]{{13}})(?:\.[0-9]+{re.escape(INPUT)})?\.[0-9a-f]{{8}}\.age\Z"
)
"""Of a file, or of what is kept of a run."""
_PATIENCE = 20.0
_GRACE = 2.0


class HandingOut:
    """Gives tickets, for content and for uploads in parts of this data directory. In one event loop; `stop` once."""

    def __init__(
        self,
        encryption: EncryptionPlan | None,
        data: bytes,
        ledger: Ledger,
        clock: Clock,
        secrets_of: Callable[[], Collection[str]],
    ) -> None:
        """`secrets_of` names the secrets in our environment: that process has the identity by its channel alone."""
        self._encryption = encryption
        self._secrets = secrets_of
        self._data = data
        self._ledger = ledger
        self._clock = clock
        self._lock = asyncio.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None
        self._address = b""

    async def hand_out(self, act: acts.HandOut, principal: str) -> replies.HandedOut:
        """A ticket for one content; that it was opened, and for whom, is in the audit first.

        Raises:
            UsageError: it is no encrypted content.
            SystemFault: it cannot be opened, or the ledger cannot be written.
        """
        if self._encryption is None:
            raise UsageError("nothing is encrypted here")
        file, path = self._found(act, key_of(self._encryption.recipients))
        ticket = secrets.token_bytes(32)
        deed = Deed(principal, self._clock.wall_ns())
        await self._ledger.note("decrypt", [file], "{}", deed)
        async with self._lock:
            for attempt in range(2):
                try:
                    await self._admit(self._encryption, Ticket(ticket, path))
                    break
                except OSError as error:
                    await self._end()
                    if attempt:
                        raise SystemFault(
                            f"content cannot be opened: {error}", help="ask again later"
                        ) from error
        return replies.HandedOut(self._address, ticket)

    def _found(self, act: acts.HandOut, key: str) -> tuple[str, bytes]:
        """The file's id, and where its bytes are."""
        if is_id(act.upload):
            return act.upload, b"/".join((self._data, FOLDER, staged_name(act.upload, key)))
        match = _REFERENCE.match(act.content)
        if match is None:
            raise UsageError("this is no encrypted content")
        return match[1], b"/".join((self._data, b"content", act.content.encode("ascii")))

    async def stop(self) -> None:
        """End it. Idempotent."""
        async with self._lock:
            await self._end()

    async def _admit(self, encryption: EncryptionPlan, ticket: Ticket) -> None:
        if self._channel is None:
            await self._begin(encryption)
        assert self._channel is not None, "it is begun"  # noqa: S101
        await asyncio.to_thread(_told, self._channel, ticket)

    async def _begin(self, encryption: EncryptionPlan) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        ours.settimeout(_PATIENCE)
        self._channel = ours
        try:
            self._process = _spawned(theirs, self._secrets())
        finally:
            theirs.close()
        setup = Setup(identity_of(encryption), key_of(encryption.recipients))
        self._address = await asyncio.to_thread(_set_up, ours, setup)

    async def _end(self) -> None:
        channel, self._channel = self._channel, None
        process, self._process = self._process, None
        if channel is not None:
            channel.close()
        if process is not None:
            try:
                await asyncio.to_thread(process.wait, _GRACE)
            except subprocess.TimeoutExpired:
                process.kill()
                await asyncio.to_thread(process.wait)


def _spawned(theirs: socket.socket, names: Collection[str]) -> subprocess.Popen[bytes]:
    """The process, which ends when the thread that calls this does; of secrets with these names it sees none."""
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "filemill.encryption.handing_out",
            str(theirs.fileno()),
            str(os.getpid()),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        pass_fds=(theirs.fileno(),),
        env=environment_for(os.environ, (), names),
        start_new_session=True,
    )


def _set_up(channel: socket.socket, setup: Setup) -> bytes:
    send(channel, setup)
    return read_ready(receive(channel))


def _told(channel: socket.socket, ticket: Ticket) -> None:
    send(channel, ticket)
    if channel.recv(1) != b"\0":
        raise ConnectionError("the process that opens content has ended")
