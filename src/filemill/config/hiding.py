"""What a pipeline hides from a step on, and the sinks that would show it all the same."""

from __future__ import annotations

from filemill.config.components import builtins_of
from filemill.config.elements import Draft, Step
from filemill.config.positions import Place
from filemill.config.problems import Problems
from filemill.config.stepping import place_of_text

RECEIVED = "received"


class HidingCheck:
    """Refuses records as they were received behind a step that hides some of their values."""

    def __init__(self, draft: Draft, problems: Problems) -> None:
        self.problems = problems
        self.received = {
            sink.name
            for sink in draft.sinks
            if sink.options is not None and builtins_of(sink.options).get("as") == RECEIVED
        }
        self.draft = draft

    def run(self) -> None:
        """All pipelines."""
        if self.received:
            for pipeline in self.draft.pipelines:
                self._steps(pipeline.steps, None)

    def _steps(self, steps: list[Step], hider: Step | None) -> None:
        for step in steps:
            hider = step if step.uses_of.hides else hider
            for branch in step.branches:
                inner = next((s for s in branch.steps if s.uses_of.hides), None)
                self._steps(branch.steps, hider)
                for sink in branch.sinks:
                    self._sink(sink.text, sink.place, step, hider or inner)
            if not step.branches:
                for name in step.uses_of.sinks:
                    place = place_of_text(step.value, name, step.key.place)
                    self._sink(name, place, step, hider)

    def _sink(self, name: str, place: Place, step: Step, hider: Step | None) -> None:
        if hider is None or name not in self.received:
            return
        hidden = ", ".join(f"`{column}`" for column in hider.uses_of.hides)
        message = (
            f"sink `{name}` writes records as they were received, with what `{hider.uses}` hides: {hidden} "
            f"({step.where})"
        )
        advice = f"remove `as: received` from `{name}`, or send them there before `{hider.uses}`"
        self.problems.error("shows-hidden", message, place, advice)
