"""What a former server left half done: claims finished or undone, files held aside put back, orphans swept.

| the row says CLAIMING and          | then                                                             |
|------------------------------------|------------------------------------------------------------------|
| the file is held aside             | put back, copy removed, row deleted: the scan finds it           |
| its very inode is in content       | synced and ingested, if it is still the noted version and closed |
| ... but changed or still written   | put back, row deleted: it settles again                          |
| a copy is in content               | copy removed, row deleted: the original is where it was (held    |
|                                    | aside, a power cut may have undone that)                         |
| nothing is in content              | row deleted; `FileVanished` when it is in no other place either  |
| it is the child of another file    | moved in from where it is staged, synced and ingested            |
| it was sent, and not acknowledged  | put back among the uploads, row deleted: its sender tries again  |

What is removed is durably gone before its row is: a content without a row is somebody's only copy, for all we know.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Collection, Mapping, Sequence
from enum import Enum

import msgspec

from filemill.durable import Durable
from filemill.intake.claim import Claimer, Run
from filemill.intake.limits import refusal
from filemill.intake.looking import FILE, Folders, identity_of, lease_of
from filemill.intake.moving import CLAIMED_FOLDER, Mover, claimed_name
from filemill.intake.reporting import Reporter
from filemill.intake.settle import Lease
from filemill.intake.uploaded import HOW, put_back
from filemill.model.errors import SystemFault
from filemill.model.files import Claim, FileRef, Identity
from filemill.ports.content import Content, is_spare
from filemill.ports.ledger import Ledger
from filemill.ports.source import SourceSettings

_SWEEP = 2000
"""Orphans asked about at a time."""


class Found(Enum):
    """What became of one unfinished claim."""

    WHOLE = "whole"
    """In content and synced: to be ingested."""
    BACK = "back"
    """In its source (again): to be abandoned."""
    GONE = "gone"
    """Nowhere: to be abandoned, and said."""
    STUCK = "stuck"
    """Could not be put back: stays CLAIMING."""


class Settled(msgspec.Struct, frozen=True):
    """What became of unfinished claims: those that were finished, and those that cannot be put in one place yet.

    All others are undone.
    """

    whole: list[Claim]
    stuck: list[Claim]


class Swept(msgspec.Struct, frozen=True):
    """What a sweep of content found that no row needs."""

    removed: int
    unknown: int
    """Whole contents that no row has ever named: kept, because they may be somebody's only copy."""


class Recovery:
    """Finishes or undoes claims. Synchronous: called from a thread, for claims that nobody else works on."""

    def __init__(self, content: Content, durable: Durable) -> None:
        self._content = content
        self._durable = durable
        self._mover = Mover(content, durable)

    def settle_claims(self, claims: Sequence[Claim]) -> list[tuple[Found, OSError | None]]:
        """Put every claim's bytes in one place; those in content are durable when this returns.

        Raises:
            OSError: the sync failed; nothing may be ingested.
        """
        found: list[tuple[Found, OSError | None]] = []
        left: set[bytes] = set()
        removed: list[str] = []
        with Folders() as folders:
            for claim in claims:
                try:
                    found.append((self._place(claim, folders, left, removed), None))
                except OSError as error:
                    found.append((Found.STUCK, error))
            whole = [
                claim.content
                for claim, (where, _) in zip(claims, found, strict=True)
                if where is Found.WHOLE
            ]
            if whole:
                self._content.sync(whole, left)
            self._content.delete(removed, durable=True)
        return found

    def release_held(self, roots: Collection[bytes], known: dict[bytes, bool | None]) -> int:
        """Remove held-aside originals whose copy was acknowledged; answers how many the ledger does not know.

        What became of the copy since (`known` may say that its bytes are not needed any more) makes no difference.
        """
        unknown = 0
        for root in roots:
            for name in held_names(root):
                if name not in known:
                    continue
                if known[name] is not None:
                    self._durable.unlink(root + b"/" + CLAIMED_FOLDER + b"/" + name)
                else:
                    unknown += 1
        return unknown

    def _place(self, claim: Claim, folders: Folders, left: set[bytes], removed: list[str]) -> Found:
        if claim.parent is not None or claim.how == HOW:
            return self._place_ours(claim, left)
        root = claim.path[: -len(claim.relative) - 1]
        held = CLAIMED_FOLDER + b"/" + claimed_name(claim.content)
        if os.path.lexists(root + b"/" + held):
            self._mover.put_back(folders.path(root, held), root, claim.relative, folders)
            self._content.delete([claim.content])
            removed.append(claim.content)
            return Found.BACK
        if not self._content.exists(claim.content):
            return Found.BACK if os.path.lexists(claim.path) else Found.GONE
        path = self._content.path(claim.content)
        descriptor = os.open(path, FILE)
        try:
            version = identity_of(os.fstat(descriptor))
            busy = lease_of(descriptor) is Lease.BUSY
        finally:
            os.close(descriptor)
        adopted = version.is_version(claim.identity)
        if claim.how == "copy" or (not adopted and _is_copy(version, claim)):
            # Whether the original stayed the same while it was copied is not known any more.
            self._content.delete([claim.content])
            removed.append(claim.content)
            return Found.BACK if os.path.lexists(claim.path) else Found.GONE
        if adopted and not busy:
            source_folder = os.path.dirname(claim.path)
            if os.path.isdir(source_folder):
                left.add(source_folder)
            return Found.WHOLE
        self._mover.put_back(path, root, claim.relative, folders)
        return Found.BACK

    def _place_ours(self, claim: Claim, left: set[bytes]) -> Found:
        """Nobody else writes it: it is in one of two places. A child was synced before its row was written."""
        if claim.how == HOW:
            put_back(claim, self._content, self._durable)
            return Found.BACK
        if not self._content.exists(claim.content):
            try:
                self._content.adopt(claim.path, claim.content)
            except FileNotFoundError:
                return Found.GONE
        left.add(os.path.dirname(claim.path))
        return Found.WHOLE


