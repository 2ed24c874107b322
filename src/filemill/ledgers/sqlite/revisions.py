"""What the ledger keeps of configurations: each version once, when each came into force, and why one was refused."""

from __future__ import annotations

import msgspec

from filemill.ledgers.sqlite.sql import load
from filemill.ledgers.sqlite.transaction import Transaction

_SQL = load("revisions.sql")
_TEXTS = msgspec.json.Decoder(list[tuple[str, str]])


def add(tx: Transaction, digest: str, text: str, at_ns: int) -> int:
    """The number of the configuration with this digest; stored under the next one if it is new."""
    number = tx.one(_SQL["find_revision"], digest)
    if number is None:
        tx.run(_SQL["add_revision"], digest, text, at_ns)
        number = tx.one(_SQL["find_revision"], digest)
    return int(number)


def text(tx: Transaction, number: int) -> tuple[str, str] | None:
    """(digest, text) of a stored configuration."""
    found = tx.read(_SQL["revision_text"], _TEXTS, number)
    return found[0] if found else None


def activate(tx: Transaction, number: int, how: str, at_ns: int) -> None:
    """It is in force from now on; what was refused before it counts no more."""
    tx.run(_SQL["activate"], at_ns, number, how)
    tx.run(_SQL["forget_refusal"])


def refuse(tx: Transaction, why: str, at_ns: int) -> None:
    """Remember why a configuration was not taken; with no reason, forget it."""
    if why:
        tx.run(_SQL["refuse"], at_ns, why)
    else:
        tx.run(_SQL["forget_refusal"])
