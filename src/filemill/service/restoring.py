"""Restore: a new data directory from a backup. Nothing that is there is destroyed: it is moved aside."""

from __future__ import annotations

import os
import time

import msgspec

from filemill.durable import Durable
from filemill.identity import pepper
from filemill.ledgers.sqlite.health import Stored, mark_restored
from filemill.ledgers.sqlite.lock import InstanceLock
from filemill.model.errors import SystemFault, UsageError
from filemill.ports.clock import Clock
from filemill.service.acting import principal_of
from filemill.service.backups import Manifest, Taker, Told, entries, problems_of, read_manifest
from filemill.service.collecting import ledger_of

UNFINISHED = ".restoring-"
"""Behind the name of a data directory: the one that a restore is making."""
BEFORE = ".before-restore-"
"""The same: the one that was there."""


class Restored(msgspec.Struct, frozen=True):
    """What was restored, and where the data directory that was there is now."""

    manifest: Manifest
    aside: str | None


def verified(backup: str, told: Told) -> Manifest:
    """The manifest of a backup that is whole.

    Raises:
        UsageError: it is no backup.
        SystemFault: it is damaged; the message names what.
    """
    manifest = read_manifest(backup)
    wrong = problems_of(backup, manifest, told)
    if wrong:
        more = f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        raise SystemFault(
            f"the backup {backup} is damaged: {'; '.join(wrong[:5])}{more}",
            help="nothing was changed: restore another backup",
        )
    return manifest


def restore(
    backup: str, data: str, *, durable: Durable, clock: Clock, told: Told, force: bool = False
) -> Restored:
    """Make a data directory of a backup, after reading back all of it.

    Raises:
        UsageError: it is no backup, or `data` is not empty and `force` is False.
        Busy: a server runs on `data`.
        SystemFault: the backup is damaged, or something cannot be written; `data` is as it was.
    """
    backup, data = os.path.abspath(backup), os.path.abspath(data)
    read_manifest(
        backup
    )  # a mistyped backup comes first: it is read back in full only when the place is free
    there = sorted(os.listdir(data)) if os.path.isdir(data) else []
    if there and not force:
        raise UsageError(
            f"the data directory {data} is not empty",
            help="--force moves it aside (nothing is removed), or name another one with --data",
        )
    manifest = verified(backup, told)
    now = clock.wall_ns()
    building = f"{data}{UNFINISHED}{now}"
    try:
        lost = _build(backup, building, manifest, durable, told)
        detail = {"made_ns": manifest.made_ns, "missing": manifest.missing}
        mark_restored(
            ledger_of(building), now, principal_of(os.geteuid()), detail, lost=lost, durable=durable
        )
        durable.sync_path(os.fsencode(ledger_of(building)))
        durable.sync_directory(os.fsencode(building))
        aside = _change_places(data, building, now, durable)
    except OSError as error:
        raise SystemFault(
            f"the backup cannot be restored: {error}",
            help=f"{data} is as it was; remove {building} and try again",
        ) from error
    return Restored(manifest, aside)


def _build(
    backup: str, building: str, manifest: Manifest, durable: Durable, told: Told
) -> list[str]:
    """Everything in place, durable; answers which references the backup does not have."""
    durable.make_directory(os.fsencode(building), 0o700)
    # The ledger is written to from now on, content never: only that may be linked.
    ledger = Taker(backup, building, durable, copies=True)
    ledger.put(os.fsencode(ledger_of(backup)), os.fsencode(ledger_of(building)))
    if manifest.pepper_sha256:
        place = os.fsencode(os.path.join(building, pepper.NAME))
        ledger.put(os.fsencode(os.path.join(backup, pepper.NAME)), place)
    ledger.sync()
    contents = Taker(backup, building, durable, copies=False)
    lost: list[str] = []
    for done, entry in enumerate(entries(backup)):
        told("restoring", "file", done, manifest.files)
        if entry.missing or contents.take(Stored(entry.reference, digest=entry.sha256)) is None:
            lost.append(entry.reference)
    contents.sync()
    return lost


def _change_places(data: str, building: str, now: int, durable: Durable) -> str | None:
    """Put the new directory where the old one is; answers where that is then."""
    aside: str | None = None
    if os.path.isdir(data):
        with InstanceLock(data):
            aside = _named_aside(data, building, now, durable)
            # At every moment there is a whole data directory: a server that starts without one would begin anew.
            durable.exchange(os.fsencode(aside), os.fsencode(data))
    else:
        durable.rename(os.fsencode(building), os.fsencode(data))
    durable.sync_directory(os.fsencode(os.path.dirname(data)))
    if aside is not None and set(os.listdir(aside)) <= {"lock"}:
        for name in os.listdir(aside):
            durable.unlink(os.fsencode(os.path.join(aside, name)))
        os.rmdir(aside)
        return None
    return aside


def _named_aside(data: str, building: str, now: int, durable: Durable) -> str:
    """Rename the new directory to what the old one will be called; answers that name."""
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(now / 1e9))
    first = f"{data}{BEFORE}{stamp}"
    aside, number = first, 1
    while True:
        try:
            durable.rename(os.fsencode(building), os.fsencode(aside))
        except FileExistsError:  # a restore of the same second, which may have been killed
            number += 1
            aside = f"{first}-{number}"
        else:
            return aside
