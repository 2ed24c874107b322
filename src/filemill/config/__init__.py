"""Configuration: text to plan, with every problem at its place.

`load` is the door. Inside, in the order of the work: `locating` finds the file, `reading` makes a tree of texts with
places, `layers` merges files and environment, `checking` reads it into parts and judges them (with `components`,
`stepping`, `pipelines`, `tagging`, `folders`, and `asking` for what only a worker may find out), `compiling` makes the
plan, `revision` what the ledger keeps of it. `problems` and `rendering` say what is wrong. `schema` and `reference`
describe the language from the same models.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

import msgspec

from filemill.config.checking import Checker
from filemill.config.compiling import compile_plan
from filemill.config.effective import Setting, effective
from filemill.config.layers import gather
from filemill.config.locating import DATA, data_directory, locate
from filemill.config.problems import ConfigProblems, Problem, Problems
from filemill.config.revision import revision_of
from filemill.config.secrets import Secrets
from filemill.model.plan import Plan
from filemill.ports.describe import Describe
from filemill.ports.registry import Registry

__all__ = ["ConfigProblems", "Loaded", "Problem", "Setting", "load", "locate"]


class Loaded(msgspec.Struct, frozen=True):
    """A configuration without errors."""

    path: str
    """Absolute path of the main file."""
    plan: Plan
    warnings: tuple[Problem, ...]
    effective: tuple[Setting, ...]
    """Every value with its origin, secrets masked."""
    digest: str
    """Of `text`; equal digests are the same revision."""
    text: str
    """What the ledger keeps of this revision."""


def load(
    path: str | None = None,
    *,
    environ: Mapping[str, str] = os.environ,
    registry: Registry | None = None,
    describe: Describe | None = None,
    revision: int = 0,
) -> Loaded:
    """Find, read, judge and compile a configuration.

    Without `describe`, users' functions and SQL expressions are taken as they are; with it, a worker is asked.

    Raises:
        UsageError: there is no configuration.
        ConfigProblems: it has errors; all of them, with the warnings.
    """
    registry = registry or Registry()
    found = locate(path, environ)
    root = os.path.dirname(found)
    problems = Problems()
    layers = gather(found, environ, registry, problems)
    if layers is None:
        raise ConfigProblems(problems.all())
    checker = Checker(root, registry, Secrets(environ, problems), problems)
    draft = checker.read(layers.tree)
    data = data_directory(root, draft.settings.data, environ)
    checker.check(draft, data, describe)
    if problems.failed:
        raise ConfigProblems(problems.all())
    digest, text = revision_of(draft, layers, registry)
    return Loaded(
        path=found,
        plan=compile_plan(draft, data, revision),
        warnings=tuple(problems.all()),
        effective=effective(draft, data, f"${DATA}" if environ.get(DATA) else ""),
        digest=digest,
        text=text,
    )
