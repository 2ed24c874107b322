"""Encrypting anew beside a running server: it goes on, and so does whatever is at work.

    new bytes written and synced here -> the server's commit names them, if nobody has the old ones in hand -> those go

What somebody has in hand now is tried again in the next pass. The server writes what comes for the new recipients from
its start on, so each pass has less to do, and the last one nothing.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import msgspec

from filemill.contents.local import LocalContent
from filemill.durable import Durable, Failpoints
from filemill.encryption.age import Opener, Sealer, key_in, key_of
from filemill.encryption.texts import reseal
from filemill.engine.plaintext import check_pair
from filemill.ledgers.sqlite.health import Health
from filemill.ledgers.sqlite.opening import open_reader
from filemill.ledgers.sqlite.resealing import newest_in, texts_in
from filemill.model.errors import Busy, UsageError
from filemill.model.plan import EncryptionPlan, Plan
from filemill.service import acts
from filemill.service.asking import ask, look
from filemill.service.collecting import ledger_of
from filemill.service.encrypting import identity_of, noted
from filemill.service.reencrypting import GROUP, Resealed, Told, encrypt_anew

_PAUSE, _LONGEST = 0.5, 30.0
"""Seconds before what was in hand is tried again, at first and at last."""
_NICER = 10
_ROWS = 200
_WORDS = 256 << 10
"""Characters of one request."""


def rotate_beside(plan: Plan, encryption: EncryptionPlan, told: Told) -> Resealed:
    """Have all that is kept encrypted for the plan's recipients, while the server runs.

    Raises:
        UsageError: the server encrypts for others, or the identity or the package is missing.
        Busy: the server ended, or was started anew; doing it again goes on where it was.
        SystemFault: the ledger or the disk fails.
    """
    running = noted(plan.data)
    if running is None or key_of(running.recipients) != key_of(encryption.recipients):
        raise UsageError(
            "the server that runs encrypts for other recipients than the configuration names",
            help="start it again; what comes from then on is for these, and what is there can be rotated",
        )
    seen = look(plan.data)
    if seen is None:
        raise Busy("the server does not say how it is", help="filemill status; then do it again")
    os.nice(_NICER)  # work goes first
    beside = _Beside(plan, encryption, seen.pid, told)
    done = beside.contents()
    return Resealed(done, beside.texts(), tuple(beside.failed.items()))


class _Beside:
    """One rotation."""

    def __init__(self, plan: Plan, encryption: EncryptionPlan, server: int, told: Told) -> None:
        self._data = plan.data
        self._server = server
        self._told = told
        self._sealer = Sealer(encryption.recipients)
        self._opener = Opener(identity_of(encryption))
        check_pair(self._opener, encryption.recipients)
        durable = Durable(Failpoints.from_environment("command"), sync=plan.durability == "power")
        root = os.path.join(os.fsencode(plan.data), b"content")
        self._content = LocalContent(root, durable, self._sealer)
        self.failed: dict[str, str] = {}
        """Why some stay as they are."""

    def contents(self) -> int:
        """All contents, pass after pass until none is left; answers how many."""
        done, pause = 0, _PAUSE
        while wanted := self._wanted():
            of, before = done + len(wanted), done
            for start in range(0, len(wanted), GROUP):
                done += self._group(wanted[start : start + GROUP], done, of)
                self._told("content", done, of)
            if done == before:
                time.sleep(pause)
                pause = min(2 * pause, _LONGEST)
            else:
                pause = _PAUSE
        ask(self._data, acts.MoveContent(moves=(), server=self._server, over=True))
        return done

    def _wanted(self) -> list[str]:
        with Health.open(ledger_of(self._data)) as health:
            return [
                each.reference
                for each in health.stored()
                if key_in(each.reference) != self._sealer.key
                and each.reference not in self.failed
                and each.state != "claiming"
                and self._content.exists(each.reference)
            ]

    def _group(self, references: list[str], done: int, of: int) -> int:
        moves, wrong = encrypt_anew(self._content, self._opener, references)
        self.failed |= dict(wrong)
        if not moves:
            return 0
        self._content.sync([new for _, new in moves])
        act = acts.MoveContent(moves=tuple(moves), server=self._server, done=done, of=of)
        moved = ask(self._data, act).moved
        # Only what the server says it did not take: after no answer it may have.
        left = [new for (_, new), ok in zip(moves, moved, strict=True) if not ok]
        self._content.delete(left)
        return len(moves) - len(left)

    def texts(self) -> int:
        """All texts in the ledger that may quote content; answers how many."""
        changed = 0
        db = open_reader(ledger_of(self._data))
        try:
            newest = newest_in(db)
            for after in range(0, newest, _ROWS):
                last = min(newest, after + _ROWS)
                for words in self._words(texts_in(db, after, last)):
                    act = acts.Reword(words=words, after=after, last=last, server=self._server)
                    changed += len(ask(self._data, act).moved)
                self._told("texts", last, newest)
        finally:
            db.close()
        return changed

    def _words(self, texts: list[str]) -> Iterator[dict[str, str]]:
        """What stands for these texts, a request at a time."""
        words: dict[str, str] = {}
        size = 0
        for text in texts:
            said = reseal(text, self._sealer, self._opener)
            if said == text:
                continue
            # As JSON writes it: a control character takes six bytes.
            more = len(msgspec.json.encode((text, said)))
            if words and size + more > _WORDS:
                yield words
                words, size = {}, 0
            words[text] = said
            size += more
        if words:
            yield words
