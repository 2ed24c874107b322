"""How a file would be tagged and routed: one on disk, or one that is known already. Nothing is written."""

from __future__ import annotations

import os

import msgspec

from filemill.contents.local import LocalContent
from filemill.durable import Durable, Failpoints
from filemill.intake.limits import refusal, source_tags
from filemill.model.errors import UsageError
from filemill.model.files import FileRef
from filemill.model.plan import Plan
from filemill.ports.clock import SystemClock
from filemill.ports.registry import Registry
from filemill.queries import FileHistory
from filemill.routing.explaining import Explanation
from filemill.service.building import OUTSIDE, build_sources, settings_of
from filemill.service.children import explain as ask
from filemill.service.encrypting import plain_file
from filemill.telemetry.wording import printable


class Arrival(msgspec.Struct, frozen=True):
    """A file as it would come in now."""

    file: FileRef
    refused: str = ""
    """Why its source would reject it by name or size; empty when it would not."""


def arrival_of(path: bytes, plan: Plan, registry: Registry) -> Arrival:
    """As if the file at `path` arrived now: with the tags of the source whose folder holds it, else `from:cli`.

    Raises:
        UsageError: it is no file.
    """
    real = os.path.realpath(path)
    try:
        seen = os.stat(real)
    except OSError as error:
        raise UsageError(f"{printable(path)}: {error.strerror}") from error
    if not os.path.isfile(real):
        raise UsageError(f"{printable(path)} is no file")
    clock = SystemClock()
    sources = settings_of(
        build_sources(
            plan,
            registry,
            sighted=lambda _: None,
            backlog=lambda _source: 0,
            emit=lambda _: None,
            clock=clock,
        )
    )
    roots = {
        os.path.realpath(each.root) + b"/": each
        for each in sources.values()
        if each.name != OUTSIDE and each.root
    }
    holding = [root for root in roots if real.startswith(root)]
    root = max(holding, key=len, default=os.path.dirname(real) + b"/")
    settings = roots.get(root, sources[OUTSIDE])
    relative = real[len(root) :]
    file = FileRef(
        file="explained",
        path=real,
        relative=relative,
        size=seen.st_size,
        source=settings.name,
        arrived_ns=clock.wall_ns(),
        tags=source_tags(settings, relative),
    )
    return Arrival(file, refusal(settings, relative, seen.st_size))


def arrival_again(history: FileHistory, plan: Plan) -> Arrival:
    """As if a file that came before arrived again, from its kept content, with the tags its source gave it then.

    Raises:
        UsageError: its content is no longer kept.
    """
    content = LocalContent(
        os.path.join(os.fsencode(plan.data), b"content"), Durable(Failpoints("reader"))
    )
    if not content.exists(history.content):
        raise UsageError(
            f"the content of {history.summary.file} is no longer kept",
            help="name the file itself, if you have it elsewhere",
        )
    summary = history.summary
    return Arrival(
        FileRef(
            file=summary.file,
            path=content.path(history.content),
            relative=summary.relative,
            size=summary.size,
            source=summary.source,
            arrived_ns=summary.arrived_ns,
            tags=tuple(hit.tag for hit in history.tags if hit.rule == "source"),
        )
    )


def explain_path(path: bytes, plan: Plan, registry: Registry) -> Explanation:
    """How the file at `path` would be tagged and routed if it arrived now.

    Raises:
        UsageError: it is no file.
        SystemFault: the worker child that looks at it failed.
    """
    arrival = arrival_of(path, plan, registry)
    explained = ask(arrival.file, plan)
    return msgspec.structs.replace(explained, refused=arrival.refused or explained.refused)


def explain_known(history: FileHistory, plan: Plan) -> Explanation:
    """How a file that came before would be tagged and routed if it arrived again.

    Raises:
        UsageError: its content is no longer kept.
        SystemFault: the worker child that looks at it failed.
    """
    file = arrival_again(history, plan).file
    with plain_file(plan.data, file.path) as path:
        explained = ask(msgspec.structs.replace(file, path=path), plan)
    return msgspec.structs.replace(explained, file=file)
