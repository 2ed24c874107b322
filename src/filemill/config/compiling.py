"""From a judged document to the plan: nothing here can fail."""

from __future__ import annotations

import hashlib
import os
from typing import Any

from filemill.config.components import builtins_of
from filemill.config.elements import Branch, Component, Draft, PipelineParts, Rule, Step
from filemill.config.encryption import Secret
from filemill.config.models import (
    LEAST_MEMORY,
    Retention,
    Retry,
    parse_size_test,
    parse_tolerance,
)
from filemill.config.secrets import secret_names
from filemill.model.plan import (
    EncryptionPlan,
    PipelinePlan,
    Plan,
    RetentionPlan,
    RetryPlan,
    RoutePlan,
    ScannerPlan,
    SinkPlan,
    SourcePlan,
    StepPlan,
    TagRulePlan,
)


def compile_plan(draft: Draft, data: str, revision: int) -> Plan:
    """The plan of a document without errors."""
    settings = draft.settings
    base = _layered(RetryPlan(), settings.defaults.retry)
    workers = settings.workers or cpus()
    names, memory = settings.worker_environment, settings.worker_memory
    return Plan(
        revision=revision,
        root=draft.root,
        data=data,
        sources=tuple(
            SourcePlan(
                each.name,
                each.kind,
                _options(each, draft.root),
                tuple(tag for tag, _ in each.tags),
                each.scan,
            )
            for each in draft.sources
        ),
        tags=tuple(plan for rule in draft.rules for plan in _rule(rule)),
        pipelines=tuple(_pipeline(each, base) for each in draft.pipelines),
        sinks=tuple(
            SinkPlan(each.name, each.kind, _options(each, draft.root)) for each in draft.sinks
        ),
        unrouted=settings.unrouted,
        failed_folder=failed_folder(draft) or "",
        timezone=settings.timezone,
        durability=settings.durability,
        workers=workers,
        chunk_size=settings.chunk_size,
        max_record=settings.max_record,
        worker_memory=memory_share(workers) if memory is None else memory,
        max_work=settings.max_work,
        max_kept=settings.max_kept,
        queue_files=settings.queue.files,
        queue_bytes=settings.queue.bytes,
        reserve=settings.reserve,
        worker_environment=None if names is None else tuple(names),
        secrets=tuple(sorted(secret_names(draft.tree))),
        scan=tuple(ScannerPlan(each.kind, each.options) for each in draft.scanners),
        two_people=settings.quarantine.release == "two-people",
        retention=_retention(settings.retention),
        encryption=_encryption(draft, data),
        grace=settings.grace,
        web=settings.web.plan(draft.root),
    )


def _retention(kept: Retention) -> RetentionPlan:
    def seconds(value: float | str) -> float | None:
        return None if isinstance(value, str) else value

    return RetentionPlan(
        content=seconds(kept.content),
        ledger=seconds(kept.ledger),
        dead=seconds(kept.dead),
        audit=seconds(kept.audit),
    )


def _encryption(draft: Draft, data: str) -> EncryptionPlan | None:
    given = draft.settings.encryption
    if given is None:
        return None
    own = hashlib.sha256(os.fsencode(os.path.realpath(data))).hexdigest()[:12]
    workspace = f"/dev/shm/filemill-{os.getuid()}-{own}"  # noqa: S108 -- ours alone, which is checked
    if given.workspace is not None:
        workspace = _below(draft.root, given.workspace)
    return EncryptionPlan(
        recipients=tuple(given.recipients),
        workspace=workspace,
        identity="" if isinstance(given.identity, Secret) else _below(draft.root, given.identity),
        secret=given.identity.secret if isinstance(given.identity, Secret) else "",
    )


def _below(root: str, path: str) -> str:
    return os.path.normpath(os.path.join(root, os.path.expanduser(path)))


def failed_folder(draft: Draft) -> str | None:
    """Absolute path of the folder for copies of what failed; None where there is none."""
    failed = draft.settings.failed
    if failed is None:
        return None
    return os.path.normpath(os.path.join(draft.root, os.path.expanduser(str(failed.folder))))


def memory_share(workers: int) -> int:
    """Bytes that each of so many workers may hold unless told otherwise: its share of three quarters of the memory."""
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return max(2 * LEAST_MEMORY, pages * size * 3 // 4 // workers)


def cpus() -> int:
    """CPUs this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _options(component: Component, root: str) -> dict[str, Any]:
    options: dict[str, Any] = builtins_of(component.options)
    if component.kind == "folder" and isinstance(options.get("folder"), str):
        folder = os.path.expanduser(options["folder"])
        options["folder"] = os.path.normpath(os.path.join(root, folder))
    return options


def _layered(base: RetryPlan, retry: Retry | None) -> RetryPlan:
    """The base with what is set replaced; a delay that a lower layer no longer allows follows the set one.

    `within` without `attempts` beside it means what it says: tries are not counted.
    """
    if retry is None:
        return base
    given = retry.model_fields_set
    least = retry.min if "min" in given else base.min
    most = retry.max if "max" in given else base.max
    if least > most:
        least, most = (least, least) if "min" in given else (most, most)
    attempts, within = base.attempts, base.within
    if "within" in given:
        attempts, within = 0, retry.within
    if "attempts" in given:
        attempts = retry.attempts
    return RetryPlan(attempts or (0 if within else RetryPlan().attempts), least, most, within)


def _rule(rule: Rule) -> list[TagRulePlan]:
    model = rule.model
    sizes: list[tuple[int | None, int | None] | None] = [None]
    if model.size:
        sizes = [parse_size_test(text) for text in model.size]
    return [
        TagRulePlan(
            tag=rule.tag,
            name=tuple(model.name),
            path=tuple(model.path),
            mime=tuple(model.mime),
            size=size,
            source=tuple(model.source),
            header=tuple(model.header),
            content=tuple(model.content),
            tagger=model.tagger,
        )
        for size in sizes
    ]


def _pipeline(pipeline: PipelineParts, base: RetryPlan) -> PipelinePlan:
    model = pipeline.model
    retry = _layered(base, model.retry)
    assert pipeline.when is not None  # noqa: S101 -- without one there is an error
    return PipelinePlan(
        name=pipeline.name,
        when=pipeline.when.parsed,
        steps=tuple(_step(step, retry) for step in pipeline.steps),
        tolerance=parse_tolerance(model.tolerance),
        exclusive=model.exclusive,
        priority=model.priority,
        order_by=model.order_by,
        timeout=model.timeout,
        retry=retry,
    )


def _step(step: Step, retry: RetryPlan) -> StepPlan:
    siblings = step.siblings
    return StepPlan(
        id=step.id,
        uses=step.uses,
        options=step.options or {},
        guard=None if step.guard is None else step.guard.parsed,
        retry=None if siblings.retry is None else _layered(retry, siblings.retry),
        timeout=siblings.timeout,
        io=siblings.io,
        concurrency=siblings.concurrency,
        routes=_routes(step, retry),
    )


def _routes(step: Step, retry: RetryPlan) -> tuple[RoutePlan, ...]:
    """In reading order, `else` last, wherever it stands."""
    ordered = sorted(step.branches, key=lambda branch: branch.when is None)
    return tuple(_route(branch, step, retry) for branch in ordered)


def _route(branch: Branch, step: Step, retry: RetryPlan) -> RoutePlan:
    return RoutePlan(
        when=None if branch.when is None else branch.when.parsed,
        sinks=tuple(sink.text for sink in branch.sinks),
        steps=tuple(_step(each, retry) for each in branch.steps),
        all_matches=step.siblings.mode == "all",
    )
