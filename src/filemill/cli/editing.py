"""`filemill dead edit|resubmit`: a mended copy becomes a child file; the original is never changed."""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable
from functools import partial
from typing import Annotated

import typer

from filemill.cli.application import command
from filemill.cli.dead import dead
from filemill.cli.doing import ReasonOption, YesOption
from filemill.cli.failing import FAILED, OK
from filemill.cli.files import find
from filemill.cli.handing_over import Mended, hand_over
from filemill.cli.letters import dead_runs
from filemill.cli.reading import open_ledger, originals_of, short
from filemill.cli.session import Session
from filemill.model.errors import FilemillError, NotFound, UsageError
from filemill.queries import FileHistory
from filemill.service.copying import safe_name
from filemill.service.exporting import BAD_MARK, bad_records, form_of
from filemill.service.originals import pieces, why_not_alone
from filemill.telemetry.wording import plural, printable

_PEEK = 8192
WithOption = Annotated[
    str | None,
    typer.Option("--with", metavar="FILE", help="The mended file; no editor is opened."),
]
AgainOption = Annotated[
    bool, typer.Option("--again", help="Though the bad records were sent before.")
]
IdArgument = Annotated[
    str, typer.Argument(metavar="ID", help="A file or run: any unique prefix, or its name.")
]


@command(
    "edit",
    dead,
    epilog="Examples: filemill dead edit 3fk2 · filemill dead edit 3fk2 --with mended.csv",
)
def edit(
    session: Session,
    which: IdArgument,
    *,
    mended: WithOption = None,
    records: Annotated[
        bool, typer.Option("--records", help="Only the bad records; as `dead resubmit`.")
    ] = False,
    reason: ReasonOption = "",
    yes: YesOption = False,
) -> int:
    """Mend a copy of a dead file in $VISUAL or $EDITOR: it becomes a child file, and the dead runs are given up.

    The child has the same name and its source's tags; other tags and pipelines follow from what is in it.
    """
    if records:
        return _resubmit(session, which, mended=mended, again=False, reason=reason, yes=yes)
    history = _history(session, which)
    runs = dead_runs(history)
    if not runs:
        raise _not_dead(history)
    _say_delivered(history, yes=yes)
    originals = originals_of(session, history)
    with originals.open(history.content) as source:
        head = os.pread(source.fileno(), _PEEK, 0)
        if mended is None and _is_binary(head):
            raise UsageError(
                f"{printable(history.summary.name)} is no text",
                help=f"mend a copy elsewhere: filemill dead export {which}, then --with FILE",
            )
        name = safe_name(history.summary.relative, history.summary.file)
        scratch = originals.scratch(history.content)
        made = _edited(session, name, pieces(source), mended, scratch)
    if made is None:
        return OK
    try:
        sent = Mended(history, runs, made.read, again=False, beside=yes, reason=reason)
        return _send(session, sent, made)
    finally:
        made.close()


@command(
    "resubmit",
    dead,
    epilog="Examples: filemill dead resubmit 3fk2 · filemill dead resubmit 3fk2 --with mended.csv",
)
def resubmit(
    session: Session,
    which: IdArgument,
    *,
    mended: WithOption = None,
    again: AgainOption = False,
    reason: ReasonOption = "",
    yes: YesOption = False,
) -> int:
    """Mend bad records only. Of a file that is done they go alone; of a dead one they go back into a copy of it.

    The mended file has the input's format, with its header, as `dead export --records` writes it.
    """
    return _resubmit(session, which, mended=mended, again=again, reason=reason, yes=yes)


def _resubmit(
    session: Session, which: str, *, mended: str | None, again: bool, reason: str, yes: bool
) -> int:
    history = _history(session, which)
    dead_ones = dead_runs(history, which)
    done = [r for r in history.runs if r.summary.state == "done" and r.summary.bad]
    named = [r for r in done if r.summary.run.startswith(which.lower())]
    run = next(iter([r for r in dead_ones if r.bad] or named or done), None)
    if run is None:
        raise NotFound(
            f"{short(history.summary.file)} has no bad records",
            help=f"filemill files show {short(history.summary.file)}",
        )
    is_dead = run.summary.state == "dead"
    if run.summary.mended and not is_dead and not again:
        raise UsageError(
            f"its bad records were sent before, as {short(run.summary.mended)}",
            help=f"filemill files show {short(run.summary.mended)}; --again sends them once more",
        )
    form = form_of(run)
    why = why_not_alone(run.bad, form)
    if not why and is_dead and run.summary.bad > len(run.bad):
        why = f"only the first {len(run.bad):,} of {run.summary.bad:,} bad records are known one by one"
    if why or form is None:
        raise UsageError(
            why, help=f"mend the whole file: filemill dead edit {short(run.summary.run)}"
        )
    if is_dead:
        _say_delivered(history, yes=yes)
    originals = originals_of(session, history)
    with originals.open(history.content) as source:
        name = safe_name(history.summary.relative, run.summary.run, BAD_MARK)
        scratch = originals.scratch(history.content)
        made = _edited(session, name, bad_records(source, run), mended, scratch)
    if made is None:
        return OK
    try:
        content: Callable[[], Iterable[bytes]] = made.read
        if is_dead:
            from filemill.service.mending import spliced

            whole = b"".join(made.read())
            content = partial(spliced, originals, history.content, run.bad, form, whole)
        runs = dead_runs(history) if is_dead else [run]
        sent = Mended(history, runs, content, again=again, beside=yes, reason=reason)
        return _send(session, sent, made)
    finally:
        made.close()


