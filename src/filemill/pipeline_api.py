"""Pipelines written in Python: `from filemill import pipeline`. They are what the same words in YAML are.

`pipeline(...)` writes down what it is given, with the line it stands on; nothing is judged here but the names of
options. The configuration reads it as it reads YAML: same models, same defaults, same messages, pointing at the Python.
Built-in steps and plugins are in `filemill.builtin`; a function of your own is named itself, or by its `opts(...)`.
"""

from __future__ import annotations

import datetime as dt
import difflib
import inspect
import itertools
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from enum import Enum
from typing import Any, NamedTuple

from filemill.model.errors import UsageError

__all__ = ["Pipeline", "Spot", "Step", "of_function", "pipeline", "spot"]

NOTHING: Any = object()
"""In place of a value that was not given."""
_TYPES: dict[Any, str] = {int: "integer", float: "float", bool: "boolean", str: "text"}
"""What `types={"amount": float}` is in YAML."""
Written = list[Any]
"""A node in builtins: `["text", text, place]`, `["list", nodes, place]` or `["map", [[key, place, node]], place]`.

A place is `[file, line, column, length]`.
"""


class Spot(NamedTuple):
    """Where something is written."""

    file: str
    line: int
    column: int
    length: int


def spot(above: int) -> Spot:
    """The call expression that is being run, `above` frames over the caller of this function."""
    frame = sys._getframe(above + 1)  # noqa: SLF001 -- the caller's place is what this is for
    code = frame.f_code
    line, end, column, end_column = next(
        itertools.islice(code.co_positions(), frame.f_lasti // 2, None),
        (frame.f_lineno, None, None, None),
    )
    if line is None or column is None:
        return Spot(code.co_filename, line or frame.f_lineno, 1, 1)
    length = (end_column or column) - column if end == line else 1
    return Spot(code.co_filename, line, column + 1, max(length, 1))


class Step:
    """One step placed in a pipeline. Immutable: `when` and `beside` answer with another one."""

    __slots__ = ("siblings", "spot", "uses", "value")

    def __init__(
        self, uses: str, value: Any, spot: Spot, siblings: Mapping[str, tuple[Any, Spot]] = {}
    ) -> None:
        self.uses = uses
        self.value = value
        """What stands behind its name in YAML; NOTHING when nothing does."""
        self.spot = spot
        self.siblings = dict(siblings)

    def when(self, tags: str) -> Step:
        """The step only for records, or files, with these tags: `if:` in YAML."""
        return self._with({"if": (tags, spot(1))})

    def beside(
        self,
        *,
        id: str | None = None,  # noqa: A002 -- the language's word
        retry: Mapping[str, Any] | None = None,
        timeout: str | dt.timedelta | None = None,
        concurrency: int | None = None,
        io: bool | None = None,
        mode: str | None = None,
    ) -> Step:
        """The step with these keys beside it, as in YAML: `retry={"attempts": 3}`, `timeout="30s"`."""
        here = spot(1)
        given = {
            "id": id,
            "retry": retry,
            "timeout": timeout,
            "concurrency": concurrency,
            "io": io,
            "mode": mode,
        }
        return self._with({key: (each, here) for key, each in given.items() if each is not None})

    def __repr__(self) -> str:
        return f"<step {self.uses}>"

    def _with(self, siblings: Mapping[str, tuple[Any, Spot]]) -> Step:
        return Step(self.uses, self.value, self.spot, self.siblings | dict(siblings))


class Pipeline:
    """A pipeline written in Python."""

    __slots__ = ("name", "settings", "spot", "steps")

    def __init__(
        self, name: str, steps: Sequence[Step], settings: Mapping[str, Any], spot: Spot
    ) -> None:
        self.name = name
        self.steps = tuple(steps)
        self.settings = dict(settings)
        self.spot = spot

    def __repr__(self) -> str:
        return f"<pipeline {self.name}>"

    def written(self) -> Written:
        """The pipeline as a tree of texts with places, for the configuration to read.

        Raises:
            UsageError: an option's value is nothing a configuration can hold.
        """
        return _written({**self.settings, "steps": self.steps}, self.spot)

    def to_yaml(self) -> str:
        """The pipeline as a `pipelines:` section in YAML.

        Raises:
            UsageError: an option's value is nothing a configuration can hold.
        """
        body = _plain({**self.settings, "steps": self.steps}, self.spot)
        return _as_yaml({"pipelines": {self.name: body}})


def pipeline(
    name: str,
    *,
    when: str,
    steps: Iterable[Step | Callable[..., Any] | str],
    tolerance: str | int | None = None,
    exclusive: bool | None = None,
    priority: int | None = None,
    timeout: str | dt.timedelta | None = None,
    retry: Mapping[str, Any] | None = None,
) -> Pipeline:
    """A pipeline: the same keys as in YAML, and steps from `filemill.builtin` or functions of your own.

    A project uses it by its dotted path (`pipelines: {orders: flows.orders}`), a test with
    `filemill.testing.run_pipeline`. What is wrong with it is said there, and by `filemill check`.

    Raises:
        UsageError: a function among the steps cannot be named from elsewhere.
    """
    here = spot(1)
    settings = {
        "when": when,
        "tolerance": tolerance,
        "exclusive": exclusive,
        "priority": priority,
        "timeout": timeout,
        "retry": retry,
    }
    given = {key: value for key, value in settings.items() if value is not None}
    return Pipeline(name, [_as_step(each, here) for each in steps], given, here)


def of_function(function: Callable[..., Any], options: Mapping[str, Any], where: Spot) -> Step:
    """A function of the user's own as a step; its options are its keyword-only arguments.

    Raises:
        UsageError: it has no option of that name, or it cannot be named from elsewhere.
    """
    path = _path(function)
    parameters = inspect.signature(function).parameters.values()
    known = [
        each.name for each in parameters if each.kind is each.KEYWORD_ONLY and each.name != "ctx"
    ]
    check_names(f"`{path}`", options, known)
    return Step(path, dict(options) if options else NOTHING, where)


def check_names(what: str, options: Mapping[str, Any], known: Sequence[str]) -> None:
    """Raise UsageError, with a did-you-mean, for an option that is none."""
    for name in options:
        if name in known:
            continue
        near = difflib.get_close_matches(name, known, 1)
        listed = ", ".join(f"`{each}`" for each in known)
        raise UsageError(
            f"{what} has no option `{name}`",
            help=f"did you mean `{near[0]}`?"
            if near
            else f"its options: {listed}"
            if known
            else "it takes no options",
        )


def _path(function: Callable[..., Any]) -> str:
    module, name = function.__module__, function.__qualname__
    if module == "__main__" or "<" in name:
        raise UsageError(
            f"the function `{name}` of `{module}` cannot be a step: no other process could find it",
            help="define it at the top of a module that can be imported, such as steps.py",
        )
    return f"{module}.{name}"


def _as_step(value: Any, where: Spot) -> Step:
    if isinstance(value, Step):
        return value
    if isinstance(value, str):
        return Step(value, NOTHING, where)
    if inspect.isfunction(value) or (inspect.isclass(value) and hasattr(value, "restore")):
        return of_function(value, {}, where)
    if callable(getattr(value, "step", None)):
        made = value.step(where)
        if isinstance(made, Step):
            return made
    raise UsageError(
        f"{type(value).__name__} is no step ({where.file}:{where.line})",
        help="a step is one of filemill.builtin, a function of your own, or its opts(...)",
    )


def _scalar(value: Any, where: Spot) -> Any:
    """A value that YAML can hold, or the text that stands for it there."""
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, type) and value in _TYPES:
        return _TYPES[value]
    for kind, as_text in _AS_TEXT.items():
        if isinstance(value, kind):
            return as_text(value)
    raise UsageError(
        f"{type(value).__name__} is nothing a configuration can hold ({where.file}:{where.line})",
        help="options are texts, numbers, true and false, lists and maps of these",
    )


