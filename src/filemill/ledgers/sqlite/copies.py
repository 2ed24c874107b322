"""What the folder of what failed holds; each function is one request inside the writer's transaction."""

from __future__ import annotations

from collections.abc import Sequence

from filemill.ledgers.sqlite.sql import load
from filemill.ledgers.sqlite.transaction import Transaction, texts

SQL = load("copies.sql")


def note_copies(tx: Transaction, copies: Sequence[tuple[str, int, str, str]]) -> None:
    """Each is (subject, death, name, digest)."""
    tx.many(SQL["note_copies"], copies)


def forget_copies(tx: Transaction, subjects: Sequence[str]) -> None:
    """These copies are gone."""
    if subjects:
        tx.run(SQL["forget_copies"], texts(subjects))
