"""Making staged outputs visible: rename, taken names, sync; one group of runs at a time, sink by sink.

Everything here may be asked again after a crash or an error of the machine: a publication whose target is ours
already is answered so, and nothing happens twice.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence

import msgspec

from filemill.engine.breaking import SINK_ERRNOS, Breakers
from filemill.engine.superseding import SUPERSEDE, in_place
from filemill.engine.trouble import SYSTEM_ERRNOS, Trouble
from filemill.model.errors import FailureKind, FilemillError
from filemill.model.events import Emit, OutputUnverified
from filemill.model.files import FileRef
from filemill.model.runs import Failure, Publication, RunOrder, RunResult, StagedOutput
from filemill.ports.clock import Clock
from filemill.ports.ledger import Ledger
from filemill.ports.sink import Published, Sink

MOST_ROUNDS = 100
"""Times a group looks for free names: each round somebody else must have taken one in between."""


class Staged(msgspec.Struct):
    """A run on its way out. `result` is None when recovery found it already staged."""

    run: str
    fence: int
    pipeline: str
    file: FileRef
    publications: list[Publication]
    revision: int
    """Whose sinks its outputs are staged in."""
    result: RunResult | None = None
    kept: str = ""
    """Content reference of kept input, which goes when the run is done."""
    noted: bool = False
    """Its STAGED commit is made."""
    waits: str = ""
    """The sink that has to be mended before it goes on."""
    published: list[str] = msgspec.field(default_factory=list)
    unverified: list[str] = msgspec.field(default_factory=list)
    failure: Failure | None = None


def as_staged(order: RunOrder, result: RunResult) -> Staged:
    """A worker's result as the publisher takes it."""
    result = in_place(order, result)
    return Staged(
        order.run,
        order.fence,
        order.pipeline,
        order.file,
        [_as_publication(order, output) for output in result.outputs],
        order.revision,
        result,
        kept=order.kept,
    )


def _as_publication(order: RunOrder, output: StagedOutput) -> Publication:
    return Publication(
        output.publication,
        order.run,
        order.fence,
        output.sink,
        output.name,
        output.staged,
        output.device,
        output.inode,
        output.size,
        output.digest,
        output.records,
        output.mode,
        "staged",
        output.over_size,
        output.over_digest,
    )


_INSISTING = ("fail", SUPERSEDE)
"""Modes whose outputs have this name or none."""
_Each = tuple[Staged, Publication]


class _Place(msgspec.Struct):
    """One sink, the key of its breaker, and what is to be published there."""

    key: str
    sink: Sink
    mine: list[_Each]


class _PlaceFailed(Exception):
    """A sink's place is in trouble, not one output."""

    def __init__(self, error: OSError | FilemillError) -> None:
        super().__init__(str(error))
        self.error = error


