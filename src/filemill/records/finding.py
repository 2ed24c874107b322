"""What stands at a dotted path in users' code. Only in workers."""

from __future__ import annotations

import difflib
import importlib
import inspect
import sys
import types
import typing
from collections.abc import Callable
from typing import Any

from filemill.model.errors import PermanentError
from filemill.records.tracebacks import user_line

STATEFUL = ("__call__", "state", "restore")
"""What a class has that is a step with a state."""
ON_IMPORT: list[Callable[[], None]] = []
"""Called when a module of users was imported for the first time: what it set then is there to stay."""


class FunctionError(PermanentError):
    """A function that cannot be a step; `option` names a wrong option."""

    def __init__(self, message: str, *, help: str = "", option: tuple[str, ...] = ()) -> None:  # noqa: A002
        super().__init__(message, help=help)
        self.option = option


def find_step(path: str) -> Callable[..., Any]:
    """The function at a dotted path, or the class that is a step with a state.

    Raises:
        FunctionError: it cannot be imported or is not there (with a did-you-mean), or it is neither.
    """
    found = find_object(path, "step")
    if inspect.isclass(found):
        lacking = [name for name in STATEFUL if not callable(_in_class(found, name))]
        if lacking:
            raise FunctionError(
                f"`{path}` is a class without `{lacking[0]}`, so it is no step",
                help="a step is a `def`, or a class with `__call__(self, row: dict)`, `state(self) -> bytes` and "
                "`restore(self, state: bytes)`",
            )
        return found
    return find(path)


def _in_class(made: type, name: str) -> Any:
    """What its objects have under that name: the class itself has a `__call__` that makes them."""
    return next((vars(each)[name] for each in made.__mro__ if name in vars(each)), None)


def find(path: str) -> Callable[..., Any]:
    """The function at a dotted path.

    Raises:
        FunctionError: it cannot be imported or is not there, with a did-you-mean.
    """
    found = find_object(path, "step")
    if not callable(found) or inspect.isclass(found):
        raise FunctionError(
            f"`{path}` is {_article(found)}, not a function", help="a step is a `def`"
        )
    return typing.cast("Callable[..., Any]", found)


def find_object(path: str, what: str) -> Any:
    """What stands at a dotted path; `what` (`step`, `pipeline`) is for the messages.

    Raises:
        FunctionError: it cannot be imported or is not there, with a did-you-mean.
    """
    module_name, _, attribute = path.rpartition(".")
    if not module_name:
        raise FunctionError(f"`{path}` is no dotted path", help="write module.function")
    owner = _import(module_name, path, what)
    found = getattr(owner, attribute, None)
    if found is None:
        function = what == "step"
        known = _callables(owner) if function else [n for n in vars(owner) if n[:1] != "_"]
        near = difflib.get_close_matches(attribute, known, 1)
        raise FunctionError(
            f"`{module_name}` has no {'function' if function else what} `{attribute}`",
            help=f"did you mean `{module_name}.{near[0]}`?"
            if near
            else _offers(owner, module_name)
            if function
            else f"is it made at the top of `{module_name}`?",
        )
    return found


def _article(thing: Any) -> str:
    return "a class" if inspect.isclass(thing) else f"a {type(thing).__name__}"


def _callables(module: types.ModuleType) -> list[str]:
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (inspect.isroutine(value) or (inspect.isclass(value) and hasattr(value, "restore")))
    ]


def _offers(module: types.ModuleType, name: str) -> str:
    own = [
        each
        for each in _callables(module)
        if getattr(vars(module)[each], "__module__", "") == module.__name__
    ]
    return f"functions of `{name}`: {', '.join(own)}" if own else f"`{name}` defines no functions"


def _import(module: str, path: str, what: str) -> types.ModuleType:
    known = module in sys.modules
    try:
        imported = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name and (module == error.name or module.startswith(error.name + ".")):
            raise FunctionError(
                f"no {what} `{path}`: there is no module `{error.name}`",
                help=f"a dotted path is looked up beside the main config file first: is {error.name}.py there?",
            ) from error
        raise FunctionError(
            f"`{module}` cannot be imported: {error} ({user_line(error)})",
            help=f"install `{error.name}` where filemill runs",
        ) from error
    except (Exception, SystemExit) as error:
        raise FunctionError(
            f"`{module}` cannot be imported: {type(error).__name__}: {error} ({user_line(error)})",
            help="run it by itself to see the whole error: python -c 'import " + module + "'",
        ) from error
    if not known:
        for note in ON_IMPORT:
            note()
    return imported
