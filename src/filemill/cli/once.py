"""`filemill run --once`: process what is there, tell what became of it, and answer with it."""

from __future__ import annotations

import asyncio
import os
from collections import Counter, deque
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING

from filemill.cli.failing import BUSY, FAILED, OK
from filemill.cli.reading import STYLES, open_ledger, said_of, short
from filemill.cli.session import Session
from filemill.model import events as e
from filemill.model.errors import Busy
from filemill.telemetry.jsonlog import JsonLog
from filemill.telemetry.wording import plural, printable

if TYPE_CHECKING:
    from filemill.config import Loaded
    from filemill.queries import FileSummary, Queries
    from filemill.service.patience import Waiting
    from filemill.service.running import Outcome
    from filemill.telemetry.console import Console

_PAGE = 500
_BAD_SHOWN = 10
_ORDER = ("done", "dead", "held", "rejected", "quarantined", "cancelled", "discarded", "live")
_FAILED = {"dead", "held", "quarantined", "rejected", "live"}


def run_once(
    session: Session,
    loaded: Loaded,
    paths: Sequence[bytes],
    *,
    again: bool,
    log_format: str,
    timeout: float | None = None,
) -> int:
    """Process these files, or all that waits; 0 when every one is done, 1 when one failed, 75 when some wait."""
    from filemill.ports.registry import Registry
    from filemill.service.running import once
    from filemill.service.server import Revision

    log, emit = make_emit(session, log_format)
    revision = Revision(loaded.digest, loaded.text)
    try:
        outcome = asyncio.run(
            once(loaded.plan, revision, Registry(), emit, paths, again=again, patience=timeout)
        )
    except Busy as error:
        advice = "stop it first, or drop the files into a folder that it watches"
        raise Busy(error.message, help=advice) from error
    except KeyboardInterrupt:
        log.close()
        session.output.say("interrupted; what was taken is kept for the next start")
        raise
    finally:
        log.close()
    return finish(session, outcome)


def make_emit(session: Session, log_format: str) -> tuple[Console | JsonLog, e.Emit]:
    """What prints events of a one-shot run, and how it is told them."""
    from filemill.cli.run import make_log

    log = make_log(session, log_format)

    def emit(event: e.Event) -> None:
        # Start and end of the server are no news to who waits for its end.
        if not isinstance(event, e.ServerStarted | e.ServerStopped) or isinstance(log, JsonLog):
            log(event)

    return log, emit


def finish(session: Session, outcome: Outcome) -> int:
    """Tell what became of the files of a one-shot run, and what waits; answers with the exit code."""
    # Like the console, whose words end up in logs: what quotes a file that is encrypted is for `files show`.
    with open_ledger(session, opens=False) as queries:
        known = [file for path in outcome.known if (file := _known(queries, path))]
        ended = _Ended(known, whole=session.output.json)
        for file in _latest(queries, {*outcome.files, *outcome.older}):
            ended.note(file)
        _tell(session, queries, ended)
        waiting = outcome.waiting
        if waiting is not None:
            _say_waiting(session, queries, waiting)
    failed = _FAILED - {"live"} if waiting is not None else _FAILED
    if failed & set(ended.counts):
        return FAILED
    return OK if waiting is None or not waiting.live else BUSY


def _say_waiting(session: Session, queries: Queries, waiting: Waiting) -> None:
    """What was left, on stderr, with the first of it: a scheduler mails that."""
    say = session.output.say
    count = plural(waiting.live, "run waits", "runs wait")
    say(f"{printable(waiting.why)}; {count} and will go on at the next `filemill run`")
    if waiting.help:
        say(f"help: {printable(waiting.help)}")
    live = queries.files(state="live", limit=_BAD_SHOWN).items if waiting.live else ()
    for file in live:
        states = ", ".join(f"{run.pipeline}: {run.state}" for run in file.runs) or "not read yet"
        say(f"  {short(file.file)}  {printable(file.name)}  {states}")
    if waiting.live > len(live) > 0:
        say("  ... all of them: filemill files ls --state live")


