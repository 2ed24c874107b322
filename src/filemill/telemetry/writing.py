"""Writing lines from a thread of their own, so that a slow reader never holds up a file."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TextIO, TypeVar

from filemill.telemetry.wording import plural

_ROOM = 50_000
"""Items kept for a stream that stands still: some ten seconds of full load, about 20 MB."""
_BREATH = 0.02
"""Seconds between two rounds of writing: short to the eye, long enough to write many lines at once."""

_ROUND = 1_000
"""Items rendered before they are written: bounds what waits outside the queue."""

Item = TypeVar("Item")


class LineWriter(Generic[Item]):
    """Turns items into lines and writes them, in order. `put` never blocks and never raises.

    A terminal can stand still (Ctrl-S) and a pipe can fill up: what does not fit into the queue then is
    counted and said later. Once the stream is gone (a closed pipe) everything is dropped
    silently. `render` and `idle` run in the writing thread only; `idle` is called about a second after the
    last item while `waiting` says that it has something to add, and once at the end.
    """

    def __init__(
        self,
        stream: TextIO,
        render: Callable[[Item], Sequence[str]],
        *,
        waiting: Callable[[], bool] = lambda: False,
        idle: Callable[[], Sequence[str]] = lambda: (),
        room: int = _ROOM,
    ) -> None:
        self._stream = stream
        self._encoding = getattr(stream, "encoding", None) or "utf-8"
        self._render = render
        self._waiting = waiting
        self._idle = idle
        self._room = room
        self._queue: deque[Item | str] = deque()
        self._left_out = 0
        self._wake = threading.Event()
        self._ending = threading.Event()
        self._gone = False
        self._thread = threading.Thread(target=self._run, name="lines", daemon=True)
        self._thread.start()

    def put(self, item: Item | str) -> None:
        """Take one item, or a line ready to be written, from any thread."""
        if self._gone:
            return
        if len(self._queue) >= self._room:
            self._left_out += 1
            return
        self._queue.append(item)
        if not self._wake.is_set():
            self._wake.set()

    @property
    def gone(self) -> bool:
        """True once the stream cannot be written any more: nobody reads it."""
        return self._gone

    def close(self, seconds: float = 1.0) -> None:
        """Write what is left, for at most so long, and end. Idempotent."""
        self._ending.set()
        self._wake.set()
        self._thread.join(seconds)

    def _run(self) -> None:
        while True:
            woken = self._wake.wait(1.0 if self._waiting() else None)
            self._wake.clear()
            ending = self._ending.is_set()
            while lines := self._render_some():
                if not self._write(lines):
                    return
            if (ending or not woken) and (lines := list(self._idle())) and not self._write(lines):
                return
            if ending:
                return
            self._ending.wait(_BREATH)

    def _render_some(self) -> list[str]:
        """The lines of what is queued, up to a round that has any; empty when nothing is left."""
        lines: list[str] = []
        while self._queue and len(lines) < _ROUND:
            item = self._queue.popleft()
            if isinstance(item, str):
                lines.append(item)
            else:
                lines.extend(self._render(item))
        if self._left_out:
            lines.append(
                f"... {plural(self._left_out, 'event')} left out while this stream stood still"
            )
            self._left_out = 0
        return lines

    def _write(self, lines: Sequence[str]) -> bool:
        text = "\n".join(lines) + "\n"
        try:
            self._stream.write(
                text.encode(self._encoding, "backslashreplace").decode(self._encoding)
            )
            self._stream.flush()
        except (OSError, ValueError):  # closed pipe, closed stream: nobody reads any more
            self._gone = True
            self._queue.clear()
            return False
        return True
