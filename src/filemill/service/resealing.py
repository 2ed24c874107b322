"""Everything that is kept, encrypted for other recipients; a kill may end it anywhere.

Where no server runs this is done under the instance lock, beside one by `service/resealing_beside.py`. Contents are
written anew under new references; when a group of them is durable one commit has the ledger name the new ones and the
old ones garbage, and only then the old ones go. What a kill leaves of a new one no row names: the next try writes it
anew. Then come the texts in the ledger.
"""

from __future__ import annotations

import asyncio
import os

from filemill.contents.local import LocalContent
from filemill.durable import Durable, Failpoints
from filemill.encryption.age import Opener, Sealer, key_in
from filemill.encryption.texts import reseal
from filemill.engine.plaintext import check_pair
from filemill.intake.retention import Retention
from filemill.ledgers.sqlite.health import Health
from filemill.ledgers.sqlite.ledger import SqliteLedger
from filemill.ledgers.sqlite.lock import InstanceLock, references_stay
from filemill.ledgers.sqlite.reserve import Reserve
from filemill.model.errors import UsageError
from filemill.model.plan import EncryptionPlan, Plan
from filemill.ports.clock import SystemClock
from filemill.service.asking import listens
from filemill.service.collecting import ledger_of, must_exist
from filemill.service.encrypting import identity_of, note
from filemill.service.reencrypting import GROUP, Resealed, Told, encrypt_anew
from filemill.service.resealing_beside import rotate_beside

_ROWS = 2_000


def rotate(plan: Plan, told: Told = lambda *_: None) -> Resealed:
    """Have everything kept encrypted for the plan's recipients, and nobody else. What is so already stays.

    Raises:
        Busy: a backup is being made, or another command works on the data directory.
        UsageError: nothing has run here, or there is no encryption, or an identity or the package is missing.
        SystemFault: the ledger or the disk fails; do it once more.
    """
    if plan.encryption is None:
        raise UsageError(
            "the configuration has no `encryption:`", help="`filemill encryption init` begins it"
        )
    must_exist(plan.data)
    with references_stay(plan.data, but_ours=True):
        if listens(plan.data):
            return rotate_beside(plan, plan.encryption, told)
        return asyncio.run(_rotate(plan, plan.encryption, told))


async def _rotate(plan: Plan, encryption: EncryptionPlan, told: Told) -> Resealed:
    sealer, opener = Sealer(encryption.recipients), Opener(identity_of(encryption))
    check_pair(opener, encryption.recipients)
    data = plan.data
    with InstanceLock(data):
        clock = SystemClock()
        durable = Durable(Failpoints.from_environment("command"), sync=plan.durability == "power")
        ledger = await SqliteLedger.open(
            ledger_of(data), durable=durable, clock=clock, reserve=Reserve(data)
        )
        try:
            note(data, encryption, durable)
            content = LocalContent(os.path.join(os.fsencode(data), b"content"), durable, sealer)
            content.open()
            retention = Retention(ledger=ledger, content=content, durable=durable, clock=clock)
            await retention.clear()  # what a former try left
            with Health.open(ledger_of(data)) as health:
                wanted = [
                    each.reference
                    for each in health.stored()
                    if key_in(each.reference) != sealer.key and content.exists(each.reference)
                ]
            done, failed = 0, []
            for start in range(0, len(wanted), GROUP):
                moves, wrong = encrypt_anew(content, opener, wanted[start : start + GROUP])
                failed += wrong
                if moves:
                    content.sync([new for _, new in moves])
                    await ledger.move_content(moves)
                    await retention.clear()
                done += len(moves)
                told("content", start + len(moves) + len(wrong), len(wanted))
            texts = await _reword(ledger, sealer, opener, told)
            return Resealed(done, texts, tuple(failed))
        finally:
            await ledger.close()


async def _reword(ledger: SqliteLedger, sealer: Sealer, opener: Opener, told: Told) -> int:
    last, changed = await ledger.newest_number(), 0
    for after in range(0, last, _ROWS):
        changed += await ledger.reword(
            lambda text: reseal(text, sealer, opener), after, min(last, after + _ROWS)
        )
        told("texts", min(last, after + _ROWS), last)
    return changed
