"""What commands that change something share: the question before, pieces at a rate, the wait, and the last line.

A bulk command keeps nothing in the server: it asks for a piece at a time. Ctrl-C stops it between two pieces, and the
same command again goes on with what is left, because what moved is no longer where it looks.
"""

from __future__ import annotations

import contextlib
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from filemill.cli.failing import FAILED, INTERRUPTED, OK
from filemill.cli.progress import progress
from filemill.cli.reaching import ask
from filemill.cli.reading import open_ledger, short
from filemill.cli.session import Session
from filemill.model.errors import UsageError
from filemill.telemetry.wording import plural, printable

if TYPE_CHECKING:
    from types import FrameType

    from filemill.queries.choosing import Target
    from filemill.service.acts import Request

ReasonOption = Annotated[
    str, typer.Option("--reason", help="Why; it is kept in the audit.", show_default=False)
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
RateOption = Annotated[
    str | None,
    typer.Option("--rate", metavar="N/s", help="No more than so many in a second (10/s, 30/m)."),
]
RevisionOption = Annotated[
    str,
    typer.Option(
        "--revision", metavar="current|old|N", help="The configuration that it runs with."
    ),
]
_RATE = re.compile(r"(\d+(?:\.\d+)?)\s*/\s*(s|m|h)\Z")
_EACH = {"s": 1.0, "m": 60.0, "h": 3600.0}
_SHOWN = 10
_LOOK_EVERY = 0.2


class Result:
    """What became of each target."""

    def __init__(self) -> None:
        self.moved: list[Target] = []
        self.skipped: list[Target] = []
        self.live = True
        self.stopped = 0
        """How many were not asked for, because of Ctrl-C."""


def per_second(rate: str | None) -> float | None:
    """A rate as a number per second; None for None.

    Raises:
        UsageError: it is no rate.
    """
    if rate is None:
        return None
    match = _RATE.match(rate.strip())
    if match is None or float(match[1]) <= 0:
        raise UsageError(f"`{rate}` is not a rate", help="such as 10/s, 30/m or 500/h")
    return float(match[1]) / _EACH[match[2]]


def one_of_both(words: Sequence[str], everything: bool, narrowed: bool) -> None:
    """Refuse a bulk command that names nothing, or both some and all.

    Raises:
        UsageError: with what to write.
    """
    if words and everything:
        raise UsageError("ids or --all, not both")
    if not words and not everything and not narrowed:
        raise UsageError("nothing is named", help="give ids or groups, or --all for everything")


def agreed(
    session: Session,
    verb: str,
    targets: Sequence[Target],
    *,
    yes: bool,
    dry_run: bool,
    named: bool,
    unit: str = "run",
) -> bool:
    """Say what a command is about to do, and ask; False when it must not go on.

    Single runs that were named by their ids are not asked about.

    Raises:
        UsageError: nobody is there to be asked.
    """
    output = session.output
    if not targets:
        if not output.json:
            output.say(f"nothing to {verb}")
        return False
    if dry_run:
        _tell(session, f"would {verb}", targets, unit)
        return False
    if yes or (named and len(targets) == 1):
        return True
    _tell(session, f"{verb}:", targets, unit)
    if not sys.stdin.isatty():
        raise UsageError(
            f"{plural(len(targets), unit)} to {verb}, and nobody to ask", help="add --yes"
        )
    return typer.confirm(f"{verb} {plural(len(targets), unit)}?", err=True)


def perform(
    session: Session,
    targets: Sequence[Target],
    act: Callable[[Sequence[Target]], Request],
    doing: str,
    *,
    rate: float | None = None,
    unit: str = "run",
) -> Result:
    """Have it done, piece by piece, no faster than `rate` a second; `doing` is what progress calls it.

    After Ctrl-C the result says how many are left.

    Raises:
        FilemillError: as the server says; what was done before stays done.
    """
    from filemill.service.acts import MOST

    result = Result()
    piece = MOST if rate is None else max(1, min(MOST, int(rate)))
    with progress(session, doing, total=len(targets), unit=unit) as step, _between() as stopped:
        for first in range(0, len(targets), piece):
            began = time.monotonic()
            group = targets[first : first + piece]
            done = ask(session, act(group))
            result.live = done.live
            for target, moved in zip(group, done.moved, strict=True):
                (result.moved if moved else result.skipped).append(target)
            step(len(group))
            if first + piece < len(targets):
                left = 0.0 if rate is None else len(group) / rate - (time.monotonic() - began)
                if stopped.wait(max(0.0, left)):
                    result.stopped = len(targets) - first - piece
                    break
    return result


@contextlib.contextmanager
def _between() -> Iterator[threading.Event]:
    """Ctrl-C only sets this meanwhile: a piece under way is waited for. A second one ends the command."""
    stopped = threading.Event()

    def stop(signal_: int, frame: FrameType | None) -> None:
        if stopped.is_set():
            signal.default_int_handler(signal_, frame)
        stopped.set()

    former = signal.signal(signal.SIGINT, stop)
    try:
        yield stopped
    finally:
        signal.signal(signal.SIGINT, former)


def ended(session: Session, runs: Sequence[str]) -> dict[str, str]:
    """Wait until these runs are at an end; answers with the state of each. Ctrl-C ends the waiting."""
    live = {"queued", "running", "publishing", "retrying"}
    with open_ledger(session) as queries:
        while True:
            states = {run: state for run, (state, _) in queries.run_states(runs).items()}
            if not live & set(states.values()):
                return states
            time.sleep(_LOOK_EVERY)


def close(
    session: Session,
    schema: str,
    verb: str,
    result: Result,
    *,
    left: str = "the same command again goes on with them",
    unit: str = "run",
    **more: object,
) -> int:
    """The last words: JSON, or a line; the exit code says whether everything moved, or that Ctrl-C came first.

    `left` says how to go on with what Ctrl-C left.
    """
    output = session.output
    code = INTERRUPTED if result.stopped else FAILED if result.skipped else OK
    if output.json:
        output.document(
            schema,
            live=result.live,
            left=result.stopped,
            items=[_item(target, moved=True) for target in result.moved]
            + [_item(target, moved=False) for target in result.skipped],
            **more,
        )
        return code
    for target in result.skipped[:_SHOWN]:
        output.say(
            f"{short(target.file)} {printable(target.name)} has moved on meanwhile: "
            f"filemill files show {short(target.file)}"
        )
    when = "" if result.live or not result.moved else "; no server runs: at the next start"
    if not session.quiet:
        skipped = f", {len(result.skipped):,} had moved on" if result.skipped else ""
        output.print(f"{verb} {plural(len(result.moved), unit)}{skipped}{when}")
    if result.stopped:
        output.say(f"stopped with {plural(result.stopped, unit)} left: {left}")
    return code


def _item(target: Target, *, moved: bool) -> dict[str, object]:
    return {
        "file": target.file,
        "name": target.name,
        "run": target.run or None,
        "pipeline": target.pipeline or None,
        "moved": moved,
    }


def _tell(session: Session, what: str, targets: Sequence[Target], unit: str) -> None:
    output = session.output
    if output.json:
        output.document(
            "filemill.plan/1", what=what, items=[_item(target, moved=False) for target in targets]
        )
        return
    output.say(f"{what} {plural(len(targets), unit)}")
    for target in targets[:_SHOWN]:
        where = f"  {target.pipeline} > {target.step}" if target.pipeline else ""
        output.say(f"  {short(target.file)}  {printable(target.name)}{where}")
    if len(targets) > _SHOWN:
        output.say(f"  ... and {len(targets) - _SHOWN:,} more")
