"""Users' functions as steps: found by dotted path, understood by their signature. Only in workers.

The first argument's annotation sets the grain, keyword-only arguments are the options, a keyword-only `ctx` is filled
in. Annotations are resolved as a type checker would; a name that exists only under `TYPE_CHECKING` is a
configuration error with help, because at run time nobody can say what it means.
"""

from __future__ import annotations

import collections.abc
import difflib
import inspect
import sys
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, PydanticUserError, ValidationError, create_model

from filemill.ports.step import Form, Grain, Scope, StepSpec
from filemill.records.finding import FunctionError, find_step
from filemill.step_api import MARKS, File, StepMarks

_STREAMS = (
    collections.abc.Iterable,
    collections.abc.Iterator,
    collections.abc.Sequence,
    collections.abc.Collection,
)
_ANNOTATE = (
    "annotate its first argument: `row: dict` for one record, `rows: Iterable[dict]` for all records of the "
    "file, `frame: polars.DataFrame` for a batch, `file: File` for the whole file"
)


class Function:
    """One user's function, understood; or a class of theirs, each of whose objects is one for a single file.

    Raises:
        FunctionError: it cannot be imported or found, or its signature says too little; with help.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.call: Callable[..., Any] = find_step(path)
        """The function. Of a class the class itself: with the options it makes what is called."""
        self.stateful = inspect.isclass(self.call)
        """One of its objects sees a file's records in order, and can hand what it has seen to another one."""
        marks = getattr(self.call, MARKS, None)
        self.marks = marks if isinstance(marks, StepMarks) else StepMarks()
        called = getattr(self.call, "__call__") if self.stateful else self.call  # noqa: B004, B009
        self.is_async = inspect.iscoroutinefunction(called)
        first, options = _split(_signature(called, path, bound=self.stateful), path)
        hints = _hints(called, path)
        if first.name not in hints:
            raise FunctionError(
                f"`{path}`: the argument `{first.name}` has no annotation, so nobody knows what one call sees",
                help=_ANNOTATE,
            )
        self.grain = _grain(hints[first.name], path, first.name)
        self.takes_context = "ctx" in options
        options.pop("ctx", None)
        if self.stateful:
            self._check_state(options)
            options, hints = _made_with(self.call, path), _hints(self.call.__init__, path)
        self.options = _options_model(path, options, hints)
        if self.is_async and self.grain is not Grain.RECORD:
            raise FunctionError(
                f"`{path}`: `async def` is for functions of one record",
                help="take `row: dict`, or write a plain `def`",
            )

    @property
    def io(self) -> bool:
        """Say whether calls may overlap."""
        return self.is_async or self.marks.io

    @property
    def scope(self) -> Scope:
        """What one call may depend on."""
        if self.stateful or self.grain in (Grain.STREAM, Grain.FILE):
            return Scope.FILE
        return Scope.BATCH if self.grain is Grain.FRAME else Scope.RECORD

    def _check_state(self, options: Mapping[str, Any]) -> None:
        """A class that has a state sees one record at a time, each call after the one before."""
        if self.grain is not Grain.RECORD or self.io:
            raise FunctionError(
                f"`{self.path}`: a class with a state is called with one record after the other",
                help="write `def __call__(self, row: dict)`, without `async` and `io`",
            )
        if options:
            name = next(iter(options))
            raise FunctionError(
                f"`{self.path}`: `__call__` takes `{name}`, which nobody gives it",
                help="a class has its options from its `__init__`, as keyword-only arguments",
            )

    def spec(self) -> StepSpec:
        """What the function says of itself, its options' JSON Schema included."""
        name = self.marks.name or self.path.rsplit(".", 1)[-1]
        document = inspect.getdoc(self.call) or ""
        form = Form.FILE if self.grain is Grain.FILE else Form.RECORDS
        return StepSpec(
            name=name,
            summary=self.marks.summary or document.split("\n", 1)[0],
            example=f"- {self.path}",
            takes=form,
            gives=form,
            grain=self.grain,
            scope=self.scope,
            io=self.io,
            makes_tags=self.grain in (Grain.RECORD, Grain.STREAM),
            options_schema=self.options.model_json_schema(),
            origin=_origin(self.call),
        )

    def convert(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The options as the types the signature asks for, keyed by argument; defaults left to the function.

        Raises:
            FunctionError: for the first wrong or unknown one, with a did-you-mean.
        """
        try:
            model = self.options.model_validate(dict(options))
        except ValidationError as error:
            raise self._wrong_option(error) from error
        return {name: getattr(model, name) for name in model.model_fields_set}

    def plain(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The converted options in builtins, as a plan carries them.

        Raises:
            FunctionError: as `convert`.
        """
        try:
            model = self.options.model_validate(dict(options))
        except ValidationError as error:
            raise self._wrong_option(error) from error
        return model.model_dump(mode="json", exclude_unset=True)

    def _wrong_option(self, error: ValidationError) -> FunctionError:
        first = error.errors()[0]
        where = tuple(str(part) for part in first["loc"])
        name = where[0] if where else ""
        known = list(self.options.model_fields)
        if first["type"] == "extra_forbidden":
            near = difflib.get_close_matches(name, known, 1)
            return FunctionError(
                f"`{self.path}` has no option `{name}`",
                help=f"did you mean `{near[0]}`?" if near else _known(known),
                option=where,
            )
        if first["type"] == "missing":
            return FunctionError(
                f"`{self.path}` needs the option `{name}`",
                help="it has no default in the function's signature",
                option=where,
            )
        return FunctionError(f"`{self.path}`: option `{name}`: {first['msg']}", option=where)


def _known(names: list[str]) -> str:
    if not names:
        return (
            "it takes no options: those are keyword-only arguments, behind a `*` in the signature"
        )
    return "its options: " + ", ".join(f"`{name}`" for name in names)


def _signature(
    function: Callable[..., Any], path: str, *, bound: bool = False
) -> inspect.Signature:
    """Its signature; without `self`, if it will be `bound`."""
    try:
        signature = inspect.signature(function)
        if not bound:
            return signature
        return signature.replace(parameters=list(signature.parameters.values())[1:])
    except (TypeError, ValueError) as error:
        raise FunctionError(f"`{path}` shows no signature", help="wrap it in a `def`") from error


def _split(
    signature: inspect.Signature, path: str
) -> tuple[inspect.Parameter, dict[str, inspect.Parameter]]:
    """The first argument and the options."""
    positional, options = [], {}
    for parameter in signature.parameters.values():
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            positional.append(parameter)
        elif parameter.kind is parameter.KEYWORD_ONLY:
            options[parameter.name] = parameter
        else:
            raise FunctionError(
                f"`{path}` takes `*{parameter.name}`, so nobody knows its options",
                help="name each option as a keyword-only argument, behind a `*`",
            )
    if not positional:
        raise FunctionError(f"`{path}` takes nothing to work on", help=_ANNOTATE)
    for extra in positional[1:]:
        if extra.name == "ctx":
            options["ctx"] = extra
            continue
        raise FunctionError(
            f"`{path}`: the argument `{extra.name}` is neither the record nor an option",
            help=f"options are keyword-only: def {signature_hint(path)}({positional[0].name}, *, {extra.name}=...)",
        )
    return positional[0], options


def _made_with(made: Callable[..., Any], path: str) -> dict[str, inspect.Parameter]:
    """The options with which an object of a class is made."""
    options: dict[str, inspect.Parameter] = {}
    for parameter in _signature(made, path).parameters.values():
        if parameter.kind is not parameter.KEYWORD_ONLY:
            raise FunctionError(
                f"`{path}`: the argument `{parameter.name}` of `__init__` is no option",
                help=f"options are keyword-only: def __init__(self, *, {parameter.name}=...)",
            )
        options[parameter.name] = parameter
    return options


def signature_hint(path: str) -> str:
    """The function's own name."""
    return path.rsplit(".", 1)[-1]


def _hints(function: Callable[..., Any], path: str) -> dict[str, Any]:
    try:
        return typing.get_type_hints(inspect.unwrap(function), include_extras=True)
    except NameError as error:
        name = error.name or "?"
        raise FunctionError(
            f"`{path}`: the annotation `{name}` does not exist when the program runs",
            help=f"import `{name}` outside `if TYPE_CHECKING:`, since the annotation says what one call sees",
        ) from error
    except Exception as error:
        raise FunctionError(f"`{path}`: its annotations cannot be read: {error}") from error


def _grain(annotation: Any, path: str, argument: str) -> Grain:
    if typing.get_origin(annotation) is typing.Annotated:
        annotation = typing.get_args(annotation)[0]
    origin = typing.get_origin(annotation) or annotation
    if origin in (dict, collections.abc.Mapping, collections.abc.MutableMapping):
        return Grain.RECORD
    if typing.is_typeddict(origin):
        return Grain.RECORD
    if origin in _STREAMS:
        inner = typing.get_args(annotation)
        of = typing.get_origin(inner[0]) or inner[0] if inner else None
        if of in (dict, collections.abc.Mapping, collections.abc.MutableMapping):
            return Grain.STREAM
        raise FunctionError(
            f"`{path}`: `{argument}: {_text(annotation)}` does not say of what",
            help="write Iterable[dict]",
        )
    if origin is File:
        return Grain.FILE
    polars = sys.modules.get("polars")
    if polars is not None and origin is polars.DataFrame:
        return Grain.FRAME
    raise FunctionError(
        f"`{path}`: `{argument}: {_text(annotation)}` is nothing a step can work on", help=_ANNOTATE
    )


def _text(annotation: Any) -> str:
    return annotation.__name__ if inspect.isclass(annotation) else str(annotation)


def _options_model(
    path: str, options: Mapping[str, inspect.Parameter], hints: Mapping[str, Any]
) -> type[BaseModel]:
    fields: dict[str, Any] = {}
    for name, parameter in options.items():
        default = ... if parameter.default is parameter.empty else parameter.default
        guess = Any if default in (..., None) else type(default)
        fields[name] = (hints.get(name, guess), default)
    try:
        return create_model(
            f"{signature_hint(path)}_options",
            __config__=ConfigDict(extra="forbid", arbitrary_types_allowed=False),
            **fields,
        )
    except (PydanticUserError, NameError, TypeError) as error:
        raise FunctionError(
            f"`{path}`: an option has a type that configuration cannot give: {str(error).split(chr(10))[0]}",
            help="options are numbers, text, booleans, lists, dicts, dates, durations, or pydantic models",
        ) from error


def _origin(function: Callable[..., Any]) -> str:
    try:
        return inspect.getsourcefile(inspect.unwrap(function)) or "built-in"
    except TypeError:
        return "built-in"


_LOADED: dict[str, tuple[types.ModuleType | None, Function]] = {}


def load(path: str) -> Function:
    """The function at a dotted path, understood once for as long as its module stays imported.

    Raises:
        FunctionError: as `Function`.
    """
    module = sys.modules.get(path.rpartition(".")[0])
    known = _LOADED.get(path)
    if known is None or module is None or known[0] is not module:
        function = Function(path)
        known = _LOADED[path] = (sys.modules.get(path.rpartition(".")[0]), function)
    return known[1]
