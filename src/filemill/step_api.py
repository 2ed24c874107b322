"""The words of a user's own step: `from filemill import step, Reject, Retry, Tagged, File`.

A step is a plain function. The annotation of its first argument says what one call sees: `dict` one record,
`Iterable[dict]` all records of the file in order, `polars.DataFrame` a batch of records, `File` the whole file.
Keyword-only arguments are its options. A function works as a step with or without `@step`; the decorator only
adds what the signature cannot say.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar, overload

from filemill.model.errors import Reject, Retry

if TYPE_CHECKING:
    from filemill.pipeline_api import Step

__all__ = ["Context", "File", "Reject", "Retry", "StepFunction", "StepMarks", "Tagged", "step"]

_Given = ParamSpec("_Given")
_Made_co = TypeVar("_Made_co", covariant=True)
MARKS = "__filemill_step__"
"""The attribute under which `@step` leaves its marks."""


class StepMarks:
    """What `@step(...)` says beyond the signature."""

    __slots__ = ("io", "name", "summary")

    def __init__(self, *, name: str = "", summary: str = "", io: bool = False) -> None:
        self.name = name
        self.summary = summary
        self.io = io


class StepFunction(Protocol[_Given, _Made_co]):
    """A function marked as a step: called as it always was, and placed in a pipeline by `opts`."""

    __name__: str

    def __call__(self, *args: _Given.args, **kwargs: _Given.kwargs) -> _Made_co:
        """Call the function."""
        ...

    def opts(self, **options: Any) -> Step:
        """The function as a step of a pipeline, with these options.

        Raises:
            UsageError: it has no option of that name, with a did-you-mean.
        """
        ...


@overload
def step(function: Callable[_Given, _Made_co], /) -> StepFunction[_Given, _Made_co]: ...
@overload
def step(
    *, name: str = "", summary: str = "", io: bool = False
) -> Callable[[Callable[_Given, _Made_co]], StepFunction[_Given, _Made_co]]: ...


def step(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str = "",
    summary: str = "",
    io: bool = False,
) -> Any:
    """Mark a function as a step; it stays the plain function it was, and gets `opts`.

    Shape: `@step` or `@step(io=True)`. `io` says that a call mostly waits (a network, a disk), so that calls
    may overlap; `summary` stands in place of the docstring's first line.
    """

    def mark(marked: Callable[..., Any]) -> Any:
        setattr(marked, MARKS, StepMarks(name=name, summary=summary, io=io))
        setattr(marked, "opts", partial(_opts, marked))  # noqa: B010 -- `StepFunction` says so
        return marked

    return mark if function is None else mark(function)


def _opts(function: Callable[..., Any], /, **options: Any) -> Step:
    from filemill.pipeline_api import of_function, spot  # noqa: PLC0415 -- only who writes pipelines needs it

    return of_function(function, options, spot(1))


class Tagged:
    """A record with tags to add: `return Tagged(row, "vip", "late")`."""

    __slots__ = ("row", "tags")

    def __init__(self, row: Mapping[str, Any], *tags: str) -> None:
        self.row = row
        self.tags = tags

    def __repr__(self) -> str:
        return f"Tagged({self.row!r}, {', '.join(map(repr, self.tags))})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tagged) and (self.row, self.tags) == (other.row, other.tags)

    __hash__ = None  # type: ignore[assignment]


class File:
    """One whole file, to read: `path` is a private read-only copy that keeps the file's suffix."""

    __slots__ = ("arrived_ns", "attributes", "id", "media", "name", "path", "size", "tags")

    def __init__(
        self,
        path: str,
        *,
        name: str = "",
        id: str = "",  # noqa: A002 -- the word users read
        size: int = 0,
        tags: frozenset[str] = frozenset(),
        attributes: Mapping[str, str] | None = None,
        media: str = "",
        arrived_ns: int = 0,
    ) -> None:
        self.path = path
        self.name = name or path.rsplit("/", 1)[-1]
        self.id = id
        self.size = size
        self.tags = tags
        self.attributes = dict(attributes or {})
        self.media = media
        self.arrived_ns = arrived_ns

    def __fspath__(self) -> str:
        return self.path

    def __repr__(self) -> str:
        return f"File({self.path!r}, name={self.name!r}, size={self.size})"


class Context:
    """What a step function that takes `ctx` may ask.

    `key` is the same for the same record, step and run at every try, and for no other: give it to a
    service as its idempotency key.
    """

    __slots__ = ("file", "key", "record", "run", "step", "tags")

    def __init__(
        self,
        key: str,
        *,
        run: str = "",
        step: str = "",
        file: str = "",
        record: int = 0,
        tags: frozenset[str] = frozenset(),
    ) -> None:
        self.key = key
        self.run = run
        self.step = step
        self.file = file
        """The file's path below its source."""
        self.record = record
        """The record's number in its file, from 1; 0 for a whole file or batch."""
        self.tags = tags
        """The file's tags."""
