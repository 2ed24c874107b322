"""Sources and sinks: what they find out themselves, and what only shows between a source and the data directory."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator

from filemill.durable import Durable
from filemill.durable.probing import make_file, probe_folder
from filemill.engine.scan_work import scanner_of
from filemill.intake.looking import FILE, lease_of
from filemill.intake.settle import Lease
from filemill.model.errors import FilemillError
from filemill.model.plan import Plan
from filemill.ports.clock import Clock
from filemill.ports.examining import Examines, Finding, Level
from filemill.ports.registry import Registry
from filemill.ports.source import Source, SourceSettings
from filemill.ports.units import format_duration
from filemill.service.building import build_sinks, build_sources
from filemill.service.examining.data import nearest

_CAP_LEASE = 28


def examine_places(plan: Plan, registry: Registry, durable: Durable, clock: Clock) -> list[Finding]:
    """Everything about each source and sink; a kind that cannot examine its place is said to be so."""
    found: list[Finding] = []
    sources = build_sources(
        plan,
        registry,
        sighted=lambda _sightings: None,
        backlog=lambda _source: 0,
        emit=lambda _event: None,
        clock=clock,
    )
    for name, source in sources.items():
        found += _examined(source, f"source {name}")
        found += _claims(source, f"source {name}", plan, durable)
    for name, sink in build_sinks(plan, registry, durable).items():
        found += _examined(sink, f"sink {name}")
    for each in plan.scan:
        try:
            found += scanner_of(each.kind, each.options, registry).examine()
        except FilemillError as error:
            about = f"scanner {each.kind}"
            found.append(Finding(Level.PROBLEM, about, error.message, error.help))
    return found


def _examined(component: object, about: str) -> list[Finding]:
    if isinstance(component, Examines):
        return component.examine()
    return [Finding(Level.OK, about, "its kind cannot be examined")]


def _claims(source: Source, about: str, plan: Plan, durable: Durable) -> Iterator[Finding]:
    """How files are taken from a source's folder, and how it shows that their writer is done."""
    settings = source.settings()
    root = settings.root
    if not root or not os.path.isdir(root):
        return
    if settings.claim != "rename":
        what = "files are copied, verified, and stay where they are"
        yield Finding(Level.OK, about, what)
        return
    try:
        with probe_folder(root) as probe:
            path = probe + b"/claimed"
            make_file(path)
            yield _lease(path, about, settings)
            if plan.encryption is not None:
                what = "files are copied into the data directory, encrypted, and removed once that is durable"
                yield Finding(Level.OK, about, what)
            else:
                yield _claim(path, about, plan.data, durable)
    except OSError as error:
        what = f"files cannot be taken out of {os.fsdecode(root)}: {error.strerror}"
        remedy = f"chmod u+w {os.fsdecode(root)}   or say `claim: copy` to leave them there"
        yield Finding(Level.PROBLEM, about, what, remedy)


def _claim(path: bytes, about: str, data: str, durable: Durable) -> Finding:
    there = nearest(data)
    copied = Finding(
        Level.OK,
        about,
        "files are copied into the data directory, which is on another file system, and removed once that is durable",
        "on one file system with `data:` it is a rename, which costs nothing",
    )
    if there != data:  # nothing of ours is there yet to try it in
        same = os.stat(path).st_dev == os.stat(there).st_dev
        return Finding(Level.OK, about, "files are taken by one rename") if same else copied
    with probe_folder(os.fsencode(data)) as kept:
        try:
            durable.rename(path, kept + b"/claimed")
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            return copied
    return Finding(Level.OK, about, "files are taken by one rename")


def _lease(path: bytes, about: str, settings: SourceSettings) -> Finding:
    descriptor = os.open(path, FILE)
    try:
        lease = lease_of(descriptor)
    finally:
        os.close(descriptor)
    quiet = format_duration(settings.settle_unproven)
    if lease is not Lease.FREE:
        what = f"nothing here tells whether a file is still written: one found by a scan must be quiet for {quiet}"
        remedy = "rename files in when they are whole, or set `settle_unproven:` to the longest pause of a writer"
        return Finding(Level.WARNING, about, what, remedy)
    if _may_lease_all():
        return Finding(Level.OK, about, "a lease tells whether a file is still written")
    what = f"a lease tells whether a file is still written; of other users' files none does: quiet for {quiet}"
    return Finding(Level.OK, about, what, "CAP_LEASE gives it for those too (AmbientCapabilities=)")


def _may_lease_all() -> bool:
    """Whether this process may take a lease on files of other users."""
    try:
        with open("/proc/self/status", encoding="ascii") as file:
            held = next((line for line in file if line.startswith("CapEff:")), "CapEff: 0")
    except OSError:
        return os.geteuid() == 0
    return bool(int(held.split()[1], 16) >> _CAP_LEASE & 1)
