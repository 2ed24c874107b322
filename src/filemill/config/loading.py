"""The door of the configuration: find, read, judge and compile it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

import msgspec

from filemill.config.checking import Checker
from filemill.config.compiling import compile_plan
from filemill.config.effective import Setting, effective
from filemill.config.layers import gather
from filemill.config.locating import DATA, data_directory, locate
from filemill.config.problems import ConfigProblems, Problem, Problems
from filemill.config.pythonic import replace_paths
from filemill.config.revision import revision_of
from filemill.config.secrets import Secrets
from filemill.model.plan import Plan
from filemill.ports.describe import Describe
from filemill.ports.registry import Registry

Proven = Callable[[str, str], bool]
"""Says of a data directory and a digest whether that revision ran there before, so that it was judged already."""


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
    resolve: Describe | None = None,
    proven: Proven | None = None,
    revision: int = 0,
    strict: bool = False,
) -> Loaded:
    """Find, read, judge and compile a configuration.

    Without `describe`, users' functions and SQL expressions are taken as they are; with it, a worker is asked. It is
    not asked about the expressions of a revision that is `proven`; about users' code it always is, since what that
    imports may have changed. Pipelines written in Python are read by `resolve`, or `describe` where it is not given.
    `strict` warns of more: of what may be meant as it is.

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
    layers.python = replace_paths(layers.tree, root, resolve or describe, problems)
    checker = Checker(root, registry, Secrets(environ, problems), problems)
    draft = checker.read(layers.tree)
    data = data_directory(root, draft.settings.data, environ)
    if describe and proven and not problems.failed and not draft.runs_users_code:
        digest, _ = revision_of(draft, layers, registry)
        describe = None if proven(data, digest) else describe
    checker.check(draft, data, describe, strict=strict)
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
