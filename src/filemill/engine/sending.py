"""From steps to sinks: what was sent of one source batch goes out once per sink, in the order of the input."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from filemill.durable import Durable
from filemill.encryption.age import Sealer
from filemill.engine.emitting import HIDDEN, Children, check_depth, children_folder
from filemill.engine.failures import disk_fault
from filemill.engine.headers import Header
from filemill.model.errors import PermanentError
from filemill.model.plan import Plan, SinkPlan
from filemill.model.runs import RunOrder, StagedChild, StagedOutput
from filemill.ports.registry import Registry
from filemill.ports.sink import SinkContext
from filemill.records.batch import Batch
from filemill.records.layout import Hints
from filemill.records.merging import has_copies, merge, without


class Sinks:
    """A plan's sinks as a worker sees them: built once, when the first pipeline uses them."""

    def __init__(self, plan: Plan, registry: Registry, durable: Durable) -> None:
        self._plan = plan
        self._registry = registry
        self._durable = durable
        self._recipients = plan.encryption.recipients if plan.encryption is not None else ()
        self._hidden: dict[str, SinkPlan] = {}
        self._sealer = Sealer(self._recipients) if self._recipients else None
        self._built: dict[str, Any] = {}
        self.own = True
        """All that were built so far are this program's own."""

    def add_hidden(self, name: str, options: Mapping[str, Any]) -> None:
        """The sink behind a step that emits: a folder sink that only ever stages, in the data directory."""
        folder = os.fsdecode(children_folder(self._plan.data))
        self._hidden[name] = SinkPlan(
            name, "folder", {**options, "folder": folder, "mode": 0o600, "collision": "suffix"}
        )

    def children(self, orders: Sequence[RunOrder]) -> Children:
        """An empty collection of these runs' children."""
        return Children(children_folder(self._plan.data), self._durable, orders, self._sealer)

    def get(self, name: str) -> Any:
        """The sink of that name."""
        if name not in self._built:
            plans = (*self._hidden.values(), *self._plan.sinks)
            plan = next((sink for sink in plans if sink.name == name), None)
            if plan is None:
                raise PermanentError(f"no sink `{name}`", help="name it under `sinks:`")
            component = self._registry.get("sinks", plan.kind)
            self.own = self.own and component.__module__.startswith("filemill.")
            self._built[name] = component(
                SinkContext(
                    name=name,
                    options=component.Options.model_validate(plan.options),
                    timezone=self._plan.timezone,
                    durable=self._durable,
                    sync=self._plan.durability == "power",
                    recipients=self._recipients if plan.name in self._hidden else (),
                    keepers=self._recipients,
                )
            )
        return self._built[name]

    def rest(self) -> None:
        """Nothing is to be staged for a while."""
        for sink in self._built.values():
            sink.rest()


