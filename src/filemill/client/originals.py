"""`Originals` over HTTP: content of a server, copied to this machine while it is looked at."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO, cast

from filemill.client.address import Address
from filemill.client.connection import Connection
from filemill.encryption.age import key_in
from filemill.model.errors import SystemFault
from filemill.service.originals import Originals

if TYPE_CHECKING:
    from filemill.queries import FileHistory, RunHistory

_MEMORY = "/dev/shm"  # noqa: S108 -- files without a name, or with one that nobody guesses


class RemoteOriginals(Originals):
    """Content of a server, as far as the key may see it. `history` is the file of which it is asked what is kept."""

    def __init__(self, address: Address, history: FileHistory | None = None) -> None:
        super().__init__("")
        self._address = address
        self._file = history

    def kept(self, reference: str) -> bool:
        """Say whether the bytes are still there."""
        return bool(reference) and (self._file is None or self._file.freed_ns is None)

    def open(self, reference: str) -> BinaryIO:
        """The bytes, from their beginning, in a copy that nothing is left of when it is closed.

        Raises:
            FilemillError: as `piece`.
            SystemFault: there is no room for the copy.
        """
        copy = tempfile.TemporaryFile(  # noqa: SIM115 -- the caller's
            prefix="filemill-", dir=self.scratch(reference)
        )
        try:
            self._fetch(f"/files/{_owner(reference)}/content", copy)
        except BaseException:
            copy.close()
            raise
        return cast("BinaryIO", copy)

    @contextlib.contextmanager
    def input(self, run: RunHistory) -> Iterator[tuple[BinaryIO, int]]:
        """What is kept of a run, as `Originals.input`; raises as `open`."""
        from filemill.service.kept_inputs import opened  # noqa: PLC0415 -- loads Polars

        scratch = self.scratch(run.input or "")
        with tempfile.NamedTemporaryFile(prefix="filemill-", dir=scratch) as copy:
            self._fetch(f"/runs/{run.summary.run}/input", cast("BinaryIO", copy))
            with opened(os.fsencode(copy.name), scratch) as given:
                yield given

    def scratch(self, reference: str) -> str | None:
        """In memory for what the server keeps encrypted, if this machine has such a place."""
        return _MEMORY if key_in(reference) and os.path.isdir(_MEMORY) else None

    def _fetch(self, path: str, copy: BinaryIO) -> None:
        try:
            with Connection(self._address) as connection:
                connection.fetch(path, copy)
            copy.flush()
        except OSError as error:
            raise SystemFault(
                f"a copy of it cannot be kept here: {error.strerror or error}",
                help="make room, or let TMPDIR name a folder that has some",
            ) from error

    def piece(self, reference: str, start: int, end: int, limit: int) -> bytes:
        """The bytes from `start` to `end`, at most `limit` of them.

        Raises:
            FilemillError: they are gone, or this key may not read content.
        """
        size = max(0, min(end - start, limit))
        if not size:
            return b""
        with Connection(self._address) as connection:
            return connection.piece(f"/files/{_owner(reference)}/content", start, size)


def _owner(reference: str) -> str:
    """The file that a reference of content is of."""
    return os.path.basename(reference).partition(".")[0]
