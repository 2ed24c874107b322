"""Files that a person named on the command line: copied as they are, never moved, changed or waited for."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from filemill.intake.claim import Claimer
from filemill.intake.looking import Folders, look
from filemill.intake.moving import Taking, Way
from filemill.model.errors import SystemFault, UsageError
from filemill.ports.clock import Clock, Ids
from filemill.ports.content import Content
from filemill.ports.source import SourceSettings

TRIES = 20
"""How often a file that changes while it is copied is copied again, after 50 ms, 100 ms, ..."""
PAUSE = 0.05
LAST = -1_000
"""Added to the priority of old files: whatever comes in meanwhile goes first."""


class Named:
    """Builds claims of named files."""

    def __init__(
        self,
        claimer: Claimer,
        content: Content,
        clock: Clock,
        ids: Ids,
        sources: Iterable[SourceSettings],
    ) -> None:
        self._claimer = claimer
        self._content = content
        self._clock = clock
        self._ids = ids
        self._sources = tuple(sources)

    def update(self, sources: Iterable[SourceSettings]) -> None:
        """Go by other sources from now on."""
        self._sources = tuple(sources)
        self.__dict__.pop("_roots", None)

    def takings(
        self,
        paths: Mapping[int, bytes],
        folders: Folders,
        *,
        tags: Sequence[str],
        again: bool,
        backfill: bool = False,
    ) -> dict[int, Taking]:
        """One claim per path, under the same key. In a thread.

        Raises:
            UsageError: a path is no readable regular file.
            SystemFault: the machine cannot look.
        """
        files = [self._ids.new() for _ in paths]
        try:
            references = self._content.reserve(files)
        except OSError as error:
            raise SystemFault(str(error)) from error
        takings: dict[int, Taking] = {}
        for (number, path), file, reference in zip(paths.items(), files, references, strict=True):
            real = os.path.realpath(path)
            settings, relative = self._home(real, backfill=backfill)
            seen = look(folders, settings.root, relative, self._clock)
            if seen.trouble is not None:
                raise SystemFault(f"{os.fsdecode(path)}: {seen.trouble}")
            if seen.identity is None:
                raise UsageError(
                    f"{os.fsdecode(path)} is {seen.refused or 'not there'}",
                    help="name regular files, or a folder with a `/` at its end",
                )
            takings[number] = self._claimer.taking(
                settings,
                relative,
                seen,
                file=file,
                path=settings.root + b"/" + relative,
                reference=reference,
                way=Way.COPY,
                tags=tags,
                again=again,
            )
        return takings

    @functools.cached_property
    def _roots(self) -> list[tuple[bytes, SourceSettings]]:
        """Real folders of the sources, the deepest first."""
        roots = [(os.path.realpath(each.root) + b"/", each) for each in self._sources if each.root]
        return sorted(roots, key=lambda pair: len(pair[0]), reverse=True)

    def _home(self, real: bytes, *, backfill: bool) -> tuple[SourceSettings, bytes]:
        """The source whose folder holds a path, and the path below it."""
        for root, settings in self._roots:
            if real.startswith(root):
                below = settings.priority + (LAST if backfill else 0)
                return msgspec.structs.replace(settings, priority=below), real[len(root) :]
        folder, name = os.path.split(real)
        tag, priority = ("from:backfill", LAST) if backfill else ("from:cli", 0)
        return SourceSettings(name="cli", root=folder, tags=(tag,), priority=priority), name
