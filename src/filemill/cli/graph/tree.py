"""The wiring as text: one tree a pipeline, from the tags that lead into it to the sinks behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from filemill.cli.graph.wiring import about_rule, meets, uses_of, where_of
from filemill.cli.output import Output
from filemill.model.plan import PipelinePlan, Plan, RoutePlan, StepPlan
from filemill.ports.registry import Registry
from filemill.telemetry.wording import number, printable, width

_SIGNS = ("tee", "end", "bar", "in", "out", "fork", "on", "last")
_DRAWN = dict(zip(_SIGNS, ("├─ ", "└─ ", "│  ", "◀─ ", " ─▶ ", "┬▶ ", "├▶ ", "└▶ "), strict=True))
_PLAIN = dict(zip(_SIGNS, ("|- ", "`- ", "|  ", "<- ", " -> ", "+> ", "|> ", "`> "), strict=True))


class Tree:
    """Draws pipelines onto an output, with box characters where its encoding has them."""

    def __init__(self, output: Output, plan: Plan, registry: Registry) -> None:
        self._output = output
        self._paint = output.paint
        self._plan = plan
        self._registry = registry
        encoding = getattr(output.stdout, "encoding", None) or "ascii"
        try:
            "".join(_DRAWN.values()).encode(encoding)
            self._signs = _DRAWN
        except (UnicodeEncodeError, LookupError):
            self._signs = _PLAIN

    def sources(self) -> None:
        """The sources, their places and tags."""
        rows = [
            (
                printable(each.name),
                printable(where_of(each.options, each.kind, self._plan.root)),
                printable(" ".join(each.tags)) or "no tags of its own",
            )
            for each in self._plan.sources
        ]
        if rows:
            self._output.table(("SOURCE", "", "TAGS"), rows, styles={0: "strong"})

    def pipeline(self, pipeline: PipelinePlan, counts: Mapping[str, int]) -> None:
        """One pipeline; `counts` are its runs by state, where they are wanted."""
        told = "  ".join(f"{number(count)} {state}" for state, count in counts.items())
        name = self._paint("strong", printable(pipeline.name))
        when = f"when {printable(pipeline.when.text)}"
        self._output.print(f"{name}  {when}{f'   ({told})' if told else ''}")
        for tag, why in self._origins(pipeline):
            sign = self._paint("dim", self._signs["bar"] + self._signs["in"])
            self._output.print(f"{sign}{self._paint('help', tag)}  {self._paint('dim', why)}")
        self._steps(pipeline.steps, "")

    def sinks(self, pipelines: Sequence[PipelinePlan]) -> None:
        """The sinks that these pipelines lead to, and their places."""
        used = dict.fromkeys(sink for each in pipelines for sink in self._sinks_of(each.steps))
        rows = [
            (printable(name), printable(where_of(sink.options, sink.kind, self._plan.root)))
            for name in used
            for sink in (self._plan.sink(name),)
        ]
        if rows:
            self._output.table(("SINK", ""), rows, styles={0: "strong"})

    def _origins(self, pipeline: PipelinePlan) -> list[tuple[str, str]]:
        """Each tag that `when` names and how a file comes by it."""
        found: list[tuple[str, str]] = []
        for name in dict.fromkeys(pipeline.when.names()):
            mine = [
                (printable(tag), f"from source {printable(source.name)}")
                for source in self._plan.sources
                for tag in source.tags
                if meets(name, tag)
            ]
            for rule in self._plan.tags:
                if meets(name, rule.tag):
                    only = f" (source {', '.join(rule.source)})" if rule.source else ""
                    mine.append((printable(rule.tag), printable(about_rule(rule) + only)))
            for other in self._plan.pipelines:
                for step in _all_steps(other.steps):
                    mine += [
                        (printable(tag), f"child of {printable(other.name)} > {printable(step.id)}")
                        for tag in uses_of(step, self._registry).children or ()
                        if meets(name, tag)
                    ]
            found += dict.fromkeys(mine or [(printable(name), "nothing makes it")])
        return found

    def _steps(self, steps: Sequence[StepPlan], indent: str, sinks: Sequence[str] = ()) -> None:
        """A chain of steps; `sinks` are those behind its last one, at the end of a branch."""
        for place, step in enumerate(steps):
            last = place == len(steps) - 1
            below = indent + ("   " if last else self._signs["bar"])
            self._step(
                step, indent + self._signs["end" if last else "tee"], below, sinks if last else ()
            )
            for number_, branch in enumerate(step.routes):
                self._branch(step, branch, below, last=number_ == len(step.routes) - 1)

    def _step(self, step: StepPlan, lead: str, below: str, sinks: Sequence[str]) -> None:
        uses = uses_of(step, self._registry)
        name = printable(step.id)
        notes = [("dim", "every branch that matches")] if _to_all(step) else []
        notes += [("wait", f"if {step.guard.text}")] if step.guard else []
        notes += [("help", " ".join(f"+{tag}" for tag in uses.tags))] if uses.tags else []
        notes += [("help", f"files with {' '.join(uses.children)}")] if uses.children else []
        notes = [(style, printable(note)) for style, note in notes]
        to = sinks or (() if step.routes else uses.sinks)
        taken = width(lead + name) + sum(width(note) + 2 for _, note in notes)
        told = "".join(f"  {self._paint(style, note)}" for style, note in notes)
        arrows = self._arrows(to, below, taken) if to else ""
        self._output.print(self._paint("dim", lead) + name + told + arrows)

    def _branch(self, step: StepPlan, branch: RoutePlan, indent: str, *, last: bool) -> None:
        lead = indent + self._signs["end" if last else "tee"]
        below = indent + ("   " if last else self._signs["bar"])
        label = _label(branch)
        shown = self._paint("dim", lead) + self._paint("help", label)
        if branch.steps:
            self._output.print(shown)
            self._steps(branch.steps, below, branch.sinks)
            return
        wide = max(width(_label(each)) for each in step.routes if not each.steps)
        gap = " " * (wide - width(label))
        self._output.print(shown + gap + self._arrows(branch.sinks, below, width(lead) + wide))

    def _arrows(self, sinks: Sequence[str], below: str, column: int) -> str:
        """` -> sink`; several sinks one below the other, the first on this line, which is `column` wide so far."""
        out = self._signs["out"]
        if not sinks:
            return self._paint("dim", out) + self._paint("wait", "drop")
        names = [self._paint("strong", printable(sink)) for sink in sinks]
        if len(names) == 1:
            return self._paint("dim", out) + names[0]
        lead = below + " " * (column + 2 - width(below))
        signs = [out[:2] + self._signs["fork"]]
        signs += [lead + self._signs["on"]] * (len(names) - 2) + [lead + self._signs["last"]]
        return "\n".join(self._paint("dim", s) + n for s, n in zip(signs, names, strict=True))

    def _sinks_of(self, steps: Sequence[StepPlan]) -> list[str]:
        found: list[str] = []
        for step in _all_steps(steps):
            found += uses_of(step, self._registry).sinks
        return [name for name in found if any(name == sink.name for sink in self._plan.sinks)]


def _to_all(step: StepPlan) -> bool:
    return bool(step.routes) and step.routes[0].all_matches


def _label(branch: RoutePlan) -> str:
    return printable(branch.when.text) if branch.when else "else"


def _all_steps(steps: Sequence[StepPlan]) -> list[StepPlan]:
    found: list[StepPlan] = []
    for step in steps:
        found.append(step)
        for branch in step.routes:
            found += _all_steps(branch.steps)
    return found
