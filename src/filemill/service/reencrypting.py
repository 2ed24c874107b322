"""One content after the other, decrypted and encrypted anew in one stream, never whole in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import BinaryIO

import msgspec

from filemill.contents.local import LocalContent
from filemill.encryption.age import Opener, key_in, sealed_name
from filemill.encryption.piping import through
from filemill.model.errors import FilemillError

GROUP = 64
"""Contents that share a sync and a commit."""
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
                    _anew(content, opener, source, new)
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


def _anew(content: LocalContent, opener: Opener, source: BinaryIO, new: str) -> None:
    """Decrypt and encrypt; nothing of it counts if either fails."""

    def pour(out: BinaryIO) -> None:
        opener.stream(source, out, ours=False)

    through(pour, lambda plain: content.copy(plain, new))
