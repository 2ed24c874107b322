"""Content under other references, and texts in other words: what a change of keys is to the ledger.

Beside a server only what nobody has in hand is moved: whoever is given a file's path later is given the new one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import apsw

from filemill.ledgers.sqlite.packing import reworded_attempt, reworded_failure
from filemill.ledgers.sqlite.reading_connection import said
from filemill.ledgers.sqlite.sql import load
from filemill.ledgers.sqlite.transaction import Transaction
from filemill.model.errors import SystemFault

SQL = load("resealing.sql")
Words = Callable[[str], str]


def move(tx: Transaction, moves: Sequence[tuple[str, str]]) -> None:
    """Each is (old reference, new reference): rows name the new one, and the old one is to be removed.

    Raises:
        SystemFault: no row names an old one, which would be somebody's only copy then; nothing is changed.
    """
    for old, new in moves:
        file = old.rpartition("/")[2].partition(".")[0]
        named = tx.run(SQL["move_file"], old, new, file) + tx.run(SQL["move_input"], old, new)
        if not named:
            raise SystemFault(f"no row of the ledger names content/{old} any more")
        tx.run(SQL["add_garbage"], old)


def move_at_rest(tx: Transaction, moves: Sequence[tuple[str, str]]) -> list[bool]:
    """The same, of what nobody has in hand; False for the others, and for what is given up."""
    answers = []
    for old, new in moves:
        file = old.rpartition("/")[2].partition(".")[0]
        moved = tx.run(SQL["move_file_at_rest"], old, new, file)
        moved += tx.run(SQL["move_input_at_rest"], old, new)
        if moved:
            tx.run(SQL["add_garbage"], old)
        answers.append(moved > 0)
    return answers


def newest(tx: Transaction) -> int:
    """The highest number of a file or run."""
    return max(int(tx.one(SQL["newest_run"])), int(tx.one(SQL["newest_file"])))


def newest_in(db: apsw.Connection) -> int:
    """The same, by whoever only reads."""
    with said():
        found: list[Any] = [
            db.execute(SQL[each].text).get for each in ("newest_run", "newest_file")
        ]
    return max(map(int, found))


def texts_in(db: apsw.Connection, after: int, last: int) -> list[str]:
    """Every text that `reword` would put in other words, by whoever only reads."""
    found: dict[str, None] = {}

    def note(text: str) -> str:
        found[text] = None
        return text

    with said():
        for query in ("messages", "reasons", "rejects"):
            for row in db.execute(SQL[query].text, (after, last)):
                note(row[-1])
        for _, _, facts, failure in db.execute(SQL["attempts"].text, (after, last)):
            reworded_attempt(facts, note)
            reworded_failure(failure, note)
    return list(found)


def reword(tx: Transaction, words: Words, after: int, last: int) -> int:
    """Put every text that may quote content, of files and runs numbered so, in other words; answers how many."""
    changed = 0
    for query, change in (("messages", "set_message"), ("reasons", "set_reason")):
        for number, text in list(tx.db.execute(SQL[query].text, (after, last))):
            changed += _set(tx, change, (number,), text, words)
    for run, number, text in list(tx.db.execute(SQL["rejects"].text, (after, last))):
        changed += _set(tx, "set_reject", (run, number), text, words)
    for run, fence, facts, failure in list(tx.db.execute(SQL["attempts"].text, (after, last))):
        new = reworded_attempt(facts, words), reworded_failure(failure, words)
        if new != (facts, failure):
            changed += tx.run(SQL["set_attempt"], run, fence, *new)
    return changed


def _set(tx: Transaction, change: str, keys: tuple[int, ...], text: str, words: Words) -> int:
    said = words(text)
    return tx.run(SQL[change], *keys, said) if said != text else 0
