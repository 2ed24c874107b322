"""How files would be routed now, by what the ledger noted of them: no byte is read, and no code of users is run.

So a rule that looks into the content, or asks a tagger, is taken to hold where it held before, and not to hold
elsewhere: what comes out is a number that is at most too small.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from filemill.model.files import TagHit
from filemill.model.plan import Plan
from filemill.routing.globs import fold
from filemill.routing.inspection import SOURCE
from filemill.routing.matching import pipelines_for
from filemill.routing.rules import Rule, Subject


class Noted(msgspec.Struct, frozen=True):
    """What the ledger noted of one inspected file."""

    relative: bytes
    source: str
    size: int
    media: str
    header: tuple[str, ...]
    hits: tuple[TagHit, ...]


def would_route(plan: Plan, files: Iterable[Noted]) -> int:
    """How many of these files at least one pipeline would take."""
    certain = [Rule(rule) for rule in plan.tags if not rule.content and rule.tagger is None]
    uncertain = {rule.tag for rule in plan.tags if rule.content or rule.tagger is not None}
    return sum(
        bool(pipelines_for(_tags(each, certain, uncertain), plan).pipelines) for each in files
    )


def _tags(file: Noted, certain: list[Rule], uncertain: set[str]) -> set[str]:
    path = fold(file.relative)
    subject = Subject(
        file.relative,
        path.rpartition("/")[2],
        path,
        file.source,
        file.size,
        file.media,
        file.header,
    )
    tags = {hit.tag for hit in file.hits if hit.rule == SOURCE or hit.rule in uncertain}
    return tags | {rule.tag for rule in certain if rule.judge(subject) is not None}
