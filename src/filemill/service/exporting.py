"""Taking dead letters out: originals, or their bad records alone, each with its reason beside it. Changes no ledger."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import BinaryIO

import msgspec

from filemill.durable import Durable, Failpoints
from filemill.model.errors import FilemillError, PermanentError
from filemill.model.runs import RecordForm
from filemill.queries import FileHistory, Queries, RunHistory
from filemill.service.copying import Copies, safe_name
from filemill.service.originals import Originals, alone, pieces, why_not_alone
from filemill.service.reasons import reason_of, text_of

BAD_MARK = ".bad"
"""Stands in the name of a file of bad records: `orders.3fk2abcd.bad.csv`."""
_PAGE = 500


class Exported(msgspec.Struct, frozen=True):
    """What became of one run's export. `name` is that of the copy; `why` says why there is none."""

    file: str
    run: str
    name: str
    records: int = 0
    """Of a file of bad records: how many it holds."""
    missing: int = 0
    """Of a file of bad records: how many more there were, which are not kept in detail."""
    new: bool = True
    """False: it was there already, and was left as it is."""
    why: str = ""


class Exporter:
    """Writes copies into one folder."""

    def __init__(self, queries: Queries, originals: Originals, folder: str) -> None:
        self._queries = queries
        self._originals = originals
        self._copies = Copies(folder, Durable(Failpoints.from_environment("export")))

    def export(self, letters: Sequence[tuple[str, str]], *, records: bool) -> Iterator[Exported]:
        """Export these (file, run) pairs one after the other; with `records` only the bad records of each.

        Raises:
            OSError: the folder cannot be written to; what was exported before stays.
        """
        with self._copies.alone():
            for file, run in letters:
                history = self._queries.file(file)
                found = next(each for each in history.runs if each.summary.run == run)
                yield self._one(history, found, records=records)

    def _one(self, history: FileHistory, run: RunHistory, *, records: bool) -> Exported:
        identity = run.summary.run
        name = safe_name(history.summary.relative, identity, BAD_MARK if records else "")
        about = Exported(history.summary.file, identity, name)
        reason = text_of(reason_of(history, run))
        if self._copies.has(name):
            return msgspec.structs.replace(about, new=False)
        try:
            with self._originals.open(history.content) as source:
                if not records:
                    self._copies.add(name, pieces(source), reason)
                    return about
                self._copies.add(name, bad_records(source, run), reason)
        except FilemillError as error:
            return msgspec.structs.replace(about, why=error.message)
        missing = run.summary.bad - len(run.bad)
        return msgspec.structs.replace(about, records=len(run.bad), missing=max(0, missing))


def bad_records(source: BinaryIO, run: RunHistory) -> Iterator[bytes]:
    """A file of the run's bad records only, in the form that its reader reads.

    Raises:
        PermanentError: they cannot be taken out of the original.
    """
    form = form_of(run)
    why = why_not_alone(run.bad, form)
    if why or form is None:
        raise PermanentError(why, help="export the original instead")
    return alone(source, run.bad, form)


def form_of(run: RunHistory) -> RecordForm | None:
    """How the records of its latest attempt with bad ones stand in the file."""
    return next((each.form for each in reversed(run.attempts) if each.form), None)


def dead_of_group(queries: Queries, fingerprint: str) -> list[tuple[str, str]]:
    """(file, run) of everything dead, or of one group, the latest first."""
    found: list[tuple[str, str]] = []
    cursor: str | None = None
    while True:
        page = queries.dead(fingerprint=fingerprint, limit=_PAGE, cursor=cursor)
        found += [(item.file, item.run.run) for item in page.items]
        cursor = page.next
        if cursor is None:
            return found