class _Ended:
    """What became of files. Of a million no more is held than is told: all of them only if `whole`."""

    def __init__(self, known: list[FileSummary], *, whole: bool) -> None:
        self.known = known
        """Those that came before, unchanged."""
        self.counts = Counter(file.state for file in known)
        """How many are in each state."""
        self._latest: deque[FileSummary] = deque(maxlen=None if whole else 0)
        self._mended: deque[FileSummary] = deque(maxlen=_BAD_SHOWN)

    def note(self, file: FileSummary) -> None:
        """Count one more, which arrived before those that were noted."""
        self.counts[file.state] += 1
        self._latest.append(file)
        if _is_mended(file):
            self._mended.append(file)

    def files(self) -> list[FileSummary]:
        """All of them in the order they arrived, then those known before; only if `whole`."""
        return [*reversed(self._latest), *self.known]

    def mended(self) -> list[FileSummary]:
        """The first of those that are done in spite of bad records."""
        mended = [*reversed(self._mended), *filter(_is_mended, self.known)]
        return mended[:_BAD_SHOWN]


def _is_mended(file: FileSummary) -> bool:
    return file.state == "done" and any(run.bad for run in file.runs)


def _latest(queries: Queries, wanted: Collection[str]) -> Iterator[FileSummary]:
    """The files of these ids, the latest first; they are among the latest of all, so few pages are read."""
    left, cursor = set(wanted), None
    while left:
        page = queries.files(limit=_PAGE, cursor=cursor)
        for file in page.items:
            if file.file in left:
                left.discard(file.file)
                yield file
        cursor = page.next
        if cursor is None:
            break


def _known(queries: Queries, path: bytes) -> FileSummary | None:
    """The file that this path became when it came before, unchanged."""
    real = os.path.realpath(path)
    for file in queries.files(name=os.path.basename(real), limit=_PAGE).items:
        history = queries.file(file.file)
        if b"/" + history.path.lstrip(b"/") == real:
            return history.summary
    return None


def _tell(session: Session, queries: Queries, ended: _Ended) -> None:
    output, known = session.output, ended.known
    counts = {state: ended.counts[state] for state in _ORDER if ended.counts[state]}
    if output.json:
        from filemill.service.shapes import file_row

        items = [file_row(file) for file in ended.files()]
        already = [file.file for file in known]
        output.document("filemill.run/1", items=items, counts=counts, already=already, next=None)
        return
    if session.quiet:
        return
    for file in known[:_BAD_SHOWN]:
        state = f"already {file.state}, unchanged"
        output.print(f"{printable(file.name)}  {state}  (--again processes it once more)")
    if len(known) > _BAD_SHOWN:
        output.print(f"... {len(known) - _BAD_SHOWN:,} more already known, unchanged")
    _list_bad(session, queries, ended.mended())
    shown = ", ".join(
        f"{count:,} {output.paint(STYLES.get(state, 'dim'), state)}"
        for state, count in counts.items()
    )
    total = ended.counts.total()
    output.print(f"{plural(total, 'file')}: {shown}" if total else "nothing to do")


def _list_bad(session: Session, queries: Queries, mended: list[FileSummary]) -> None:
    """Bad records of files that are done all the same, because they are within tolerance."""
    output = session.output
    for file in mended:
        total = sum(run.bad for run in file.runs)
        output.print(f"{printable(file.name)}: {plural(total, 'bad record')}, within tolerance")
        bad = [each for run in queries.file(file.file).runs for each in run.bad]
        for each in bad[:_BAD_SHOWN]:
            said = said_of(each)
            output.print(f"  line {each.line:,}  {each.step}  {said}")
        if total > _BAD_SHOWN:
            more = total - min(len(bad), _BAD_SHOWN)
            output.print(f"  ... {more:,} more: filemill files show {short(file.file)}")