class _Made:
    """A mended file: where it lies, and what has to go with it once it is sent."""

    def __init__(self, path: str, folder: str = "") -> None:
        self.path = path
        self.sent = False
        self._folder = folder

    def read(self) -> Iterable[bytes]:
        """Its bytes."""
        try:
            with open(self.path, "rb") as file:
                yield from pieces(file)
        except OSError as error:
            raise UsageError(f"{self.path} cannot be read: {error.strerror}") from error

    def close(self) -> None:
        """Remove the copy that was edited, unless nobody took it: it is somebody's work."""
        if self._folder and self.sent:
            shutil.rmtree(self._folder, ignore_errors=True)  # with what the editor left beside it


def _history(session: Session, which: str) -> FileHistory:
    with open_ledger(session) as queries:
        return find(queries, which)


def _not_dead(history: FileHistory) -> NotFound:
    identity = short(history.summary.file)
    return NotFound(
        f"{identity} is not dead, it is {history.summary.state}",
        help=f"filemill files show {identity}",
    )


def _say_delivered(history: FileHistory, *, yes: bool) -> None:
    """Refuse to make outputs twice by surprise: the child goes to every pipeline that wants it.

    Raises:
        UsageError: a sink holds something of the file.
    """
    if not history.delivered or yes:
        return
    sinks = ", ".join(dict.fromkeys(each.sink for each in history.delivered))
    raise UsageError(
        f"{sinks} already hold{'s' if ',' not in sinks else ''} output of this file; a mended copy would be published "
        "there again, beside it",
        help="`filemill dead redrive` publishes only what is missing; --yes does it all the same",
    )


def _is_binary(head: bytes) -> bool:
    if b"\0" in head:
        return True
    try:
        head.decode()
    except UnicodeDecodeError as error:
        return (
            error.start < len(head) - 4
        )  # a character may be cut at the end of what was looked at
    return False


def _edited(
    session: Session, name: str, content: Iterable[bytes], mended: str | None, scratch: str | None
) -> _Made | None:
    """The mended file; None when nothing was changed. `scratch` is where a copy may lie that is edited.

    Raises:
        UsageError: there is no editor, it failed, or `mended` is no file.
    """
    if mended is not None:
        if not os.path.isfile(mended):
            raise UsageError(f"no file {printable(mended)}")
        return _Made(mended)
    words = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or "")
    if not words:
        raise UsageError(
            "no editor is set", help="set VISUAL or EDITOR, or name the mended file: --with FILE"
        )
    folder = tempfile.mkdtemp(prefix="filemill-edit-", dir=scratch)
    path = os.path.join(folder, name)
    digest = hashlib.sha256()
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
        for piece in content:
            digest.update(piece)
            out.write(piece)
    made = _Made(path, folder)
    try:
        ended = subprocess.run([*words, path], check=False).returncode
    except OSError as error:
        made.sent = True
        made.close()
        raise UsageError(
            f"the editor `{printable(words[0])}` cannot be started: {error.strerror}",
            help="set VISUAL or EDITOR to one that can",
        ) from error
    if ended:
        raise UsageError(
            f"the editor ended with {ended}; nothing is sent", help=f"the copy is kept: {path}"
        )
    after = hashlib.sha256()
    for piece in made.read():
        after.update(piece)
    if after.digest() == digest.digest():
        made.sent = True
        made.close()
        session.output.say("unchanged: nothing is done")
        return None
    return made


def _send(session: Session, mended: Mended, made: _Made) -> int:
    """Have the mended file taken in; says what became of it."""
    history = mended.of
    try:
        taken = hand_over(session, mended)
    except FilemillError as error:  # somebody's work: whatever it is, they are told where it lies
        raise type(error)(
            f"{error.message}; the mended copy is kept: {made.path}", help=error.help
        ) from error
    moved = bool(taken.child)
    made.sent = moved
    given_up = [r.summary.run for r in mended.runs if moved and r.summary.state == "dead"]
    output = session.output
    if output.json:
        output.document(
            "filemill.edit/1",
            file=history.summary.file,
            child=taken.child or None,
            discarded=given_up,
            live=taken.live,
        )
    elif moved:
        when = "" if taken.live else "; no server runs: at the next start"
        ended = f", {plural(len(given_up), 'dead run')} given up" if given_up else ""
        output.print(f"sent as {short(taken.child)}{ended}{when}")
    if moved:
        return OK
    output.say(
        f"{short(history.summary.file)} has moved on meanwhile, nothing is sent: "
        f"filemill files show {short(history.summary.file)}; the mended copy is kept: {made.path}"
    )
    return FAILED
