"""Signs and colours of what people read, where their terminal can show them."""

from __future__ import annotations

import msgspec

_STYLES = {"good": "32", "bad": "31", "wait": "33", "dim": "2", "strong": "1", "help": "36"}


class Marks(msgspec.Struct, frozen=True):
    """The signs in front of a line, one column each."""

    done: str = "v"
    dead: str = "x"
    held: str = "="
    again: str = "~"
    note: str = "!"


ASCII = Marks()
UNICODE = Marks(done="✓", dead="✗", held="‖", again="↻")


def marks_for(encoding: str | None) -> Marks:
    """The drawn signs where `encoding` has them, else letters."""
    try:
        "✓✗‖↻".encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return ASCII
    return UNICODE


class Paint:
    """Colours text for a terminal, or leaves it alone."""

    def __init__(self, on: bool) -> None:
        self.on = on

    def __call__(self, style: str, text: str) -> str:
        """`text` in a style of the theme: good, bad, wait, dim, strong, help."""
        return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if self.on and text else text
