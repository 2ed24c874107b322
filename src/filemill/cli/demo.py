"""`filemill demo`: a few files through the product, and what becomes of each, for who sees it the first time.

In a project as `filemill init` makes it the files go into its inbox, to the server that runs there or to one that is
started for the time of the demo. Where there is no project, one is made in a temporary folder and left there to look
around in. In any other project it refuses: its files would go through pipelines that are for real.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from filemill.cli.application import command
from filemill.cli.configuring import load_config
from filemill.cli.failing import FAILED, OK
from filemill.cli.output import wants_color
from filemill.cli.session import Session
from filemill.model.errors import SystemFault, UsageError
from filemill.telemetry.console import Console
from filemill.telemetry.jsonlog import JsonLog
from filemill.telemetry.wording import printable

if TYPE_CHECKING:
    from filemill.model.events import Event
    from filemill.model.plan import Plan
    from filemill.queries import Queries

_PATIENCE = 90.0
"""Seconds that a server gets to start, and the files to come to their end."""
_LOOK_EVERY = 0.1
_ENDS = {"done": 4, "dead": 1, "held": 1}
"""What the files below come to in the project that `filemill init` makes."""


def _orders(first: int, amounts: list[str]) -> str:
    lines = [f"A-{first + i},Berg & Tal,{amount}" for i, amount in enumerate(amounts)]
    return "\n".join(["order_id,customer,amount", *lines, ""])


_FILES = (
    ("demo-1.csv", _orders(100, ["119.50", "42.25", "310"]), "three orders"),
    ("demo-2.csv", _orders(200, ["1840", "2310.90", "12"]), "two of its orders are big, and go to review"),
    ("demo-notes.txt", "call Hafen Nord back\n", "no pipeline wants it"),
    ("demo-3.csv", _orders(300, ["0", "15", "0"]), "two of its orders are filtered out"),
    ("demo-broken.csv", _orders(400, ["10", "ten", "10"]), "`ten` is no number, and one of three is too many"),
    ("demo-4.csv", _orders(500, [*["7.50"] * 199, "x"]), "one bad record of 200 is within its tolerance of 1%"),
)  # fmt: skip
"""Name, content, and what is said of it."""


@command("demo", epilog="Example: filemill init first && cd first && filemill demo")
def demo(
    session: Session,
    *,
    pause: Annotated[
        float, typer.Option("--pause", min=0, max=60, help="Seconds between two files.")
    ] = 1.0,
) -> int:
    """Drop six files into a fresh project's inbox, one bad and one unrouted, and show what becomes of them."""
    session = _in_project(session)
    plan = load_config(session, trusting=True).plan
    inbox = _inbox(plan)
    with _server(session, plan):
        from filemill.cli.reading import open_ledger

        with open_ledger(session) as queries:
            ends = _drop_and_follow(session, queries, inbox, pause)
    return _tell(session, plan, ends)


def _in_project(session: Session) -> Session:
    """The session of the project here; without one, of one that is made in a temporary folder."""
    try:
        session.config()
    except UsageError:
        if session.named:
            raise
    else:
        return session
    from filemill.cli.init import Template, make

    root = os.path.join(tempfile.mkdtemp(prefix="filemill-demo-"), "demo")
    make(root, Template.CSV)
    if not session.output.json:
        session.output.say(f"no project here: a fresh one is in {root}")
    return Session(
        config=os.path.join(root, "filemill.yaml"),
        quiet=session.quiet,
        verbose=session.verbose,
        output=session.output,
        color=session.color,
        environ={k: v for k, v in session.environ.items() if k != "FILEMILL_DATA_DIR"},
    )


def _inbox(plan: Plan) -> str:
    """The inbox of a project as `filemill init` makes it.

    Raises:
        UsageError: this is none.
    """
    source = next((s for s in plan.sources if (s.name, s.kind) == ("inbox", "folder")), None)
    pipelines = [each.name for each in plan.pipelines]
    if (
        source is None
        or pipelines != ["orders"]
        or {s.name for s in plan.sinks} != {"orders", "review"}
    ):
        raise UsageError(
            "this project is not the one that `filemill init` makes; the demo's files would go through your pipelines",
            help="filemill init first && cd first && filemill demo, or filemill demo in an empty folder",
        )
    return str(source.options["folder"])


