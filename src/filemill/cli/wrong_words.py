"""What was wrong with the words of a command line, in our own words, and what was probably meant."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Any

from filemill.telemetry.wording import printable

_COMMAND = re.compile(r"No such command '(.*?)'\.")


def worded(error: Any) -> tuple[str, str]:
    """The mistake in one line, and the word that was probably meant, or an empty text.

    `error` is one of the command line library's, with its context.
    """
    context = getattr(error, "ctx", None)
    said = str(error.format_message()).strip().replace("Value error, ", "")
    if option := getattr(error, "option_name", ""):
        if type(error).__name__ == "NoSuchOption":
            return f"no option `{printable(option)}`", meant(option, _options(context))
    elif (found := _COMMAND.match(said)) and context is not None:
        names = context.command.list_commands(context)
        return f"no command `{printable(found[1])}`", meant(found[1], names)
    # The library sets choices below each other; an error is one line.
    said = re.sub(r"\.? Choose from:\s*", ": ", said)
    said = re.sub(r"\s*\n\s*", " ", said).removesuffix(".")
    return f"{said[:1].lower()}{said[1:]}", ""


def meant(word: str, known: Iterable[str]) -> str:
    """The one of the known words that is closest to this one, if any is close."""
    near = difflib.get_close_matches(word, list(known), 1, 0.6)
    return near[0] if near else ""


def _options(context: Any) -> list[str]:
    if context is None:
        return []
    return [name for each in context.command.params for name in (*each.opts, *each.secondary_opts)]