class Revealer:
    """Publishes what is staged. What a sink refuses for good becomes that run's `failure`.

    Where a sink's place fails, its breaker opens, and the runs that need it have it as what they wait for.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        sinks_of: Callable[[int], Mapping[str, Sink]],
        clock: Clock,
        emit: Emit,
        trouble: Trouble,
        breakers: Breakers,
    ) -> None:
        self._ledger = ledger
        self._sinks_of = sinks_of
        self._breakers = breakers
        self._clock = clock
        self._emit = emit
        self._trouble = trouble

    async def reveal(self, group: Sequence[Staged]) -> None:
        """Publish and sync every publication of the group, transactional sinks first.

        Raises:
            OSError: the server's own (no descriptor is free): ask again later.
        """
        for staged in group:
            staged.waits = ""
        places: dict[int, _Place] = {}
        for revision in dict.fromkeys(staged.revision for staged in group):
            sinks = self._sinks_of(revision)
            for name, sink in sinks.items():
                key = self._breakers.key(name, sinks, revision)
                # Revisions share the sinks that no change touched.
                place = places.setdefault(id(sink), _Place(key, sink, []))
                place.mine += [
                    (s, p)
                    for s in group
                    for p in s.publications
                    # What is visible is not looked for again: its consumer may have taken it.
                    if s.revision == revision
                    and p.sink == name
                    and p.publication not in (*s.published, *s.unverified)
                ]
        for place in sorted(places.values(), key=lambda each: not each.sink.spec.transactional):
            if place.mine:
                await self._reveal_or_wait(place)
        for staged in group:
            known = self._sinks_of(staged.revision)
            for publication in staged.publications:
                if publication.sink not in known:
                    _refuse(
                        staged,
                        publication,
                        "SinkMissing",
                        f"the configuration has no sink `{publication.sink}` any more",
                        "put the sink back and start again; the staged output is kept",
                    )

    async def _reveal_or_wait(self, place: _Place) -> None:
        key, sink, mine = place.key, place.sink, place.mine
        if not self._breakers.is_open(key):
            try:
                await self._reveal_in(key, sink, mine)
            except _PlaceFailed as failed:
                pipelines = {staged.pipeline for staged, _ in mine}
                self._breakers.trip(key, failed.error, pipelines)
            else:
                return
        for staged, publication in mine:
            if publication.publication not in (*staged.published, *staged.unverified):
                staged.waits = key

    async def _reveal_in(self, key: str, sink: Sink, mine: Sequence[_Each]) -> None:
        visible: list[_Each] = []
        taken = await self._try(key, sink, mine, visible)
        for _ in range(MOST_ROUNDS):
            if not taken:
                break
            taken = await self._try(key, sink, await self._renamed(sink, taken), visible)
        for staged, publication in taken:
            _refuse(staged, publication, "NameTaken", "no free name was found", "redrive it")
        try:
            await asyncio.to_thread(sink.sync, [publication for _, publication in visible])
        except OSError as error:
            if error.errno in SYSTEM_ERRNOS - SINK_ERRNOS:
                raise
            raise _PlaceFailed(error) from error
        for staged, publication in visible:
            if publication.publication not in staged.published:
                staged.published.append(publication.publication)

    async def _try(
        self, key: str, sink: Sink, mine: Sequence[_Each], visible: list[_Each]
    ) -> list[_Each]:
        """Publish these; adds what is visible now to `visible`, answers with those whose name is taken.

        Raises:
            _PlaceFailed: it is not about any one of them.
            OSError: the server's own.
        """
        answers = await asyncio.to_thread(_publish_each, sink, [p for _, p in mine])
        taken: list[_Each] = []
        for (staged, publication), answer in zip(mine, answers, strict=True):
            match answer:
                case Published.YES:
                    visible.append((staged, publication))
                case Published.UNVERIFIED:
                    self._unverified(staged, publication)
                case Published.TAKEN if publication.mode in _INSISTING:
                    _refuse(staged, publication, *_taken_by(publication))
                case Published.TAKEN:
                    taken.append((staged, publication))
                case OSError() if answer.errno in SINK_ERRNOS:
                    raise _PlaceFailed(answer)
                case OSError() if answer.errno in SYSTEM_ERRNOS:
                    raise answer
                case OSError():
                    # This target's own, unless nothing can be published there at all (unmounted, no access).
                    if (fault := await self._breakers.fails(key)) is not None:
                        raise _PlaceFailed(fault)
                    error = type(answer).__name__
                    _refuse(staged, publication, error, str(answer), "mend it, then redrive")
        return taken

    async def _renamed(self, sink: Sink, taken: Sequence[_Each]) -> list[_Each]:
        """Give each a free name: fixed in the ledger *before* the rename, so a restart looks where we looked."""
        names = await asyncio.to_thread(sink.free_names, [p.name for _, p in taken])
        await asyncio.gather(
            *(
                self._fix_name(publication.publication, name)
                for (_, publication), name in zip(taken, names, strict=True)
            )
        )
        renamed: list[_Each] = []
        for (staged, publication), name in zip(taken, names, strict=True):
            other = msgspec.structs.replace(publication, name=name)
            staged.publications[staged.publications.index(publication)] = other
            renamed.append((staged, other))
        return renamed

    async def _fix_name(self, publication: str, name: bytes) -> None:
        await self._trouble.insist("ledger", lambda: self._ledger.rename_output(publication, name))

    def _unverified(self, staged: Staged, publication: Publication) -> None:
        if publication.publication in staged.unverified:
            return
        staged.unverified.append(publication.publication)
        self._emit(
            OutputUnverified(
                at_ns=self._clock.wall_ns(),
                publication=publication.publication,
                run=publication.run,
                sink=publication.sink,
                name=publication.name,
            )
        )


def _publish_each(sink: Sink, publications: Sequence[Publication]) -> list[Published | OSError]:
    """Publish a group; when one of them raises, each alone, so that one bad target stops no other."""
    try:
        return list(sink.publish(publications))
    except OSError as error:
        if len(publications) == 1:
            return [error]
    answers: list[Published | OSError] = []
    for publication in publications:
        try:
            answers.extend(sink.publish([publication]))
        except OSError as error:
            answers.append(error)
    return answers


def _taken_by(publication: Publication) -> tuple[str, str, str]:
    """Error, message and help for a name that is taken and must not be changed."""
    name = os.fsdecode(publication.name)
    if publication.mode == SUPERSEDE:
        return (
            "NotTheEarlierOutput",
            f"`{name}` is not any more what the earlier run published there",
            "move that file away, then redrive this run: it only publishes what is missing",
        )
    return (
        "NameTaken",
        f"{publication.name!r} exists already and `collision: fail` is set",
        "move that file away or set `collision: suffix`",
    )


def _refuse(
    staged: Staged,
    publication: Publication,
    error: str,
    message: str,
    help: str,  # noqa: A002 -- the word people read
) -> None:
    if staged.failure is None:
        step = f"publish:{publication.sink}"
        staged.failure = Failure(FailureKind.PERMANENT, step, error, message, help)