@contextlib.contextmanager
def _server(session: Session, plan: Plan) -> Iterator[None]:
    """The server that runs on this data, else one for as long as this lasts.

    Raises:
        SystemFault: it does not start.
    """
    from filemill.service.reading import server_of

    if server_of(plan.data) is not None:
        yield
        return
    if not session.output.json and not session.quiet:
        session.output.say("no server runs here: one is started for the demo (filemill run)")
    command_ = [sys.executable, "-m", "filemill", "-q", "-c", session.config(), "run", "--no-web"]
    with tempfile.TemporaryFile() as said:
        server = subprocess.Popen(
            command_, stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True,
            env=dict(session.environ),
        )  # fmt: skip
        try:
            deadline = time.monotonic() + _PATIENCE
            while not os.path.exists(os.path.join(plan.data, "control.sock")):
                if server.poll() is not None or time.monotonic() > deadline:
                    said.seek(0)
                    raise SystemFault(
                        f"the server does not start: {printable(said.read().decode(errors='replace'))}",
                        help="filemill run says why",
                    )
                time.sleep(_LOOK_EVERY)
            yield
        finally:
            if server.poll() is None:
                server.send_signal(signal.SIGINT)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    server.wait(30)
            if server.poll() is None:
                server.kill()
                server.wait()


def _drop_and_follow(
    session: Session, queries: Queries, inbox: str, pause: float
) -> dict[str, str]:
    """Drop the files one by one, print what happens to them, until each is at an end: name -> state."""
    following = queries.follow()
    output = session.output
    log: Console | JsonLog = JsonLog(sys.stdout) if output.json else Console(
        sys.stdout, color=wants_color(session.color, sys.stdout), quiet=session.quiet
    )  # fmt: skip
    ends: dict[str, str] = {}
    left = list(_FILES)
    now = time.monotonic()
    next_at, deadline = now, now + _PATIENCE + pause * len(left)
    try:
        while len(ends) < len(_FILES):
            if left and time.monotonic() >= next_at:
                name, text, about = left.pop(0)
                _drop(inbox, name, text)
                if isinstance(log, Console) and not session.quiet:
                    log.say(
                        f"{output.paint('dim', '         +')} {name}  {output.paint('dim', about)}"
                    )
                next_at = time.monotonic() + pause
            for event in following.news():
                if _note(event, ends):
                    log(event)
            if time.monotonic() > deadline:
                raise SystemFault(
                    f"{len(_FILES) - len(ends)} files have not come to an end",
                    help="filemill status and filemill tail show what happens to them",
                )
            time.sleep(_LOOK_EVERY)
    finally:
        log.close(5.0)
    return ends


def _drop(inbox: str, name: str, text: str) -> None:
    """As every careful writer does: under a hidden name, then renamed in, whole at once."""
    from filemill.durable import Durable, Failpoints

    durable = Durable(Failpoints("demo"), sync=False)
    hidden, path = os.path.join(inbox, f".{name}"), os.path.join(inbox, name)
    try:
        with open(hidden, "w", encoding="utf-8") as file:
            file.write(text)
        durable.rename(os.fsencode(hidden), os.fsencode(path))
    except OSError as error:
        raise UsageError(f"{printable(path)} cannot be dropped: {error.strerror}") from error


def _note(event: Event, ends: dict[str, str]) -> bool:
    """Remember where one of our files ended; whether the event is about one of them and worth a line."""
    name = getattr(event, "relative", b"").decode(errors="replace")
    kind = type(event).__name__
    if name not in {each for each, _, _ in _FILES} or kind == "FileIngested":
        return False
    state = {
        "RunFinished": "done",
        "FileHeld": "held",
        "RunHeld": "held",
        "FileRejected": "rejected",
    }
    end = state.get(kind) or str(getattr(event, "state", ""))
    if end and end != "retrying":
        ends[name] = end
    return True


def _tell(session: Session, plan: Plan, ends: dict[str, str]) -> int:
    counts = {state: sum(end == state for end in ends.values()) for state in _ENDS}
    as_meant = counts == _ENDS
    if session.output.json or session.quiet:
        return OK if as_meant else FAILED
    output = session.output
    output.print(
        f"\n{len(ends)} files: {', '.join(f'{many} {state}' for state, many in counts.items())}."
    )
    there = "" if os.getcwd() == plan.root else f"cd {shlex.quote(plan.root)}; "
    output.print(
        f"Look closer:  {there}{'filemill files ls':<26} every file, and what became of it"
    )
    for words, about in (
        ("dead ls", "the bad one, and why"),
        ("held ls", "the one that no pipeline wants"),
        ("graph", "what is wired to what"),
    ):
        output.print(f"              {f'filemill {words}':<26} {about}")
    output.print(f"              {'ls out/orders out/review':<26} the results")
    if not as_meant:
        wanted = ", ".join(f"{many} {state}" for state, many in _ENDS.items())
        output.say(f"in a fresh project it is {wanted}: was this one changed?")
    return OK if as_meant else FAILED
