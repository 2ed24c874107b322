"""What people decide, in the ledger: each a move of runs or files that they saw, with who did it and why in the audit.

Every method is as atomic and durable as any of the ledger's (see `ports.ledger`); the answer says of each item whether
it moved. One that is elsewhere by now is left alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from filemill.model.deeds import Chosen, Deed, Mend, Redrive, Release, Replay
from filemill.model.files import FileRef
from filemill.model.runs import Publication, RunOrder


class Deciding(Protocol):
    """The part of a ledger that people move."""

    async def redrive(self, redrives: Sequence[Redrive], deed: Deed) -> list[bool]:
        """DEAD -> QUEUED with no attempt spent, no interruption and a new fence.

        A run that died at `publish:<sink>` and still has what it staged: DEAD -> PUBLISHING, its fence kept.
        """
        ...

    async def release(self, releases: Sequence[Release], deed: Deed) -> list[bool]:
        """HELD -> QUEUED under a new fence; the answer is remembered with the run, under the step that asked."""
        ...

    async def discard(self, runs: Sequence[Chosen], deed: Deed) -> list[bool]:
        """DEAD or HELD -> DISCARDED. The file's content stays until retention takes it."""
        ...

    async def cancel(self, runs: Sequence[Chosen], deed: Deed) -> list[bool]:
        """QUEUED, RETRYING or RUNNING -> CANCELLED under a new fence: what a worker does for it counts no more."""
        ...

    async def replay(self, replays: Sequence[Replay], deed: Deed) -> list[bool]:
        """A new QUEUED run for each ended run. False: the run has not ended, or its file's content is gone."""
        ...

    async def readmit(
        self, files: Sequence[str], deed: Deed, *, unsafe: bool = False, people: int = 1
    ) -> list[bool]:
        """HELD -> INGESTED: the files are to be inspected and routed again, by the current revision.

        With `unsafe` also QUARANTINED, and each file has the attribute `released` from then on, with the principal's
        name. With two `people`, a quarantined file moves when another principal asked for the same before, since it is
        in quarantine; until then the answer is False and that this one asked is noted.
        """
        ...

    async def discard_files(self, files: Sequence[str], deed: Deed) -> list[bool]:
        """HELD, REJECTED or QUARANTINED -> DISCARDED, of files without runs."""
        ...

    async def erase(self, files: Sequence[str], deed: Deed) -> list[bool]:
        """Delete all rows of these files, whatever their age, and name their bytes as garbage; False: it stays.

        It stays while anything works on it, and while anything that was made from it is known that does not go too.
        The audit keeps their ids.
        """
        ...

    async def mend(self, mends: Sequence[Mend], deed: Deed) -> list[bool]:
        """Each mended file becomes a row in CLAIMING, a child of its runs' file, with tags and end as by `stage`.

        In the same commit its dead runs go DEAD -> DISCARDED; a run that is DONE with bad records stays so. Each run
        remembers the child. False, and nothing is done: one of the runs is elsewhere, or sent its records before.
        """
        ...

    async def publishing(self, runs: Sequence[str]) -> tuple[list[RunOrder], list[Publication]]:
        """The orders of those of `runs` that are PUBLISHING, and their outputs that are staged and not published."""
        ...

    async def uninspected(self, files: Sequence[str]) -> list[FileRef]:
        """Those of `files` that are INGESTED, in the order asked, with their content reference as path."""
        ...

    async def pause(self, pipelines: Sequence[str], deed: Deed) -> list[bool]:
        """Lease no runs of these pipelines any more. False: it is paused already."""
        ...

    async def resume(self, pipelines: Sequence[str], deed: Deed) -> list[bool]:
        """Lease runs of these pipelines again. False: it is not paused."""
        ...

    async def resolve(self, fingerprints: Sequence[str], revision: int, deed: Deed) -> None:
        """Remember that the causes of these groups of dead letters are mended: a death of one later is a regression."""
        ...

    async def note(self, action: str, objects: Sequence[str], detail: str, deed: Deed) -> None:
        """Write into the audit what changes nothing else in the ledger."""
        ...
