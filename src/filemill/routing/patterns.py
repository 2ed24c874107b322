r"""Regular expressions over content, in time linear in the content whatever the pattern or the file.

Files come from strangers, so a pattern may never be able to run away: Python's `re` backtracks and cannot be
interrupted. These run on the engine that Polars brings along (Rust's `regex`: finite automata, no backtracking,
compiled size bounded), which refuses what cannot be linear: look-around and back references.

`^` and `$` match at line edges, `\r\n` counting as one, as people who grep expect. `(?s)`, `(?i)` and the like
stand in the pattern itself. Bytes that are no UTF-8 are seen as U+FFFD.
"""

from __future__ import annotations

from collections.abc import Sequence

from filemill.model.errors import UsageError

CONTENT = 1 << 20
"""Bytes of a file that a content pattern sees: its first MiB."""
_FLAGS = "(?mR)"
_INSTEAD = "a second rule key, or a tagger"


def check_pattern(pattern: str) -> None:
    """Compile a content pattern; for a worker, since it loads Polars.

    Raises:
        UsageError: it does not compile, with the engine's own words and, where there is one, a way out.
    """
    check_regex(pattern, what="content pattern", flags=_FLAGS, instead=_INSTEAD)


def check_regex(
    pattern: str,
    *,
    what: str = "pattern",
    flags: str = "",
    instead: str = "a function of your own",
) -> None:
    """Compile a regular expression of Rust's syntax; for a worker, since it loads Polars.

    `instead` is what else there is for one that needs look-around.

    Raises:
        UsageError: as `check_pattern`.
    """
    import polars as pl  # noqa: PLC0415 -- workers only

    try:
        pl.Series([""]).str.contains(flags + pattern)
    except pl.exceptions.PolarsError as error:
        lines = str(error).splitlines()
        reason = next(
            (line.removeprefix("error: ") for line in lines if line.startswith("error: ")),
            lines[0].removeprefix("regex error: "),
        )
        raise UsageError(f"{what} `{pattern}`: {reason}", help=_help_for(reason, instead)) from None


def contains(pattern: str, texts: Sequence[str]) -> list[bool]:
    """Say for each text whether the (checked) pattern is found in it: one call for a group of files."""
    import polars as pl  # noqa: PLC0415 -- workers only

    found = pl.Series(texts, dtype=pl.String).str.contains(_FLAGS + pattern)
    return [bool(each) for each in found.to_list()]


def _help_for(reason: str, instead: str) -> str:
    if "look-around" in reason or "backreference" in reason:
        return f"use {instead}, for what look-around or a back reference would do"
    if "size limit" in reason:
        return "lower the counted repetitions (`{...}`)"
    return "the syntax is that of Rust's regex crate"
