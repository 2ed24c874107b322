"""The keys of `order_by:`: files that give the same one are processed one after the other, as they arrived."""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Callable, Collection

from filemill.model.files import FileRef

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_Value = Callable[[FileRef, Collection[str]], str]


class OrderKey:
    """A checked template such as `{tag:partner}`.

    Raises:
        ValueError: an unknown placeholder (with a did-you-mean), a stray brace, or no placeholder at all.
    """

    def __init__(self, template: str) -> None:
        pieces = _PLACEHOLDER.split(template)
        if len(pieces) == 1:
            raise ValueError(f"`{template}` is the same for every file: use one of {KEYS}")
        if any(brace in text for text in pieces[::2] for brace in "{}"):
            raise ValueError("a `{` or `}` without its partner")
        self._literals = pieces[::2]
        self._values = [_value(name) for name in pieces[1::2]]

    def of(self, file: FileRef, tags: Collection[str]) -> str:
        """The key of a file with these tags; empty when none of its placeholders has a value."""
        values = [value(file, tags) for value in self._values]
        if not any(values):
            return ""
        text = [self._literals[0]]
        for value, literal in zip(values, self._literals[1:], strict=True):
            text += (value, literal)
        return "".join(text)


def _value(name: str) -> _Value:
    prefix = name.removeprefix("tag:")
    if prefix != name and prefix:
        return functools.partial(_tag, prefix + ":")
    if name not in _VALUES:
        near = difflib.get_close_matches(name, [*_VALUES, "tag:"], 1)
        hint = f", did you mean `{{{near[0]}}}`?" if near else ""
        raise ValueError(f"no placeholder `{{{name}}}`{hint} There are {KEYS}")
    return _VALUES[name]


def _tag(start: str, _: FileRef, tags: Collection[str]) -> str:
    """What follows `start` in the file's tag; the first in order of several."""
    return min((tag[len(start) :] for tag in tags if tag.startswith(start)), default="")


def _text(name: bytes) -> str:
    return name.decode("utf-8", "backslashreplace")


_VALUES: dict[str, _Value] = {
    "source": lambda file, _: file.source,
    "dir": lambda file, _: _text(file.relative.partition(b"/")[0]) if b"/" in file.relative else "",
    "folder": lambda file, _: _text(file.relative.rpartition(b"/")[0]),
    "name": lambda file, _: _text(file.name),
}
KEYS = ", ".join(f"`{{{name}}}`" for name in (*_VALUES, "tag:X"))
