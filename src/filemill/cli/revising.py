"""`filemill config log|diff|rollback`: the configurations that ran, how they differ, and going back to one."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from filemill.cli.application import command
from filemill.cli.config import config
from filemill.cli.configuring import load_config
from filemill.cli.doing import DryRunOption, YesOption
from filemill.cli.failing import FAILED, OK
from filemill.cli.reading import open_ledger
from filemill.cli.session import Session
from filemill.model.errors import PermanentError, UsageError
from filemill.ports.clock import SystemClock
from filemill.telemetry.wording import moment, plural, printable, utc

if TYPE_CHECKING:
    from collections.abc import Iterable

    from filemill.config.stored import Stored
    from filemill.queries import Revision

_DISK = "disk"
_RUNNING = "running"
_MANY = 3
"""Changes that are named in a line of the log."""


@command("log", config, epilog="Example: filemill config log")
def log(session: Session) -> int:
    """List the configurations that ran here, the latest first, and what each changed."""
    from filemill.config.differences import changes

    with open_ledger(session) as queries:
        revisions = queries.revisions()
    texts = {each.number: _stored(each) for each in revisions}
    rows: list[tuple[str, ...]] = []
    items: list[dict[str, object]] = []
    for number, each in enumerate(revisions):
        before = revisions[number + 1] if number + 1 < len(revisions) else None
        old, new = texts.get(before.number) if before else None, texts[each.number]
        words = changes(old, new) if old is not None and new is not None else []
        if before is None:
            words = ["the first"]
        began = each.began[0] if each.began else None
        items.append(
            {
                "revision": each.number,
                "digest": each.digest,
                "current": each.current,
                "in_force": [{"at": utc(at), "how": how} for at, how in each.began],
                "runs": each.runs,
                "changes": words,
            }
        )
        rows.append(
            (
                f"{each.number}{'*' if each.current else ''}",
                moment(began[0]) if began else "never",
                began[1] if began else "-",
                each.digest[:8],
                f"{each.runs:,}",
                _few(words),
            )
        )
    if session.output.json:
        session.output.items("filemill.config-log/1", items)
        return OK
    heads = ("REV", "IN FORCE", "BY", "DIGEST", "RUNS", "CHANGED")
    session.output.table(heads, rows, right=(4,))
    return OK


@command("diff", config, epilog="Example: filemill config diff 11 12")
def diff(
    session: Session,
    *,
    first: Annotated[
        str | None, typer.Argument(metavar="[A]", help="A revision, `running` or `disk`.")
    ] = None,
    second: Annotated[
        str | None, typer.Argument(metavar="[B]", help="The same; default: `running`.")
    ] = None,
) -> int:
    """Show how two revisions differ; without words, how the disk differs from the one that runs."""
    from filemill.config.differences import changes, text_diff

    before = first or _RUNNING
    after = second or (_RUNNING if first not in (None, _RUNNING) else _DISK)
    old, named = _version(session, before)
    new, others = _version(session, after)
    lines = [_safe(session, line) for line in text_diff(old, new, named, others)]
    if session.output.json:
        words = changes(old, new)
        session.output.document(
            "filemill.config-diff/1", a=named, b=others, changes=words, diff=lines
        )
        return OK
    _show(session, lines)
    if not lines and not session.quiet:
        session.output.say(f"{named} and {others} are the same")
    return OK


@command("rollback", config, epilog="Example: filemill config rollback 11")
def rollback(
    session: Session,
    *,
    number: Annotated[int, typer.Argument(metavar="REV", help="A number of `config log`.")],
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    reload: Annotated[
        bool, typer.Option("--reload/--no-reload", help="Have a running server take it.")
    ] = True,
) -> int:
    """Put the files of a revision back in their places, and reload. What they replace is kept."""
    from filemill.config.differences import text_diff
    from filemill.config.restoring import on_disk, restore, steps_to
    from filemill.durable import Durable, Failpoints

    root = os.path.dirname(session.config())
    data = session.data()
    wanted, named = _version(session, str(number))
    steps = steps_to(wanted, root)
    if not steps:
        session.output.say(f"the disk has {named} already")
        return OK
    now = on_disk(wanted, root)
    lines = [_safe(session, line) for line in text_diff(now, wanted, _DISK, named)]
    if not session.output.json:
        _show(session, lines)
    words = [f"{'write' if each.data is not None else 'put aside'} {each.name}" for each in steps]
    if dry_run:
        _said(session, words, None, done=False)
        return OK
    if not yes:
        if not sys.stdin.isatty():
            raise UsageError(
                f"{plural(len(steps), 'file')} to replace, and nobody to ask", help="add --yes"
            )
        if not typer.confirm(f"Replace {plural(len(steps), 'file')} by {named}?", err=True):
            return FAILED
    aside = os.path.join(data, "replaced", utc(SystemClock().wall_ns()).replace(":", ""))
    restore(steps, root, aside, Durable(Failpoints.from_environment("rollback")))
    _said(session, words, aside, done=True)
    return _taken(session, data) if reload else OK


def _taken(session: Session, data: str) -> int:
    from filemill.cli.reloading import tell
    from filemill.service.asking import ask_reload
    from filemill.service.reading import server_of

    if server_of(data) is None:
        if not session.quiet:
            session.output.say("no server runs: the next start takes it")
        return OK
    return tell(session, ask_reload(data, reason="rollback"), document=False)


def _said(session: Session, words: list[str], aside: str | None, *, done: bool) -> None:
    if session.output.json:
        session.output.document("filemill.config-rollback/1", steps=words, done=done, kept=aside)
        return
    if session.quiet:
        return
    for word in words:
        session.output.print(("" if done else "would ") + printable(word))
    if aside is not None and os.path.isdir(aside):
        session.output.print(f"what was there is kept in {printable(aside)}")


def _version(session: Session, word: str) -> tuple[Stored, str]:
    """The revision that a word means, and how it is called.

    Raises:
        UsageError: there is none.
    """
    from filemill.config import ConfigProblems
    from filemill.config.restoring import on_disk
    from filemill.config.stored import read_stored

    if word == _DISK:
        try:
            return read_stored(load_config(session, deep=False).text), _DISK
        except ConfigProblems:
            # What is wrong need not be understood to be shown beside what runs.
            known, _ = _version(session, _RUNNING)
            return on_disk(known, os.path.dirname(session.config())), _DISK
    with open_ledger(session) as queries:
        revisions = queries.revisions()
    if word == _RUNNING:
        chosen = next((each for each in revisions if each.current), None)
    else:
        chosen = next((each for each in revisions if str(each.number) == word), None)
    if chosen is None:
        known_numbers = ", ".join(str(each.number) for each in revisions[:10]) or "none yet"
        raise UsageError(
            f"no revision `{printable(word)}`", help=f"{_RUNNING}, {_DISK}, or: {known_numbers}"
        )
    return read_stored(chosen.text), f"rev {chosen.number}"


def _stored(revision: Revision) -> Stored | None:
    from filemill.config.stored import read_stored

    try:
        return read_stored(revision.text)
    except PermanentError:
        return None


def _few(words: list[str]) -> str:
    shown = ", ".join(map(printable, words[:_MANY]))
    return f"{shown}, {len(words) - _MANY} more" if len(words) > _MANY else shown


def _safe(session: Session, line: str) -> str:
    from filemill.config.restoring import hidden

    return printable(hidden(line.replace("\t", "    "), session.environ))


def _show(session: Session, lines: Iterable[str]) -> None:
    styles = {"+": "good", "-": "bad", "@": "dim"}
    for line in lines:
        style = "strong" if line.startswith(("+++", "---")) else styles.get(line[:1])
        session.output.print(session.output.paint(style, line) if style else line)