def _is_copy(version: Identity, claim: Claim) -> bool:
    """Say whether content has a copy, not the file that was renamed in and then written to by somebody."""
    if version.inode != claim.identity.inode:
        return True
    try:
        # Inodes of two file systems may have one number by chance.
        return identity_of(os.lstat(claim.path)).is_version(claim.identity)
    except OSError:
        return False


async def recover(
    claims: Sequence[Claim],
    *,
    claimer: Claimer,
    recovery: Recovery,
    ledger: Ledger,
    reporter: Reporter,
    roots: Collection[bytes],
    run: Run,
) -> Settled:
    """Finish or undo every claim a former server left, or this one when the disk failed twice.

    Raises:
        SystemFault: content or ledger cannot be used.
    """
    try:
        found = await run(recovery.settle_claims, claims)
        # Those of claims that are stuck are their files, not what is left of them.
        stuck = {
            claimed_name(c.content)
            for c, (where, _) in zip(claims, found, strict=True)
            if where is Found.STUCK
        }
        held = [name for root in roots for name in await run(held_names, root) if name not in stuck]
    except OSError as error:
        raise SystemFault(
            f"recovery failed: {error}", help="free or repair the disk, then start again"
        ) from error
    pairs = list(zip(claims, found, strict=True))
    whole = [claim for claim, (where, _) in pairs if where is Found.WHOLE]
    now = claimer.now()
    if whole:
        await ledger.ingest([claim.file for claim in whole], now)
    if back := [claim.file for claim, (where, _) in pairs if where in {Found.BACK, Found.GONE}]:
        await ledger.abandon(back)
    for claim, (where, why) in pairs:
        if where is Found.WHOLE:
            reporter.ingested(claim, now)
        elif where is Found.GONE:
            reporter.vanished(claim.source, claim.relative)
        elif why is not None:
            reporter.trouble(why)
    if held:
        names = [name.decode("ascii", "replace").replace(".", "/", 1) for name in held]
        known = dict(zip(held, await ledger.known_content(names), strict=True))
        if unknown := await run(recovery.release_held, roots, known):
            reporter.held_aside(unknown)
    return Settled(whole, [claim for claim, (where, _) in pairs if where is Found.STUCK])


async def sweep(references: Sequence[str], *, ledger: Ledger, content: Content) -> Swept:
    """Remove what crashes left in content: unfinished copies, and bytes whose rows say they may go.

    `references` were listed before this server wrote anything, so that nothing new can be among them. Whole
    contents that no row names are counted and kept: with a ledger restored from a backup they are the
    only copy of what came in since. Kept inputs can be made again, so those that no row names go.
    """
    removed = unknown = 0
    for start in range(0, len(references), _SWEEP):
        some = references[start : start + _SWEEP]
        gone: list[str] = []
        for reference, known in zip(some, await ledger.known_content(some), strict=True):
            if known is False or (known is None and is_spare(reference)):
                gone.append(reference)
            elif known is None:
                unknown += 1
        if gone:
            await asyncio.to_thread(content.delete, gone)
            removed += len(gone)
    return Swept(removed, unknown)


def held_names(root: bytes) -> list[bytes]:
    """Names of the originals held aside below a source's root until their copies are acknowledged."""
    try:
        with os.scandir(root + b"/" + CLAIMED_FOLDER) as entries:
            return [entry.name for entry in entries]
    except FileNotFoundError:
        return []


async def screened(
    refs: Sequence[FileRef],
    sources: Mapping[str, SourceSettings],
    *,
    claimer: Claimer,
    reporter: Reporter,
) -> list[FileRef]:
    """Reject those of recovered files that their source's limits refuse; answers with the others."""
    reasons: dict[str, str] = {}
    for ref in refs:
        settings = sources.get(ref.source)
        # A source's limits are about what it takes, not about what a step makes of that.
        if (
            settings is not None
            and not ref.depth
            and (why := refusal(settings, ref.relative, ref.size))
        ):
            reasons[ref.file] = why
    await claimer.reject(reasons.items())
    for ref in refs:
        if ref.file in reasons:
            reporter.rejected(ref.file, ref.relative, reasons[ref.file])
    return [ref for ref in refs if ref.file not in reasons]
