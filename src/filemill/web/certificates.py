"""TLS of a running server: new connections get the certificates that the files hold now, without a restart.

Files that changed are read as a whole into another context; one that they do not make leaves the old one in use.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Any

from filemill.config.certificates import server_context, state_of_files
from filemill.model.errors import UsageError
from filemill.model.plan import TlsPlan

INTERVAL = 2.0
"""Seconds between looks at the files. They must be the same at two looks: a renewal writes them one by one."""


class Certificates:
    """The context in use. `note` tells the person at the server."""

    def __init__(self, tls: TlsPlan, note: Callable[[str, str], None]) -> None:
        """Read the files.

        Raises:
            UsageError: they are no certificate and its key.
        """
        self._tls = tls
        self._note = note
        self._taken = self._seen = state_of_files(tls)
        self._now = self._first = server_context(tls)
        # Called for every handshake, whether or not the client names a host.
        self._first.sni_callback = self._choose

    def context(self, *_: Any) -> ssl.SSLContext:
        """What to listen with: it hands each connection on to the context of the moment."""
        return self._first

    async def watch(self) -> None:
        """Take files that change, until cancelled."""
        while True:
            await asyncio.sleep(INTERVAL)
            await self.look()

    async def look(self) -> None:
        """Take the files if they changed and stay as they are."""
        before, self._seen = self._seen, await asyncio.to_thread(state_of_files, self._tls)
        if self._seen != before or self._seen == self._taken:
            return
        self._taken = self._seen
        try:
            self._now = await asyncio.to_thread(server_context, self._tls)
        except UsageError as error:
            self._note(f"the certificate in use is kept: {error.message}", error.help)
        else:
            self._note("the certificate was renewed", "")

    def _choose(self, connection: ssl.SSLSocket | ssl.SSLObject, *_: Any) -> None:
        connection.context = self._now
