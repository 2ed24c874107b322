"""One content after the other, decrypted and encrypted anew in one stream, never whole in memory."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from typing import BinaryIO

import msgspec

from filemill.contents.local import LocalContent
from filemill.encryption.age import Opener, key_in, sealed_name
from filemill.model.errors import FilemillError

GROUP = 64
"""Contents that share a sync and a commit."""
_PIECE = 1 << 20
Told = Callable[[str, int, int], None]
"""(what, how many are done, of how many)."""


class Resealed(msgspec.Struct, frozen=True):
    """What became of it."""

    contents: int
    texts: int
    failed: tuple[tuple[str, str], ...] = ()
    """(reference, why) of what stays as it was."""


def encrypt_anew(
    content: LocalContent, opener: Opener, references: Sequence[str]
) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """(old, new) of those that are written anew, not yet durable; and (reference, why) of those that stay.

    What is gone meanwhile is neither.
    """
    moves, wrong = [], []
    for old in references:
        key = key_in(old)
        new = sealed_name(old.removesuffix(sealed_name("", key)) if key else old, content.key)
        content.delete([new])
        try:
            with open(content.path(old), "rb") as source:
                if key:
                    _through(content, opener, source, new)
                else:
                    content.copy(source, new)
        except FileNotFoundError:
            content.delete([new])
        except FilemillError as error:
            content.delete([new])
            wrong.append((old, error.message))
        else:
            moves.append((old, new))
    return moves, wrong


def _through(content: LocalContent, opener: Opener, source: BinaryIO, new: str) -> None:
    """Decrypt into one end of a pipe, encrypt what comes out of the other; nothing of it counts if either fails."""
    outlet, inlet = os.pipe2(os.O_CLOEXEC)
    trouble: list[BaseException] = []

    def open_it() -> None:
        try:
            with open(inlet, "wb", _PIECE) as out:
                opener.stream(source, out, ours=False)
        except BaseException as error:  # noqa: BLE001 -- it belongs to who waits
            trouble.append(error)

    opening = threading.Thread(target=open_it)
    opening.start()
    try:
        with open(outlet, "rb", _PIECE) as plain:
            content.copy(plain, new)
    finally:
        opening.join()
    if trouble:
        raise trouble[0]
