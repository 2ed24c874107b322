"""`filemill upload`: send files to a server, here or elsewhere, so that none is lost and none comes twice."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from filemill.cli.application import command
from filemill.cli.failing import FAILED, INTERRUPTED, OK
from filemill.cli.progress import progress
from filemill.cli.reading import STYLES, is_span, short, span
from filemill.cli.session import Session
from filemill.model.errors import Busy, FilemillError, UsageError
from filemill.model.tags import TagSyntaxError, check_tag
from filemill.telemetry.wording import plural, printable, size

if TYPE_CHECKING:
    from filemill.client.address import Address
    from filemill.client.outcomes import Outcome
    from filemill.client.sending import Sending

_PATIENCE = "5m"


@command(
    "upload",
    epilog="Examples: filemill upload *.csv --tag partner:acme --wait · "
    "filemill upload big.jsonl --url https://files.example.org --key-file acme.key",
)
def upload(
    session: Session,
    paths: Annotated[
        list[str], typer.Argument(metavar="PATH...", help="Files.", show_default=False)
    ],
    *,
    source: Annotated[
        str, typer.Option("--source", metavar="SOURCE", help="The http source they are for.")
    ] = "",
    tag: Annotated[
        list[str] | None,
        typer.Option("--tag", "-t", help="A tag beside those of the source; may come again."),
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="End when their runs end, and say what came of them.")
    ] = False,
    timeout: Annotated[
        str | None,
        typer.Option(
            "--timeout", metavar="SPAN", help="With --wait: no longer (30s); also `--wait 30s`."
        ),
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Send them as new files, though they were sent before.")
    ] = False,
    patience: Annotated[
        str,
        typer.Option(
            "--patience", metavar="SPAN", help="Give up when nothing gets on for so long."
        ),
    ] = _PATIENCE,
) -> int:
    """Send files; each is acknowledged when it is on the server's disk and in its ledger.

    The same command again, after whatever ended the first one, takes no file twice, and goes on with large ones.
    """
    from filemill.client.connection import Connection
    from filemill.client.files import look_at
    from filemill.client.parcels import entrance_of
    from filemill.client.sending import Sending

    timeout = _wait_of(paths) if wait and timeout is None else timeout
    limit = span(timeout) if timeout else None
    persist = span(patience) if patience != "0" else 0.0
    tags = [_checked(each) for each in tag or ()]
    files = look_at([os.fsencode(path) for path in paths])
    address = session.upload_address()
    with Connection(address) as connection:
        entrance = entrance_of(connection, source)
    stopped: FilemillError | KeyboardInterrupt | None = None
    total = sum(each.size for each in files)
    with progress(session, "sending", total=total, unit="byte") as counted:
        sending = Sending(
            address, entrance, files,
            tags=tags, again=again, patience=persist, counted=counted, tell=_teller(session),
        )  # fmt: skip
        try:
            asyncio.run(sending.send())
        except (FilemillError, KeyboardInterrupt) as error:
            stopped = error
    if wait and stopped is None:
        stopped = _await_ends(session, sending, limit)
    return _close(session, address, sending.outcomes, stopped, wait=wait)


def _wait_of(paths: list[str]) -> str | None:
    """The `30s` of `--wait 30s`, taken out of the words; it is a length of time, and no file."""
    for word in paths:
        if is_span(word) and not os.path.lexists(word):
            paths.remove(word)
            return word
    return None


def _checked(tag: str) -> str:
    try:
        check_tag(tag)
    except TagSyntaxError as error:
        raise UsageError(f"`{tag}` is no tag: {error}", help="such as partner:acme") from error
    return tag


def _teller(session: Session) -> Any:
    def tell(words: str) -> None:
        if not session.quiet:
            session.output.say(printable(words))

    return tell


def _await_ends(
    session: Session, sending: Sending, limit: float | None
) -> FilemillError | KeyboardInterrupt | None:
    taken = sum(each.receipt is not None for each in sending.outcomes)
    with progress(session, "waiting for", total=taken) as step:
        try:
            asyncio.run(sending.await_ends(limit, step))
        except (FilemillError, KeyboardInterrupt) as error:
            return error
    return None


def _close(
    session: Session,
    address: Address,
    outcomes: list[Outcome],
    stopped: FilemillError | KeyboardInterrupt | None,
    *,
    wait: bool,
) -> int:
    """Say what became of each, what was wrong, and what is left; answer with the exit code."""
    output = session.output
    taken = [each for each in outcomes if each.receipt is not None]
    failed = [each for each in outcomes if each.error is not None]
    left = len(outcomes) - len(taken) - len(failed)
    if output.json:
        output.document(
            "filemill.upload/1",
            files=[_taken_shape(address, each) for each in taken],
            failed=[_failed_shape(each) for each in failed],
            left=left,
        )
    elif taken:
        _table(session, taken, wait=wait)
    for each in failed:
        if each.error is not None:
            output.say(f"error: {printable(each.file.path)}: {printable(each.error.message)}")
            if each.error.help:
                output.say(f"help: {printable(each.error.help)}")
    if not output.json and not session.quiet:
        much = size(sum(each.file.size for each in taken))
        lost = f", {len(failed):,} not taken" if failed else ""
        output.say(f"sent {plural(len(taken), 'file')}, {much}{lost}")
    if left:
        output.say(
            f"stopped with {plural(left, 'file')} left: the same command again goes on with them, and takes none twice"
        )
    return _code(taken, failed, stopped, wait=wait)


def _code(
    taken: list[Outcome],
    failed: list[Outcome],
    stopped: FilemillError | KeyboardInterrupt | None,
    *,
    wait: bool,
) -> int:
    from filemill.client.outcomes import ENDS

    if isinstance(stopped, KeyboardInterrupt):
        return INTERRUPTED
    if stopped is not None:
        raise stopped
    if failed or any(each.state in ENDS - {"done"} for each in taken):
        return FAILED
    running = [each for each in taken if wait and each.state != "done"]
    if running:
        first = running[0].receipt
        which = f" {short(first.id)}" if first is not None else ""
        raise Busy(
            f"{plural(len(running), 'file')} not at an end in time",
            help=f"nothing is lost: filemill files show{which}",
        )
    return OK


def _table(session: Session, taken: list[Outcome], *, wait: bool) -> None:
    rows = []
    for each in taken:
        receipt = each.receipt
        if receipt is None:
            continue
        how = "taken" if receipt.fresh else "taken before"
        what = _came_of(each) if wait else ""
        rows.append(
            (
                short(receipt.id),
                printable(each.file.name),
                size(each.file.size),
                each.state or how,
                what,
            )
        )
    heads = ("ID", "NAME", "SIZE", "STATE", "WHAT") if wait else ("ID", "NAME", "SIZE", "STATE")
    session.output.table(
        heads,
        [row[: len(heads)] for row in rows],
        right=(2,),
        styles=lambda row: {3: STYLES.get(row[3], "dim")},
    )


def _came_of(each: Outcome) -> str:
    """Its outputs, or why it has none."""
    runs: list[dict[str, Any]] = each.ended.get("runs") or []
    outputs = [output for run in runs for output in run["outputs"]]
    errors = [run["error"]["message"] for run in runs if run.get("error")]
    if outputs and not errors:
        return printable("  ".join(str(each["path"] or each["name"]) for each in outputs))
    said = "; ".join(map(str, errors)) or str(each.ended.get("reason") or "")
    return printable(said.replace("\n", " "))


def _taken_shape(address: Address, each: Outcome) -> dict[str, Any]:
    from filemill.service.shapes import name_of, path_text

    receipt = each.receipt
    identity = receipt.id if receipt is not None else ""
    shape: dict[str, Any] = {
        "path": path_text(each.file.path),
        "id": identity,
        "url": f"{address.url}/files/{identity}",
        **name_of(each.file.name),
        "size": each.file.size,
        "sha256": each.digest.hex(),
        "fresh": receipt is not None and receipt.fresh,
    }
    return shape | {
        key: each.ended[key] for key in ("state", "reason", "runs") if key in each.ended
    }


def _failed_shape(each: Outcome) -> dict[str, Any]:
    from filemill.service.shapes import name_of, path_text

    error = each.error
    return {
        "path": path_text(each.file.path),
        **name_of(each.file.name),
        "message": error.message if error is not None else "",
        "help": error.help if error is not None else "",
    }
