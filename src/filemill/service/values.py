"""Values as they are, for a command line that reads over HTTP.

They are exact to the nanosecond and the byte, where the JSON of `shapes` is for programs, and stays as it is.

Both ends know the types, so nothing of them is sent but their fields. It is no format for others: it changes with the
types.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from filemill.model.errors import SystemFault

MEDIA = "application/vnd.filemill.values"
"""The media type of such an answer; who wants one asks for it by `Accept`."""
STREAM = f"text/event-stream; of={MEDIA}"
"""The media type of events whose data are values, in base64."""
NOW = ": now"
"""The line of such a stream behind the last of what was before."""
GAP = ": gap"
"""The line in place of what lies between, where that is too much."""
T = TypeVar("T")
_ENCODER = msgspec.msgpack.Encoder()


def pack(value: msgspec.Struct) -> bytes:
    """The value as bytes."""
    return _ENCODER.encode(value)


def unpack(body: bytes, kind: type[T]) -> T:
    """The value of that type which these bytes are.

    Raises:
        SystemFault: they are none: the other end is of another version.
    """
    try:
        return msgspec.msgpack.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise SystemFault(
            f"the server's answer cannot be read: {error}",
            help="command and server are of different versions; with curl the server can be asked all the same",
        ) from error
