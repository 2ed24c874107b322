"""Pages of a listing: where one ends, and the cursor with which the next begins."""

from __future__ import annotations

import re
from collections.abc import Sequence

from filemill.model.errors import UsageError
from filemill.ports.reading import RunRow

_PLACE = re.compile(r"[0-9]{1,18}")
"""No number that the ledger cannot hold."""


def whole_files(rows: Sequence[RunRow], limit: int) -> tuple[list[RunRow], str | None]:
    """At most `limit` runs, cut between two files where possible, and the cursor of what follows."""
    if len(rows) <= limit:
        return list(rows), None
    page = list(rows[:limit])
    last = rows[limit].file_no
    whole = [run for run in page if run.file_no != last]
    page = whole or page
    return page, str(page[-1].file_no)


def place_of(cursor: str | None) -> int | None:
    """The place in the ledger that a cursor speaks of.

    Raises:
        UsageError: it is none.
    """
    if cursor is None:
        return None
    if not _PLACE.fullmatch(cursor):
        raise UsageError(f"`{cursor}` is not a cursor", help="use `next` of the page before")
    return int(cursor)
