"""An older revision as a plan again, from what the ledger keeps of it.

It was judged when it was new, so only what the plan needs is asked again: the components must be installed, and a
worker must be able to import the modules of users. What it says about other things (a source's folder that is gone by
now) is of no interest to the runs that are pinned to it.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from typing import Any

import msgspec

from filemill.config.asking import Asker
from filemill.config.checking import Checker
from filemill.config.compiling import compile_plan
from filemill.config.layers import PREFIX, gather
from filemill.config.problems import ERROR, Problems
from filemill.config.pythonic import replace_paths
from filemill.config.secrets import Secrets
from filemill.config.stored import Stored, write_out
from filemill.model.errors import PermanentError
from filemill.model.plan import Plan
from filemill.ports.describe import Describe
from filemill.ports.registry import Registry


def recall(
    stored: Stored,
    *,
    home: str,
    data: str,
    environ: Mapping[str, str],
    registry: Registry,
    describe: Describe,
    revision: int,
) -> Plan:
    """The plan of a stored revision, its paths from `home`, its secrets from `environ`.

    Raises:
        PermanentError: it cannot be made any more (a plugin is gone, a secret is not set), with every reason.
    """
    problems = Problems()
    overridden = {name: text for name, text in environ.items() if not name.startswith(PREFIX)}
    overridden |= stored.environment
    os.makedirs(data, 0o700, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="revision-", dir=data) as folder:
        root = write_out(stored, folder)
        layers = gather(os.path.join(root, stored.config[0]), overridden, registry, problems)
        if layers is not None:
            layers.python = replace_paths(layers.tree, root, describe, problems)
            draft = Checker(root, registry, Secrets(overridden, problems), problems).read(
                layers.tree
            )
            if not problems.failed:
                Asker(draft, problems).ask(describe)
            if not problems.failed:
                return _moved(compile_plan(draft, data, revision), folder, root, home)
    errors = [each for each in problems.all() if each.severity == ERROR]
    raise PermanentError(
        "; ".join(each.message for each in errors[:3]) or "it cannot be read",
        help=next((each.help for each in errors if each.help), ""),
    )


def _moved(plan: Plan, folder: str, root: str, home: str) -> Plan:
    """The plan with every path below `folder`, where its files lay for a moment, seen from `home`, not `root`."""

    def moved(value: Any) -> Any:
        if isinstance(value, str):
            below = value == root or value.startswith(folder + "/")
            path = os.path.join(home, os.path.relpath(value, root)) if below else value
            return os.path.normpath(path) if below else value
        if isinstance(value, list):
            return [moved(each) for each in value]
        if isinstance(value, dict):
            return {key: moved(each) for key, each in value.items()}
        return value

    packed = msgspec.msgpack.encode(moved(msgspec.msgpack.decode(msgspec.msgpack.encode(plan))))
    return msgspec.msgpack.decode(packed, type=Plan)
