"""The port of uploads in parts: which there are, and how much of each is safe.

An offset is noted when the bytes before it are synced, never before; so a crash loses what came after it at most.
"""

from __future__ import annotations

from typing import Protocol

from filemill.model.uploads import PartialUpload


class KeepingUploads(Protocol):
    """The part of a ledger that knows uploads in parts."""

    async def open_upload(self, upload: PartialUpload) -> bool:
        """Remember an upload that begins. False: its id, or its principal's key, is known already."""
        ...

    async def note_offset(
        self,
        file: str,
        principal: str,
        *,
        before: int,
        offset: int,
        length: int | None,
        expires_ns: int,
    ) -> bool:
        """Note that an upload's bytes up to `offset` are synced; a length that is known stays.

        False: there is no such upload of that principal, it is taken, or `before` is not where it was.
        """
        ...

    async def end_upload(
        self, file: str, principal: str, *, taken: bool, length: int | None = None
    ) -> bool:
        """Note that it was taken, `length` bytes in all; or forget it. False: that principal has none such open."""
        ...

    async def expire_uploads(self, at_ns: int) -> list[str]:
        """Forget what expired by then, and what was taken and need not be remembered any more; the ids of all."""
        ...

    async def open_uploads(self) -> list[str]:
        """The ids of all that may be gone on with."""
        ...


class ReadingUploads(Protocol):
    """The part of a reading that knows uploads in parts."""

    def upload(self, file: str) -> PartialUpload | None:
        """The upload of this id."""
        ...

    def upload_of_key(self, principal: str, key: str) -> PartialUpload | None:
        """The upload that a principal began under this key."""
        ...