_AS_TEXT: dict[type, Callable[[Any], Any]] = {
    Enum: lambda value: str(value.value),
    dt.timedelta: lambda value: f"{round(value.total_seconds() * 1000)}ms",
    dt.date: lambda value: value.isoformat(),
    dt.time: lambda value: value.isoformat(),
    Decimal: str,
    os.PathLike: os.fspath,
}


def _is_step(value: Any) -> bool:
    return isinstance(value, Step) or inspect.isfunction(value) or hasattr(value, "step")


def _item(step: Step) -> dict[str, tuple[Any, Spot]]:
    """A step as the map it is in YAML: its name with what stands behind it, and the siblings."""
    value = None if step.value is NOTHING else step.value
    return {step.uses: (value, step.spot), **step.siblings}


def _plain(value: Any, where: Spot) -> Any:
    """What YAML writes."""
    if _is_step(value):
        step = _as_step(value, where)
        if step.value is NOTHING and not step.siblings:
            return step.uses
        return {key: _plain(each, place) for key, (each, place) in _item(step).items()}
    if isinstance(value, Mapping):
        return {str(_scalar(key, where)): _plain(each, where) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(each, where) for each in value]
    return _scalar(value, where)


def _as_yaml(document: dict[str, Any]) -> str:
    """YAML in which a number is the text that Python shows, and nothing is nothing, not `null`."""
    import yaml  # noqa: PLC0415 -- only who wants YAML

    class Dumper(yaml.SafeDumper):
        """One of our own, so that nobody else's YAML is written differently."""

    def number(dumper: Any, value: float) -> Any:
        # Plain whatever YAML takes it for (`1e-09` is a text there): here every value is its text.
        tag = dumper.resolve(yaml.ScalarNode, str(value), (True, False))
        return dumper.represent_scalar(tag, str(value))

    def nothing(dumper: Any, _: None) -> Any:
        return dumper.represent_scalar("tag:yaml.org,2002:null", "")

    def text(dumper: Any, value: str) -> Any:
        # In double quotes what nobody can see is escaped; in others some of it would end the line.
        style = None if value.isprintable() else '"'
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)

    Dumper.add_representer(type(None), nothing)
    Dumper.add_representer(str, text)
    Dumper.add_representer(int, number)
    Dumper.add_representer(float, number)
    return yaml.dump(document, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=100_000)


def _written(value: Any, where: Spot) -> Written:
    """What YAML would be read into: texts, whatever they look like."""
    place = list(where)
    if _is_step(value):
        step = _as_step(value, where)
        where, place = step.spot, list(step.spot)
        if step.value is NOTHING and not step.siblings:
            return ["text", step.uses, place]
        pairs = [[key, list(at), _written(each, at)] for key, (each, at) in _item(step).items()]
        return ["map", pairs, place]
    if isinstance(value, Mapping):
        return [
            "map",
            [
                [str(_scalar(key, where)), place, _written(each, where)]
                for key, each in value.items()
            ],
            place,
        ]
    if isinstance(value, list | tuple | set | frozenset):
        return ["list", [_written(each, where) for each in value], place]
    plain = _scalar(value, where)
    if isinstance(plain, bool):
        return ["text", str(plain).lower(), place]
    return ["text", None if plain is None else str(plain), place]
