"""From who writes bytes to who reads them, in one go and never whole in memory: a pipe, and a thread that pours."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import BinaryIO, TypeVar

_PIECE = 1 << 20
_Taken = TypeVar("_Taken")


def through(pour: Callable[[BinaryIO], None], take: Callable[[BinaryIO], _Taken]) -> _Taken:
    """What `take` makes of all that `pour` writes.

    Raises whatever either raises; what `pour` raises counts, as `take` then saw only some of it.
    """
    outlet, inlet = os.pipe2(os.O_CLOEXEC)
    trouble: list[BaseException] = []

    def write() -> None:
        try:
            with open(inlet, "wb", _PIECE) as out:
                pour(out)
        except BaseException as error:  # noqa: BLE001 -- it belongs to who waits
            trouble.append(error)

    pouring = threading.Thread(target=write, name="pour")
    pouring.start()
    try:
        with open(outlet, "rb", _PIECE) as plain:
            taken = take(plain)
    finally:
        pouring.join()
        if trouble and not isinstance(trouble[0], BrokenPipeError):
            raise trouble[0]
    return taken