class Sends:
    """The stagers of one attempt, and what waits for them of the current source batch.

    A `group` is one passage of the records: sends of one group are of different records (a route's branches), those of
    two groups may be of the same (a `write` and a later `route`), and then the first one counts.
    """

    def __init__(
        self, sinks: Sinks, orders: Sequence[RunOrder], hints: Hints, at: Callable[[str], None]
    ) -> None:
        self._sinks = sinks
        self._orders = orders
        self._hints = hints
        self._at = at
        self.children = sinks.children(orders)
        """Files that steps emit beside, or through, their sinks."""
        self._stagers: dict[str, Any] = {}
        self._waiting: dict[str, list[tuple[str, Batch]]] = {}
        self._sent_files: set[tuple[str, str]] = set()
        self._headers: dict[int, Mapping[str, Header]] = {}
        self._told: dict[str, dict[int, Header]] = {}

    def expect(self, order: int, headers: Mapping[str, Header]) -> None:
        """Say how one file's outputs are headed from here on, by sink."""
        self._headers[order] = headers

    def send(self, sinks: Sequence[str], batch: Batch, group: str) -> None:
        """Keep a batch for sinks until the source batch is through."""
        if len(batch):
            for sink in sinks:
                self._waiting.setdefault(sink, []).append((group, batch))

    def send_file(self, sinks: Sequence[str], order: RunOrder) -> None:
        """Stage a whole file, once per sink."""
        for sink in sinks:
            if (sink, order.run) not in self._sent_files:
                self._sent_files.add((sink, order.run))
                with self._staging(sink):
                    self._stager(sink).write_file(order)

    def flush(self) -> None:
        """Hand over what waits; called when a source batch is through all steps."""
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, {}
        for sink, sends in waiting.items():
            with self._staging(sink):
                stager = self._told_stager(sink)
                for batch in _together(sends):
                    stager.write(batch)

    def drop(self, run: str) -> None:
        """Forget one run, which failed."""
        for stager in self._stagers.values():
            stager.drop(run)
        self.children.drop(run)

    def finish(self) -> dict[str, list[StagedOutput]]:
        """Finish all stagers; each run's outputs of all sinks, those of hidden ones among them."""
        outputs: dict[str, list[StagedOutput]] = {}
        for sink, stager in self._stagers.items():
            with self._staging(sink):
                for run, staged in stager.finish().items():
                    outputs.setdefault(run, []).extend(staged)
        return outputs

    def release(self) -> None:
        """Let go of parts that the server has received."""
        for stager in self._stagers.values():
            stager.release()

    def emitted(
        self, outputs: dict[str, list[StagedOutput]], tags: Mapping[str, tuple[str, ...]]
    ) -> dict[str, tuple[StagedChild, ...]]:
        """Each run's children, synced; what hidden sinks staged is taken out of `outputs`.

        `tags` are those that the step of each hidden sink gives its children.

        Raises:
            PermanentError: a run's file is too deep to have children.
        """
        for order in self._orders:
            for output in outputs.get(order.run, ()):
                if output.sink.startswith(HIDDEN):
                    self._at(_name_of(output.sink))
                    check_depth(order)
        self.children.take(outputs, tags)
        return self.children.finish()

    def abort(self) -> None:
        """Remove everything staged."""
        for stager in self._stagers.values():
            stager.abort()
        self.children.abort()

    def open(self, sinks: Sequence[str]) -> None:
        """Open these sinks' stagers even if nothing will be sent (`empty: write`)."""
        for sink in sinks:
            with self._staging(sink):
                self._told_stager(sink)

    def _told_stager(self, sink: str) -> Any:
        """The sink's stager, once it knows of every header what is known here."""
        stager = self._stager(sink)
        told = self._told.setdefault(sink, {})
        for order, headers in self._headers.items():
            header = headers.get(sink)
            if header is not None and told.get(order) is not header:
                told[order] = header
                stager.expect(order, header.layout, more=header.more)
        return stager

    def _stager(self, sink: str) -> Any:
        stager = self._stagers.get(sink)
        if stager is None:
            headers = self._hints.headers.get(sink, {})
            stager = self._sinks.get(sink).stager(self._orders, headers)
            self._stagers[sink] = stager
        return stager

    @contextmanager
    def _staging(self, sink: str) -> Iterator[None]:
        self._at(_name_of(sink))
        try:
            yield
        except OSError as error:
            fault = disk_fault(error, sink)
            if fault is None:
                raise
            raise fault from error


def _name_of(sink: str) -> str:
    """The step that is at work while a sink is staged to: of a hidden one the step that it stands behind."""
    return sink.rpartition("/")[2] if sink.startswith(HIDDEN) else f"stage:{sink}"


def _together(sends: Sequence[tuple[str, Batch]]) -> list[Batch]:
    """What was sent as few batches, each in the input's order.

    Sends with other columns become one only for files that are in all of them, so that no file gets a column, not
    even an empty one, because of the files beside it.
    """
    if len(sends) == 1:
        return [sends[0][1]]
    if len({batch.layout.columns for _, batch in sends}) == 1:
        return [_one(sends)]
    files = [{file for file, _, _ in batch.split_files()} for _, batch in sends]
    alike: dict[tuple[int, ...], list[int]] = {}
    for file in sorted(set().union(*files)):
        alike.setdefault(tuple(n for n, some in enumerate(files) if file in some), []).append(file)
    if len(alike) == 1:
        return [_one(sends)]
    return [
        _one([(sends[n][0], _of_files(sends[n][1], some)) for n in numbers])
        for numbers, some in alike.items()
    ]


def _of_files(batch: Batch, files: Sequence[int]) -> Batch:
    return batch.where(batch.frame.get_column("_file").is_in(list(files)))


def _one(sends: Sequence[tuple[str, Batch]]) -> Batch:
    groups: dict[str, list[Batch]] = {}
    for group, batch in sends:
        groups.setdefault(group, []).append(batch)
    parts: list[Batch] = []
    for batches in groups.values():
        new = batches
        if parts and not any(map(has_copies, (*parts, *batches))):
            # Where a step made several records of one, the number no longer tells them apart: rather twice than never.
            new = [without(batch, parts) for batch in batches]
        parts += new
    return merge(parts)
