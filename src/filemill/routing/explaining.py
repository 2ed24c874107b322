"""Explain: how one file would be tagged and routed, rule by rule, with nothing written."""

from __future__ import annotations

import msgspec

from filemill.model.files import Facts, FileRef, TagHit
from filemill.model.plan import Plan
from filemill.model.tags import TagExpression, has_tag, quote_tag_part
from filemill.routing.inspection import Inspector
from filemill.routing.matching import pipelines_for
from filemill.routing.rules import shown


class RuleAnswer(msgspec.Struct, frozen=True):
    """One tag rule on the file. Rules of one tag stand in a row; one that holds is enough."""

    tag: str
    holds: bool
    why: str


class PipelineAnswer(msgspec.Struct, frozen=True):
    """One pipeline: its `when:` and whether the file's tags satisfy it."""

    name: str
    when: str
    matches: bool
    why: str = ""
    """Why not: the tags that are missing or in the way, as far as one of them decides."""
    exclusive: bool = False


class Quoted(msgspec.Struct, frozen=True):
    """A tag that was written differently because a name holds characters no tag may have."""

    text: str
    """The name as it is on disk, for people."""
    tag: str


class Explanation(msgspec.Struct, frozen=True):
    """Everything that decides where one file goes."""

    file: FileRef
    facts: Facts
    """Media type, header, digest, attributes, and the tags with their why; or the error."""
    rules: tuple[RuleAnswer, ...] = ()
    pipelines: tuple[PipelineAnswer, ...] = ()
    quoted: tuple[Quoted, ...] = ()
    held: str = ""
    """Why it would be held: `unrouted`, or two pipelines of which one is exclusive."""
    unrouted: str = "hold"
    """What the plan does with a file that no pipeline wants."""
    scanners: tuple[str, ...] = ()
    """Those that would have to find nothing before anybody looks into it; they are not asked here."""
    refused: str = ""
    """Why its source, or an inspection, would reject it; empty when neither would."""

    def tags(self) -> tuple[TagHit, ...]:
        """The tags it would have, those of its source first."""
        return self.facts.tags

    def runs(self) -> tuple[str, ...]:
        """The pipelines it would go through; empty when it is rejected, held or cannot be read."""
        if self.refused or self.held or self.facts.error:
            return ()
        return tuple(pipeline.name for pipeline in self.pipelines if pipeline.matches)


def explain(file: FileRef, plan: Plan, inspector: Inspector | None = None) -> Explanation:
    """Say how `file` would be tagged and routed under `plan`.

    Runs the same inspection as a real arrival (the plan's taggers included, so in a worker) and writes nothing.

    Raises:
        UsageError: as Inspector, when none is given.
    """
    inspected = (inspector or Inspector(plan)).examine([file], explain=True)[0]
    facts = inspected.facts
    rules = tuple(RuleAnswer(each.tag, each.holds, each.why) for each in inspected.judged)
    told = Explanation(
        file,
        facts,
        rules,
        quoted=_quoted(file),
        unrouted=plan.unrouted,
        scanners=tuple(each.kind for each in plan.scan) if plan.scans(file.source) else (),
        refused=facts.refused,
    )
    if facts.error:
        return told
    tags = frozenset(hit.tag for hit in facts.tags)
    pipelines = tuple(
        PipelineAnswer(
            name=pipeline.name,
            when=pipeline.when.text,
            matches=pipeline.when.matches(tags),
            why="" if pipeline.when.matches(tags) else why_not(pipeline.when, tags),
            exclusive=pipeline.exclusive,
        )
        for pipeline in plan.pipelines
    )
    held = pipelines_for(tags, plan).held
    return msgspec.structs.replace(told, pipelines=pipelines, held=held)


def why_not(when: TagExpression, tags: frozenset[str]) -> str:
    """The tags of an expression that are not there, and those that are and should not be, for people.

    A tag is in the way when the expression would hold without it, missing when it would hold with it; where no
    single tag decides, all that are not there are named.
    """
    names = list(dict.fromkeys(when.names()))
    present = [name for name in names if has_tag(name, tags)]
    absent = [name for name in names if name not in present]
    missing = [name for name in absent if when.matches(tags | {_example(name)})]
    in_the_way = [
        name
        for name in present
        if when.matches(frozenset(tag for tag in tags if not has_tag(name, (tag,))))
    ]
    parts = []
    if missing or not in_the_way:
        wanted = missing or absent
        if wanted:
            parts.append("no tag " + (" or " if missing else ", ").join(wanted))
    if in_the_way:
        parts.append("has tag " + " or ".join(in_the_way))
    return "; ".join(parts)


def _example(name: str) -> str:
    """A tag that satisfies a tag or pattern."""
    return name[:-1] + "x" if name.endswith("*") else name


def _quoted(file: FileRef) -> tuple[Quoted, ...]:
    folder, slash, _ = file.relative.partition(b"/")
    if not slash:
        return ()
    part = quote_tag_part(folder)
    if part.encode() == folder:
        return ()
    return tuple(Quoted(shown(folder), tag) for tag in file.tags if part in tag)
