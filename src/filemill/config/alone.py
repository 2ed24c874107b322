"""One pipeline without a configuration around it: judged as if it stood in one whose sinks are the ones it names."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from filemill.config.checking import Checker
from filemill.config.compiling import compile_plan
from filemill.config.elements import steps_in
from filemill.config.positions import Entry, Map, Node, Place, Text
from filemill.config.problems import ConfigProblems, Problems
from filemill.config.pythonic import node_of
from filemill.config.secrets import Secrets
from filemill.model.plan import Plan
from filemill.pipeline_api import Pipeline
from filemill.ports.describe import Describe
from filemill.ports.registry import Registry

_HERE = Place("")


def plan_of(
    pipeline: Pipeline,
    root: str,
    *,
    sinks: Mapping[str, Mapping[str, Any]],
    registry: Registry,
    describe: Describe,
    environ: Mapping[str, str] = os.environ,
) -> Plan:
    """The plan of this pipeline alone; every sink it names is a folder below `root`, with the options in `sinks`.

    Raises:
        ConfigProblems: it has errors; all of them, at their places in the Python.
    """
    problems = Problems()
    tree = _map({"pipelines": _map({pipeline.name: node_of(pipeline.written(), problems)})})
    checker = Checker(root, registry, Secrets(environ, problems), problems)
    steps = checker.read(tree).every_step()
    named = {sink.text for step in steps for branch in step.branches for sink in branch.sinks}
    named |= {sink for step in steps_in(steps) for sink in step.uses_of.sinks}
    folders = {
        name: _map(
            {
                key: Text(str(value).lower() if isinstance(value, bool) else str(value), _HERE, '"')
                for key, value in {"folder": name, **sinks.get(name, {})}.items()
            }
        )
        for name in sorted(named)
    }
    tree.entries["sinks"] = Entry(Text("sinks", _HERE), _map(folders))
    draft = checker.read(tree)
    checker.check(draft, os.path.join(root, "data"), describe)
    if problems.failed:
        raise ConfigProblems(problems.all())
    return compile_plan(draft, os.path.join(root, "data"), revision=0)


def _map(entries: Mapping[str, Node]) -> Map:
    return Map({key: Entry(Text(key, _HERE), node) for key, node in entries.items()}, _HERE)
