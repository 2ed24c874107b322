"""Children in the server: from staged in `<data>/children` to files acknowledged, each exactly once.

The commit that stages a run (`Ledger.stage`) notes its children in CLAIMING, each with the path of its staged bytes; a
stale worker's never get there, and neither do those of a run that is staged again: their ids are known already. From
there it is the way of any claim, only shorter, since nobody else can write these files:

    [STAGED commit: CLAIMING] -> rename into content -> sync as one group -> [INGESTED commit]

This happens before the run's DONE commit, so a run is done when its children are files. After a crash
`intake.recovery` takes every row in CLAIMING the same way before anything is published, so what is still publishing
then finds its children taken; one whose bytes cannot be moved stays CLAIMING, counts as live, and the next start tries
again.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Collection, Sequence

from filemill.durable import Durable
from filemill.engine.emitting import children_folder
from filemill.engine.trouble import Trouble
from filemill.model.events import Emit, FileIngested
from filemill.model.files import Claim, FileRef
from filemill.model.runs import RunResult, StagedChild
from filemill.ports.clock import Clock
from filemill.ports.content import Content
from filemill.ports.ledger import Ledger, Stage


class Adoption:
    """Takes in the children of staged runs."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        content: Content,
        durable: Durable,
        clock: Clock,
        emit: Emit,
        trouble: Trouble,
        ingested: Callable[[list[FileRef]], None],
    ) -> None:
        self._ledger = ledger
        self._content = content
        self._durable = durable
        self._clock = clock
        self._emit = emit
        self._trouble = trouble
        self._ingested = ingested
        """Told the files that are acknowledged, to be inspected."""

    async def stages(self, results: Sequence[RunResult], at_ns: int) -> list[Stage]:
        """What the STAGED commit is asked for: each result, with a content reference for each of its children."""
        ids = [child.file for result in results for child in result.children]
        references = iter(await self._reserve(ids) if ids else ())
        return [
            Stage(result, at_ns, tuple(next(references) for _ in result.children))
            for result in results
        ]

    async def take(self, results: Sequence[RunResult]) -> None:
        """Bring the children of these results, whose STAGED commit was asked for, into content and acknowledge them.

        Those of results that were refused, or that are files already, are removed.

        Raises:
            LedgerSyncError: a commit's fate is unknown.
        """
        await self.take_staged([child for result in results for child in result.children])

    async def take_staged(self, children: Sequence[StagedChild]) -> None:
        """Bring these children, which a commit was to note, into content and acknowledge them; others are removed.

        Raises:
            LedgerSyncError: a commit's fate is unknown.
        """
        if not children:
            return
        ids = [child.file for child in children]
        claims = await self._trouble.insist("ledger", lambda: self._ledger.claims(ids))
        wanted = {claim.path for claim in claims}
        await asyncio.to_thread(
            self._remove, [each.staged for each in children if each.staged not in wanted]
        )
        if not claims:
            return
        while True:
            try:
                await asyncio.to_thread(self._move, claims)
                break
            except OSError as error:
                await self._trouble.wait("content", error)
        self._trouble.over("content")
        now = self._clock.wall_ns()
        files = [claim.file for claim in claims]
        taken = await self._trouble.insist("ledger", lambda: self._ledger.ingest(files, now))
        mine = [claim for claim, ok in zip(claims, taken, strict=True) if ok]
        for claim in mine:
            self._emit(FileIngested.of(claim, now))
        if mine:
            self._ingested([claim.taken(self._content.path(claim.content)) for claim in mine])

    async def _reserve(self, ids: Sequence[str]) -> list[str]:
        while True:
            try:
                references = await asyncio.to_thread(self._content.reserve, ids)
            except OSError as error:
                await self._trouble.wait("content", error)
            else:
                self._trouble.over("content")
                return references

    def _move(self, claims: Sequence[Claim]) -> None:
        for claim in claims:
            adopt_child(self._content, claim)
        folders = {os.path.dirname(claim.path) for claim in claims}
        self._content.sync([claim.content for claim in claims], folders)

    def _remove(self, paths: Sequence[bytes]) -> None:
        for path in paths:
            with contextlib.suppress(OSError):  # what stays is swept at the next start
                self._durable.unlink(path)


def adopt_child(content: Content, claim: Claim) -> None:
    """Move a child's bytes into content; does nothing where they are there already."""
    if not content.exists(claim.content):
        content.adopt(claim.path, claim.content)


def sweep_children(data: str, known: Collection[bytes], durable: Durable) -> int:
    """Remove staged children that no row in CLAIMING names (`known`: the paths of those); answers how many.

    What a crash left of attempts that did not come to their STAGED commit; no worker may be staging meanwhile.
    """
    removed = 0
    folder = children_folder(data)
    for place in (folder, folder + b"/.filemill"):
        with contextlib.suppress(FileNotFoundError), os.scandir(place) as entries:
            for entry in list(entries):
                if entry.is_file(follow_symlinks=False) and entry.path not in known:
                    durable.unlink(entry.path)
                    removed += 1
    return removed
