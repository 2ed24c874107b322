r"""Events as JSON, one object a line, for whatever reads logs."""

from __future__ import annotations

from typing import Any, TextIO

import msgspec

from filemill.model import events as e
from filemill.telemetry.wording import harmless_json, utc
from filemill.telemetry.writing import LineWriter


class JsonLog:
    """Prints every event as one line of JSON. Calling it never blocks and never raises."""

    def __init__(self, stream: TextIO) -> None:
        encode = msgspec.json.Encoder().encode
        self._writer: LineWriter[e.Event] = LineWriter(
            stream, lambda event: (harmless_json(encode(as_json(event)).decode()),)
        )

    def __call__(self, event: e.Event) -> None:
        """Take one event, from any thread."""
        self._writer.put(event)

    @property
    def gone(self) -> bool:
        """True once nobody reads its stream any more."""
        return self._writer.gone

    def close(self, seconds: float = 1.0) -> None:
        """Write what is left, for at most so long, and end. Idempotent."""
        self._writer.close(seconds)


def as_json(event: e.Event) -> dict[str, Any]:
    r"""The event as builtins: `event` is its name, `at` its time (RFC 3339, UTC), then its own fields.

    Names are text; bytes that are no UTF-8 appear as `\xff`. Times and lengths keep the unit in their name.
    """
    fields = {
        name: _plain(value)
        for name, value in msgspec.structs.asdict(event).items()
        if name != "at_ns"
    }
    return {"event": type(event).__name__, "at": utc(event.at_ns), **fields}


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return value
