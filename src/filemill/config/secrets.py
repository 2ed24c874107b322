"""Secrets: `{secret: NAME}` in place of any option's value, resolved after parsing, shown nowhere.

NAME is an environment variable, or NAME_FILE one that names a file with the value (as containers mount them;
one line ending at its end is not part of it).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from filemill.config.positions import List, Map, Node, Place, Text
from filemill.config.problems import Problems

MASK = "***"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


def secret_name(node: Node) -> str | None:
    """The NAME of a `{secret: NAME}`; None of anything else."""
    if isinstance(node, Map) and list(node.entries) == ["secret"]:
        value = node.entries["secret"].value
        if isinstance(value, Text) and _NAME.match(value.text):
            return value.text
    return None


def secret_names(node: Node) -> set[str]:
    """The NAMEs of all `{secret: NAME}` in a tree."""
    name = secret_name(node)
    if name is not None:
        return {name}
    if isinstance(node, List):
        return {each for item in node.items for each in secret_names(item)}
    if isinstance(node, Map):
        return {each for entry in node.entries.values() for each in secret_names(entry.value)}
    return set()


class Secrets:
    """Reads secrets out of an environment; what was read is kept out of every message."""

    def __init__(self, environ: Mapping[str, str], problems: Problems) -> None:
        self._environ = environ
        self._problems = problems

    def resolved(self, node: Node) -> Any:
        """The tree as dicts, lists and texts, with the values of secrets in their places."""
        name = secret_name(node)
        if name is not None:
            return self._value(name, node.place)
        if isinstance(node, Text):
            return None if node.empty else node.text
        if isinstance(node, List):
            return [self.resolved(item) for item in node.items]
        return {key: self.resolved(entry.value) for key, entry in node.entries.items()}

    def _value(self, name: str, place: Place) -> str:
        value = self._environ.get(name)
        path = self._environ.get(f"{name}_FILE")
        if value is None and path is not None:
            try:
                with open(path, encoding="utf-8") as file:
                    value = file.read().removesuffix("\n").removesuffix("\r")
            except (OSError, UnicodeDecodeError) as error:
                why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
                message = f"secret `{name}`: {path} cannot be read: {why}"
                self._problems.error("secret-missing", message, place, f"mend {name}_FILE")
                self._problems.shadow(place)
                return ""
        if value and not _is_text(value):
            self._problems.error("secret-missing", f"secret `{name}` is not UTF-8", place)
            self._problems.shadow(place)
            return ""
        if not value:
            message = f"secret `{name}` is {'not set' if value is None else 'empty'}"
            advice = f"set {name}, or {name}_FILE to a file that holds it"
            self._problems.error("secret-missing", message, place, advice)
            self._problems.shadow(place)
            return ""
        if value not in self._problems.hidden:
            self._problems.hidden.append(value)
        return value


def _is_text(value: str) -> bool:
    """Say whether a value of the environment is UTF-8 and has no NUL; other bytes stand in it as surrogates."""
    return "\0" not in value and not any("\ud800" <= character <= "\udfff" for character in value)


def masked(node: Node) -> Any:
    """The tree as dicts, lists and texts, with every secret masked."""
    if secret_name(node) is not None:
        return MASK
    if isinstance(node, Text):
        return None if node.empty else node.text
    if isinstance(node, List):
        return [masked(item) for item in node.items]
    return {key: masked(entry.value) for key, entry in node.entries.items()}
