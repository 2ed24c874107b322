"""route: send each record, or the file, to sinks by its tags; ends a pipeline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from filemill.model.errors import PermanentError
from filemill.model.tags import parse_tag_expression
from filemill.ports.step import Form, StepContext, StepSpec, Uses

if TYPE_CHECKING:
    from filemill.records.batch import Batch

_ALWAYS = parse_tag_expression("any or not any")


class RouteOptions(BaseModel):
    """Options of `route`: the branches as written; the plan has them compiled."""

    model_config = ConfigDict(extra="allow", frozen=True)
    branches: dict[str, Any] = Field(
        default_factory=dict,
        description="Tag expression to a sink, a list of sinks, `drop`, or `{steps: [...], to: sinks}`; "
        "read in order, the first match wins. `else` is required.",
    )


class Route:
    """Sends records down the plan's branches; what goes down `drop` is counted as filtered."""

    spec: ClassVar[StepSpec] = StepSpec(
        name="route",
        summary="Send records, or the file, to sinks by tag; ends the pipeline.",
        example="- route: {bad: rejects, vip: [crm, warehouse], else: warehouse}",
        takes=Form.ANY,
        gives=Form.NOTHING,
        ends=True,
        shorthand="branches",
        shorthand_only=True,
    )
    Options: ClassVar[type[BaseModel]] = RouteOptions

    def __init__(self, context: StepContext) -> None:
        self.context = context
        self.routes = context.plan.routes

    @classmethod
    def uses(cls, options: RouteOptions) -> Uses:
        """Its sinks, those of branches included."""
        sinks: list[str] = []
        for value in options.branches.values():
            to = value.get("to", []) if isinstance(value, dict) else value
            # What is no name is told at its place when the branches are read.
            sinks += [
                each
                for each in ([to] if isinstance(to, str) else to or [])
                if isinstance(each, str)
            ]
        return Uses(sinks=tuple(s for s in dict.fromkeys(sinks) if s != "drop"))

    def deliver(self, batch: Batch) -> Batch | None:
        """Send each record down the first branch that matches, or all of them in `mode: all`."""
        if any(route.all_matches for route in self.routes):
            self._deliver_all(batch)
        else:
            self._deliver_first(batch)
        return None

    def deliver_file(self, run: str) -> None:
        """Send a whole file down the branches that its own tags match.

        Raises:
            PermanentError: a branch has steps, which need records.
        """
        at, order = next((i, o) for i, o in enumerate(self.context.orders) if o.run == run)
        tags = order.file.tags
        matched = [route for route in self.routes if route.when and route.when.matches(tags)]
        if matched and not matched[0].all_matches:
            del matched[1:]
        for route in matched or [route for route in self.routes if route.when is None]:
            if route.steps:
                raise PermanentError(
                    f"step `{self.context.plan.id}`: a branch with steps needs records, and no step has read the file",
                    help="put a reader such as `read_csv` before `route`",
                )
            if route.sinks:
                self.context.send_file(route.sinks, run)
            else:
                self.context.count(filtered=1, file=at)

    def _deliver_first(self, batch: Batch) -> None:
        for number, route in enumerate(self.routes):
            if route.when is None:
                self._down(number, batch)
                return
            mask = batch.mask(route.when)
            if mask.all():
                self._down(number, batch)
                return
            if mask.any():
                self._down(number, batch.where(mask))
                batch = batch.where(~mask)
        self.context.drop(batch)  # `check` demands an `else`, so nothing is left here

    def _deliver_all(self, batch: Batch) -> None:
        """Every match, but each record once per sink: a sink's branches without steps are one condition."""
        masks = [batch.mask(route.when) for route in self.routes if route.when is not None]
        nowhere = ~_either(masks) if masks else batch.mask(_ALWAYS)
        at = iter(masks)
        found = [nowhere if route.when is None else next(at) for route in self.routes]
        wanted: dict[str, list[Any]] = {}
        kept = []
        for number, (route, mask) in enumerate(zip(self.routes, found, strict=True)):
            if route.steps or route.sinks:
                kept.append(mask)
            if not route.steps:
                for sink in route.sinks:
                    wanted.setdefault(sink, []).append(mask)
            elif len(part := batch.where(mask)):
                self.context.branch(number, part)
        for sink, some in wanted.items():
            self.context.send((sink,), batch.where(_either(some)))
        self._count_copies(batch, found)
        gone = batch.where(~_either(kept)) if kept else batch
        if len(gone):
            self.context.drop(gone)

    def _count_copies(self, batch: Batch, found: list[Any]) -> None:
        """Count a record that goes down several branches as added for each one after the first.

        Branches without steps are one: what they send to sinks is the same record.
        """
        plain = [m for r, m in zip(self.routes, found, strict=True) if r.sinks and not r.steps]
        stepped = [m for r, m in zip(self.routes, found, strict=True) if r.steps]
        before = [_either(plain)] if plain else []
        for mask in stepped:
            if before:
                for file, start, stop in batch.where(mask & _either(before)).split_files():
                    self.context.count(added=stop - start, file=file)
            before.append(mask)

    def _down(self, number: int, batch: Batch) -> None:
        route = self.routes[number]
        if route.sinks or route.steps:
            self.context.branch(number, batch)
        else:
            self.context.drop(batch)


def _either(masks: list[Any]) -> Any:
    first, *others = masks
    for mask in others:
        first |= mask
    return first
