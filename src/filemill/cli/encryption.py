"""`filemill encryption`: make an identity, and see for whom content is encrypted and what is needed to read it."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from filemill.cli.application import FAILED, OK, command, group
from filemill.cli.configuring import load_config
from filemill.cli.progress import Stages
from filemill.cli.session import Session
from filemill.model.errors import UsageError
from filemill.telemetry.wording import plural, printable

encryption = group("encryption")


@command("init", encryption, epilog="Example: filemill encryption init filemill.key")
def init(
    session: Session,
    path: Annotated[
        str, typer.Argument(metavar="FILE", help="Where the identity goes; it must not exist.")
    ] = "filemill.key",
) -> None:
    """Make an identity in a file of its own (0600), and print its recipient. Keep a copy: without it nothing opens."""
    from filemill.encryption.age import make_identity

    identity, recipient = make_identity()
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        with os.fdopen(os.open(path, flags, 0o600), "w", encoding="ascii") as out:
            out.write(f"# public key: {recipient}\n{identity}\n")
            out.flush()
            os.fsync(out.fileno())  # noqa: TID251 -- a file of the person's own, nothing of the engine's
    except FileExistsError:
        raise UsageError(
            f"{printable(path)} is there already",
            help="an identity is never overwritten: name another file",
        ) from None
    except OSError as error:
        raise UsageError(f"{printable(path)} cannot be made: {error.strerror}") from error
    output = session.output
    if output.json:
        output.document("filemill.encryption-init/1", identity=path, recipient=recipient)
        return
    output.print(recipient)
    output.say(
        f"\nThe identity is in {printable(path)} (0600). Keep a copy of it elsewhere: without it nothing that\n"
        "is encrypted can be read. In the configuration:\n\n"
        f"  encryption:\n    recipients: [{recipient}]\n    identity: {printable(path)}"
    )


@command("rotate", encryption, epilog="Example: filemill encryption rotate")
def rotate(session: Session) -> int:
    """Encrypt anew, for the recipients that the configuration names now, all that is kept; beside a server, or without.

    The identity file must have what opens it so far, too. It may be stopped at any time, and goes on the next time.
    """
    from filemill.service.resealing import rotate as reseal

    plan = load_config(session, deep=False).plan
    with Stages(session) as stages:
        done = reseal(plan, lambda what, at, of: stages("encrypting", what, at, of))
    output = session.output
    if output.json:
        output.document(
            "filemill.encryption-rotate/1",
            contents=done.contents,
            texts=done.texts,
            failed=[{"reference": each, "problem": why} for each, why in done.failed],
        )
    else:
        for reference, why in done.failed:
            output.print(f"content/{printable(reference)}: {printable(why)}")
        output.print(
            f"{plural(done.contents, 'content')} and {plural(done.texts, 'text')} encrypted anew"
        )
    return FAILED if done.failed else OK


@command("status", encryption, epilog="Example: filemill encryption status")
def status(session: Session) -> int:
    """Say for whom content is encrypted, whether the identity opens it, and what is of other keys or plain."""
    from filemill.service.encrypting import look

    plan = load_config(session, deep=False).plan
    seen = look(plan)
    output = session.output
    if output.json:
        output.document(
            "filemill.encryption/1",
            on=seen.on,
            recipients=list(seen.recipients),
            identity=seen.identity,
            ready=not seen.trouble,
            trouble=seen.trouble,
            help=seen.help,
            content={"current": seen.current, "other": seen.other, "plain": seen.plain},
        )
        return FAILED if seen.trouble else OK
    if not seen.on:
        output.print("content is not encrypted: the configuration has no `encryption:`")
        return OK
    for recipient in seen.recipients:
        output.print(f"for       {recipient}")
    output.print(f"identity  {printable(seen.identity)}")
    counts = f"{seen.current} of these recipients"
    counts += f", {seen.other} of former ones" if seen.other else ""
    counts += f", {seen.plain} plain, from before" if seen.plain else ""
    output.print(f"content   {plural(seen.current + seen.other + seen.plain, 'content')}: {counts}")
    if seen.trouble:
        output.print(f"problem   {printable(seen.trouble)}")
        output.say(f"help: {printable(seen.help)}")
        return FAILED
    return OK
