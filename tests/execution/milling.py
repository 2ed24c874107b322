"""A plan, files and a real executor, in a few words."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from filemill.durable import Durable, Failpoints
from filemill.engine.execution import Executor
from filemill.model.files import FileRef
from filemill.model.plan import (
    PipelinePlan,
    Plan,
    RetryPlan,
    RoutePlan,
    SinkPlan,
    StepPlan,
    Tolerance,
)
from filemill.model.runs import RunOrder, RunResult
from filemill.model.tags import parse_tag_expression
from filemill.ports.registry import Registry


def step(uses: str, *, id: str = "", guard: str = "", **options: Any) -> StepPlan:  # noqa: A002
    """A step of a plan; options are those of the step's model."""
    return StepPlan(
        id=id or uses.rsplit(".", 1)[-1],
        uses=uses,
        options=options,
        guard=parse_tag_expression(guard) if guard else None,
        retry=RetryPlan(attempts=3, min=0.001, max=0.002),
    )


def route(*, id: str = "route", all_matches: bool = False, **_: Any) -> Callable[..., StepPlan]:  # noqa: A002
    """`route()(("bad", ["rejects"]), (None, ["rest"]))`: branches of (tags, sinks, steps)."""

    def branches(*given: tuple[Any, ...]) -> StepPlan:
        return StepPlan(
            id=id,
            uses="route",
            routes=tuple(
                RoutePlan(
                    when=parse_tag_expression(when) if when else None,
                    sinks=tuple(sinks),
                    steps=tuple(more[0]) if more else (),
                    all_matches=all_matches,
                )
                for when, sinks, *more in given
            ),
        )

    return branches


class Mill:
    """A plan, files and a real executor over real folder sinks."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.announced: list[list[str]] = []
        self.failpoints = Failpoints("worker")
        (folder / "content").mkdir()

    def executor(
        self,
        steps: Sequence[StepPlan],
        *,
        tolerance: Tolerance | None = None,
        sinks: Mapping[str, Mapping[str, Any]] | None = None,
        **plan: Any,
    ) -> Executor:
        names = dict(sinks or {})
        for name in ("out", "rest", "rejects", "vip"):
            names.setdefault(name, {})
        made = Plan(
            revision=1,
            root=str(self.folder),
            data=str(self.folder / "data"),
            pipelines=(
                PipelinePlan(
                    name="p",
                    when=parse_tag_expression("*"),
                    steps=tuple(steps),
                    tolerance=tolerance or Tolerance(),
                ),
            ),
            sinks=tuple(
                SinkPlan(name, "folder", {"folder": str(self.folder / "sinks" / name), **options})
                for name, options in names.items()
            ),
            **plan,
        )
        registry = Registry()
        from filemill.ports.sink import SinkContext

        durable = Durable(self.failpoints, sync=False)
        for sink in made.sinks:
            component = registry.get("sinks", "folder")
            options = component.Options.model_validate(sink.options)
            component(SinkContext(sink.name, options, "UTC", durable, sync=False)).prepare()
        return Executor(made, registry, durable)

    def order(self, name: str, data: bytes, tags: Sequence[str] = (), **more: Any) -> RunOrder:
        path = self.folder / "content" / name.replace("/", "_")
        path.write_bytes(data)
        file = FileRef(
            file=f"f-{name}",
            path=os.fsencode(path),
            relative=name.encode(),
            size=len(data),
            source="in",
            arrived_ns=1_700_000_000_000_000_000,
            tags=tuple(tags),
        )
        return RunOrder(
            run=f"r-{name}", file=file, pipeline="p", revision=1, attempt=1, fence=1, **more
        )

    def run(
        self, steps: Sequence[StepPlan], *orders: RunOrder, **plan: Any
    ) -> tuple[list[RunResult], dict[str, dict[str, bytes]]]:
        """Results, and by run name what was staged for each sink."""
        results = self.executor(steps, **plan).execute(
            orders, lambda some: self.announced.append([order.run for order in some])
        )
        return results, self.outputs(results)

    @staticmethod
    def outputs(results: Sequence[RunResult]) -> dict[str, dict[str, bytes]]:
        return {
            result.run.removeprefix("r-"): {
                output.sink: Path(os.fsdecode(output.staged)).read_bytes()
                for output in result.outputs
            }
            for result in results
        }

    def staged(self) -> list[str]:
        """Everything under any sink's staging folder."""
        return [
            str(path)
            for path in (self.folder / "sinks").rglob("*")
            if path.is_file() and ".filemill" in path.parts
        ]

    def module(self, name: str, text: str) -> None:
        """A user's module on the import path."""
        (self.folder / f"{name}.py").write_text(text)


def balanced(result: RunResult) -> bool:
    """Say whether every step's books close."""
    return all(
        s.taken + s.added == s.given + s.filtered + s.bad
        and min(s.taken, s.added, s.given, s.filtered, s.bad) >= 0
        for s in result.steps
    )
