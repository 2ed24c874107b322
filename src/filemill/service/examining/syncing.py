"""How each file system syncs, measured as a server does it, and what follows from it."""

from __future__ import annotations

import os
from collections.abc import Iterator

from filemill.durable import Durable
from filemill.durable.barrier import GROUP
from filemill.durable.costs import NAME, Measurement, recall
from filemill.durable.measuring import measure
from filemill.durable.mounts import MEMORY, mount_of
from filemill.durable.probing import probe_folder
from filemill.model.plan import Plan
from filemill.ports.clock import Clock
from filemill.ports.examining import Finding, Level
from filemill.ports.registry import Registry
from filemill.service.building import build_sinks, build_sources, settings_of
from filemill.service.syncing import places_of

ABOUT = "syncing"
SLOW_NS = 100_000_000
LYING_NS = 20_000
"""No disk has a file in safety sooner."""


def examine_syncing(
    plan: Plan, registry: Registry, durable: Durable, clock: Clock
) -> list[Finding]:
    """One finding for each file system of the data directory, the sinks and the sources; none without syncs."""
    if not durable.sync:
        return []
    sources = build_sources(
        plan,
        registry,
        sighted=lambda _sightings: None,
        backlog=lambda _source: 0,
        emit=lambda _event: None,
        clock=clock,
    )
    places = places_of(plan.data, build_sinks(plan, registry, durable), settings_of(sources))
    return list(_found(places, plan.data, clock.wall_ns()))


def _found(places: list[bytes], data: str, now_ns: int) -> Iterator[Finding]:
    remembered = recall(os.path.join(data, NAME))
    devices = set()
    for place in places:
        try:
            device = os.stat(place).st_dev
            if device in devices:
                continue
            with probe_folder(place) as probe:
                measured = measure(probe, now_ns)
        except OSError:  # not there yet, or not to be written: its owner's own finding says it
            continue
        devices.add(device)
        mount = mount_of(place)
        where, kind = (place, "") if mount is None else (mount.point, mount.kind)
        yield tell(os.fsdecode(where), kind, measured, remembered.get(device))


def tell(where: str, kind: str, measured: Measurement, remembered: Measurement | None) -> Finding:
    """What is to be said of one file system; `remembered` is what a server goes by, if it has measured."""
    costs, known = measured.costs, remembered.costs.threshold if remembered else GROUP
    values: dict[str, str | int | None] = {
        "mount": where,
        "kind": kind,
        "fsync_ns": costs.one,
        "fsync_more_ns": costs.more,
        "syncfs_ns": costs.whole,
        "syncfs_from": costs.threshold,
        "in_force": known,
    }
    told = f"{where} ({kind}): " if kind else f"{where}: "
    if kind in MEMORY:
        what = told + "memory: nothing survives a power cut"
        return _warning(what, "what must last belongs on a disk: `data:`, sinks", values)
    chosen = _chosen(costs.threshold)
    told += f"fsync {_ms(costs.one)} a file, {_ms(costs.more)} for each more at once, syncfs {_ms(costs.whole)}: "
    told += chosen
    if remembered and _chosen(known) != chosen:
        told += f" (a server has measured: {_chosen(known)})"
    if costs.one < LYING_NS:
        what = f"{told}; no disk is that fast: it may say that it is done before it is"
        remedy = "a power cut may take what was acknowledged: see `nobarrier`, libeatmydata, a virtual disk's cache"
        return _warning(what, remedy, values)
    if max(costs.one, costs.whole) > SLOW_NS:
        remedy = "each file waits for several syncs: see what else writes to this disk (iostat -x 1), or use another"
        return _warning(told, remedy, values)
    return Finding(Level.OK, ABOUT, told, values=values)


def _warning(what: str, remedy: str, values: dict[str, str | int | None]) -> Finding:
    return Finding(Level.WARNING, ABOUT, what, remedy, values)


def _chosen(threshold: int | None) -> str:
    return "never syncfs" if threshold is None else f"syncfs from {threshold} files on"


def _ms(nanoseconds: int) -> str:
    milliseconds = nanoseconds / 1e6
    return f"{milliseconds:.1f} ms" if milliseconds >= 0.1 else f"{milliseconds:.3f} ms"
