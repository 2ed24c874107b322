"""`filemill keys`: who may come in over HTTP. A key is shown once, when it is made; the ledger keeps a hash."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from filemill.cli.application import command, group
from filemill.cli.configuring import load_config
from filemill.cli.doing import ReasonOption, YesOption
from filemill.cli.failing import FAILED, OK
from filemill.cli.reaching import ask
from filemill.cli.reading import open_ledger, span
from filemill.cli.session import Session
from filemill.cli.wrong_words import meant
from filemill.model.access import ROLES, Right
from filemill.model.errors import NotFound, UsageError
from filemill.model.keys import IN_FORCE
from filemill.ports.clock import SystemClock
from filemill.service.access_shapes import key_row
from filemill.telemetry.wording import age, plural, printable, utc

if TYPE_CHECKING:
    from collections.abc import Sequence

    from filemill.model.keys import StoredKey
    from filemill.service.acts import CreateKey
    from filemill.service.replies import KeyMade

keys = group("keys")
_URL = "http://127.0.0.1:8600"


@command(
    "create",
    keys,
    epilog="Example: filemill keys create acme --role uploader --source inbox --expires 90d",
)
def create(
    session: Session,
    name: Annotated[str, typer.Argument(help="Whose it is; the audit calls it key:NAME.")],
    *,
    role: Annotated[
        list[str] | None,
        typer.Option("--role", metavar="ROLE", help=f"What it may do: {', '.join(ROLES)}."),
    ] = None,
    source: Annotated[
        list[str] | None,
        typer.Option("--source", metavar="SOURCE", help="Only files of this source."),
    ] = None,
    pipeline: Annotated[
        list[str] | None,
        typer.Option("--pipeline", metavar="PIPELINE", help="Only files of this pipeline."),
    ] = None,
    expires: Annotated[
        str | None, typer.Option("--expires", metavar="SPAN", help="Good for 12h, 90d...")
    ] = None,
    reason: ReasonOption = "",
) -> int:
    """Make a key and print it, this once. Several --role, --source, --pipeline add up."""
    from filemill.service.acts import CreateKey

    roles, sources, pipelines = (tuple(each or ()) for each in (role, source, pipeline))
    _known("role", roles, list(ROLES))
    if (sources or pipelines) and session.address() is None:
        plan = load_config(session, trusting=True).plan
        _known("source", sources, [each.name for each in plan.sources])
        _known("pipeline", pipelines, [each.name for each in plan.pipelines])
    now = SystemClock().wall_ns()
    expires_ns = None if expires is None else now + int(span(expires) * 1e9)
    act = CreateKey(
        name=name,
        roles=roles,
        sources=sources,
        pipelines=pipelines,
        expires_ns=expires_ns,
        reason=reason,
    )
    made = _made(session, act)
    output = session.output
    if output.json:
        output.document(
            "filemill.key/1",
            key=made.key,
            id=made.id,
            name=name,
            roles=list(roles),
            sources=list(sources),
            pipelines=list(pipelines),
            expires_at=utc(expires_ns or 0) or None,
        )
        return OK
    output.print(made.key)
    if not session.quiet:
        until = f", until {utc(expires_ns)}" if expires_ns else ""
        output.say(f"key {made.id} of {name}: {', '.join(roles)}{until}. It is not shown again.")
        output.say(f"help: {_use(roles, address.url if (address := session.address()) else _URL)}")
    return OK


@command("ls", keys, epilog="Example: filemill keys ls")
def ls(session: Session) -> None:
    """List keys: whose they are, what they may do, when they were used last. Never a key itself."""
    with open_ledger(session) as queries:
        found = queries.keys()
    now = SystemClock().wall_ns()
    output = session.output
    if output.json:
        output.items("filemill.keys/1", [key_row(key, now) for key in found], None)
        return
    if not found:
        output.say("no key has been made")
        output.say("help: filemill keys create NAME --role uploader")
        return
    output.table(
        ("ID", "NAME", "STATE", "ROLES", "ONLY", "USED", "EXPIRES", "BY"),
        [
            (
                key.id,
                printable(key.name),
                key.state(now),
                ",".join(key.roles),
                ",".join(key.sources + key.pipelines) or "-",
                f"{age(now - key.used_ns)} ago" if key.used_ns else "never",
                utc(key.expires_ns)[:10] if key.expires_ns else "never",
                printable(key.created_by),
            )
            for key in found
        ],
        styles=lambda row: {2: "good" if row[2] == IN_FORCE else "dim"},
    )


@command("revoke", keys, epilog="Example: filemill keys revoke acme --reason 'contract ended'")
def revoke(
    session: Session,
    which: Annotated[
        list[str], typer.Argument(metavar="KEY...", help="Ids or names; `keys ls` shows them.")
    ],
    *,
    yes: YesOption = False,
    reason: ReasonOption = "",
) -> int:
    """Put keys out of force, at once and for good."""
    from filemill.service.acts import RevokeKeys

    with open_ledger(session) as queries:
        chosen = [_find(word, queries.keys()) for word in which]
    output = session.output
    if not yes:
        if not output.json:
            for key in chosen:
                output.say(f"revoke {key.id} of {key.name} ({', '.join(key.roles)})")
        if not sys.stdin.isatty():
            raise UsageError(
                f"{plural(len(chosen), 'key')} to revoke, and nobody to ask", help="add --yes"
            )
        if not typer.confirm(f"revoke {plural(len(chosen), 'key')}?", err=True):
            return OK
    act = RevokeKeys(keys=tuple(key.id for key in chosen), reason=reason)
    done = ask(session, act)
    if output.json:
        output.document(
            "filemill.revoked/1",
            items=[
                {"id": key.id, "name": key.name, "moved": moved}
                for key, moved in zip(chosen, done.moved, strict=True)
            ],
        )
    for key, moved in zip(chosen, done.moved, strict=True):
        if not output.json and not session.quiet:
            output.print(f"revoked {key.id} of {key.name}" if moved else f"{key.id} was revoked")
    return OK if all(done.moved) else FAILED


def _made(session: Session, act: CreateKey) -> KeyMade:
    """Have the key made: over HTTP, by the server of this machine, or here."""
    if (address := session.address()) is None:
        from filemill.service.asking import ask_key

        return ask_key(session.data(), act)
    from filemill.client import acting
    from filemill.client.connection import Connection

    with Connection(address) as connection:
        return acting.ask_key(connection, act)


def _find(word: str, known: Sequence[StoredKey]) -> StoredKey:
    """The key of this id, or the one of this name that is not revoked; a whole key is taken for its id."""
    wanted = word.split("_")[1] if word.startswith("fm_") and word.count("_") > 1 else word
    live = [key for key in known if key.revoked_ns is None]
    found = [key for key in live if key.id == wanted] or [key for key in live if key.name == wanted]
    if found:
        return found[-1]
    if any(wanted in {key.id, key.name} for key in known):
        raise NotFound(f"`{printable(wanted)}` is revoked already", help="filemill keys ls")
    near = meant(wanted, [text for key in live for text in (key.name, key.id)])
    raise NotFound(
        f"no key `{printable(wanted)}`",
        help=f"did you mean `{near}`?" if near else "filemill keys ls",
    )


def _known(kind: str, words: Sequence[str], known: Sequence[str]) -> None:
    if kind == "role" and not words:
        raise UsageError("a key without a role opens nothing", help=f"--role {known[0]}")
    for word in words:
        if word not in known:
            near = meant(word, known)
            there = f"there are: {', '.join(known)}"
            raise UsageError(
                f"no {kind} `{printable(word)}`",
                help=f"did you mean `{near}`?  {there}" if near else there,
            )


def _use(roles: Sequence[str], url: str) -> str:
    """A line to try it with."""
    rights = frozenset[Right]().union(*(ROLES[role] for role in roles))
    sent = 'curl -H "Authorization: Bearer $KEY"'
    if Right.UPLOAD in rights:
        return f"{sent} -F file=@orders.csv {url}/upload"
    return f"{sent} {url}/{'files' if Right.VIEW_META in rights else 'metrics'}"
