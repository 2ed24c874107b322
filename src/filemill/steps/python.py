"""A user's function as a step, by dotted path (`steps.add_vat`)."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import groupby
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec
from pydantic import BaseModel, ConfigDict

from filemill.model.errors import PermanentError
from filemill.ports.step import Grain, StepContext, StepSpec, Uses
from filemill.step_api import Context, File, Tagged
from filemill.steps import frames
from filemill.steps.calls import Bad, RecordCalls
from filemill.steps.streams import Assembly, Origin, Row, Turns

if TYPE_CHECKING:
    from filemill.model.runs import RunOrder
    from filemill.records.batch import Batch
    from filemill.records.functions import Function
    from filemill.records.rows import Rows


class PythonOptions(BaseModel):
    """Whatever the function's signature asks for; the function's own model judges them."""

    model_config = ConfigDict(extra="allow", frozen=True)


class PythonStep:
    """Calls the function with what its first argument's annotation asks for."""

    spec: ClassVar[StepSpec] = StepSpec(
        name="python",
        summary="A Python function of your own, by its dotted path.",
        example="- steps.add_vat: {rate: 0.2}",
        makes_tags=True,
    )
    Options: ClassVar[type[BaseModel]] = PythonOptions

    def __init__(self, context: StepContext) -> None:
        from filemill.records.functions import load  # noqa: PLC0415 -- imports users' code: workers only

        self.context = context
        path, options = self.called(context.plan.uses, context.options)
        self.function: Function = load(path)
        self.options = self.function.convert(options)
        self.grain = self.function.grain
        self._stream: Turns | None = None
        self._stream_file: int | None = None
        self._object: Any = None
        """Of a class: what sees the file at hand."""
        self._object_file: int | None = None

    @classmethod
    def called(cls, uses: str, options: Any) -> tuple[str, dict[str, Any]]:
        """The function's path and its options; a step that has this method calls a user's function."""
        return uses, options.model_extra or {}

    @classmethod
    def uses(cls, options: Any) -> Uses:  # noqa: ARG003
        """Nothing that a configuration could name."""
        return Uses()

    def apply(self, batch: Batch) -> Batch:
        """The batch after the function has seen it."""
        if not len(batch):
            return batch
        match self.grain:
            case Grain.RECORD:
                return self._each(batch)
            case Grain.FRAME:
                extra = (
                    {"ctx": self._contexts(batch)(0, 1)[0]} if self.function.takes_context else {}
                )
                return frames.through(self.context, self.function, {**extra, **self.options}, batch)
            case _:
                return self._feed(batch)

    def change(self, number: int, folder: str) -> RunOrder:
        """Hand one whole file to a `File` function; its order, with the file it gave in place of the old one."""
        order = self.context.orders[number]
        name = os.fsdecode(order.file.name)
        given = os.path.join(folder, name)
        shutil.copyfile(order.file.path, given)
        os.chmod(given, 0o400)
        file = File(
            given,
            name=name,
            id=order.file.file,
            size=order.file.size,
            tags=frozenset(order.file.tags),
            attributes=order.file.attributes,
            media=order.file.media,
            arrived_ns=order.file.arrived_ns,
        )
        extra: dict[str, Any] = {}
        if self.function.takes_context:
            extra["ctx"] = self._context(order, self.context.plan.id, 0)
        made = self.function.call(file, **extra, **self.options)
        if made is None or made is file:
            return order
        if not isinstance(made, str | os.PathLike):
            raise PermanentError(
                f"`{self.function.path}` returned {type(made).__name__}, not a path or None",
                help="return the path of the file it made, or None to leave the file as it is",
            )
        path = os.path.abspath(os.fsencode(made))
        changed = order.file.replaced(path, os.stat(path).st_size, os.path.basename(path))
        return msgspec.structs.replace(order, file=changed)

    def close(self) -> Batch | None:
        """What a stream function still held back of the last file."""
        return self._end_stream()

    def abandon(self) -> None:
        """The batch failed elsewhere: end a stream function where it stands."""
        if self._stream is not None:
            self._stream.abandon()
            self._stream = None

    # One record a call

    def _each(self, batch: Batch) -> Batch:
        from filemill.records.rows import AT_A_TIME, rows_of  # noqa: PLC0415 -- keeps Polars out of `check`

        calls = RecordCalls(self.context.plan, self.function, self.options)
        # Calls that overlap do so within what they are given at a time.
        at_a_time = len(batch) if calls.overlap else AT_A_TIME
        rows, contexts = rows_of(batch), self._contexts(batch)
        made = _Made(batch, rows)
        for start, stop in self._stretches(batch, at_a_time):
            on = calls.on(self._object) if self.function.stateful else calls
            given = contexts(start, stop) if self.function.takes_context else None
            made.note(start, on.of(rows, start, stop, given))
        result = made.batch()
        self._report(batch, made.bad)
        self._count(batch, made)
        return result

    def _stretches(self, batch: Batch, at_a_time: int) -> Iterator[tuple[int, int]]:
        """Where the calls that are made at a time begin and end; of a class, each within one file, for its object."""
        files = [(0, 0, len(batch))]
        if self.function.stateful:
            files = batch.split_files()
        for file, first, last in files:
            if self.function.stateful and file != self._object_file:
                self._begin(file)
            for start in range(first, last, at_a_time):
                yield start, min(start + at_a_time, last)

    def _begin(self, file: int) -> Any:
        """A new object for the file of this order index."""
        self._object, self._object_file = self.function.call(**self.options), file
        return self._object

    def state(self) -> bytes:
        """What `restore` needs to go on with the file at hand, as the user's object says it.

        Raises:
            PermanentError: it says something else than bytes.
        """
        state = (self._object if self._object_file == 0 else self._begin(0)).state()
        if not isinstance(state, bytes):
            raise PermanentError(
                f"`state` of `{self.function.path}` returned {type(state).__name__}, not bytes",
                help="encode it, for example by json.dumps(...).encode()",
            )
        return state

    def restore(self, state: bytes, order: int = 0) -> None:
        """Go on where another step of the same options stood, in the file of this order index."""
        self._begin(order).restore(state)

    def _count(self, batch: Batch, made: _Made) -> None:
        """Tell the books, by file, what was dropped and added; without either there is nothing to tell."""
        if not made.several and not made.none:
            return
        files = batch.frame["_file"].to_list()
        for at in made.none:
            self.context.count(filtered=1, file=files[at])
        for at, number in made.several.items():
            if at not in made.bad:
                self.context.count(added=number - 1, file=files[at])

    def _report(self, batch: Batch, bad: Mapping[int, Bad]) -> None:
        import polars as pl  # noqa: PLC0415 -- keeps Polars out of `check`

        for error in sorted({each.error for each in bad.values()}):
            rows = sorted(at for at, each in bad.items() if each.error == error)
            mask = pl.Series([False] * len(batch), dtype=pl.Boolean).scatter(rows, values=True)
            traceback = bad[rows[0]].traceback
            self.context.bad(batch, mask, error, [bad[at].message for at in rows], traceback)

    def _contexts(self, batch: Batch) -> Callable[[int, int], list[Context]]:
        """What makes the contexts of the records from one up to another."""
        orders, step = self.context.orders, self.context.plan.id
        files, numbers = batch.frame["_file"], batch.frame["_record"]
        return lambda start, stop: [
            self._context(orders[file], step, record)
            for file, record in zip(files[start:stop], numbers[start:stop], strict=True)
        ]

    @staticmethod
    def _context(order: Any, step: str, record: int) -> Context:
        key = hashlib.sha256(f"{order.run}\0{step}\0{record}".encode()).hexdigest()[:32]
        return Context(
            key,
            run=order.run,
            step=step,
            file=order.file.relative.decode("utf-8", "surrogateescape"),
            record=record,
            tags=frozenset(order.file.tags),
        )

    # A whole file's records in order

    def _feed(self, batch: Batch) -> Batch:
        from filemill.records.rows import AT_A_TIME, rows_of  # noqa: PLC0415 -- keeps Polars out of `check`

        rows, made = rows_of(batch), Assembly(self.function.path)
        for file, first, last in batch.split_files():
            if file != self._stream_file:
                made.take(self._finish_file())
                self._stream = self._open(file)
                self._stream_file = file
            assert self._stream is not None  # noqa: S101 -- opened with its file
            for start in range(first, last, AT_A_TIME):
                given = rows.take(start, min(start + AT_A_TIME, last))
                made.take(
                    self._stream.feed(
                        [Row(row, (batch, at)) for at, row in enumerate(given, start)]
                    )
                )
        whole = made.batch()
        return batch.picked([]) if whole is None else whole

    def _open(self, file: int) -> Turns:
        extra: dict[str, Any] = {}
        if self.function.takes_context:
            extra["ctx"] = self._context(self.context.orders[file], self.context.plan.id, 0)
        call: Callable[..., Any] = self.function.call
        return Turns(lambda given: call(given, **extra, **self.options))

    def _finish_file(self) -> list[tuple[Any, Origin]]:
        stream, self._stream, self._stream_file = self._stream, None, None
        return [] if stream is None else stream.finish()

    def _end_stream(self) -> Batch | None:
        made = Assembly(self.function.path)
        made.take(self._finish_file())
        return made.batch()


class _Made:
    """What the calls of one batch gave, sorted into records, bad records and drops."""

    def __init__(self, batch: Batch, rows: Rows) -> None:
        from filemill.records.rows import writer_of  # noqa: PLC0415 -- keeps Polars out of `check`

        self.bad: dict[int, Bad] = {}
        self.none: list[int] = []
        self.several: dict[int, int] = {}
        """Record to the number of records it became, if more than one."""
        self._writer = writer_of(batch, rows)
        self._tags: dict[int, list[tuple[str, ...]]] = {}
        """By record of which one has tags: those of each that it became."""

    def note(self, start: int, results: list[Any]) -> None:
        """Take in what the calls gave for the records from `start` on."""
        if set(map(type, results)) == {dict}:
            self._writer.take(results, range(start, start + len(results)))
            return
        rows: list[Mapping[str, Any]] = []
        origin: list[int] = []
        for at, result in enumerate(results, start):
            made = self._rows_of(at, result)
            rows += made
            origin += [at] * len(made)
        self._writer.take(rows, origin)

    def _rows_of(self, at: int, result: Any) -> list[Mapping[str, Any]]:
        if type(result) is dict:
            return [result]
        if isinstance(result, Bad):
            self.bad[at] = result
            return []
        items = _several(result)
        rows = [item.row if isinstance(item, Tagged) else item for item in items]
        for row in rows:
            if not isinstance(row, Mapping):
                why = f"the function returned {type(row).__name__}, not a dict, a list of dicts, or None"
                self.bad[at] = Bad("TypeError", why)
                return []
        if any(isinstance(item, Tagged) for item in items):
            self._tags[at] = [item.tags if isinstance(item, Tagged) else () for item in items]
        if not rows:
            self.none.append(at)
        elif len(rows) > 1:
            self.several[at] = len(rows)
        return rows

    def batch(self) -> Batch:
        """The batch of the good records; one that cannot be written makes its origin bad."""
        from filemill.records.rows import tagged  # noqa: PLC0415 -- keeps Polars out of `check`

        made, origin = self._writer.batch()
        self.bad |= {at: Bad("Value", why) for at, why in self._writer.bad.items()}
        if not self._tags:
            return made
        tags: list[tuple[str, ...]] = []
        for at, group in groupby(origin):
            tags += self._tags.get(at) or [()] * len(list(group))
        return tagged(made, tags)


def _several(result: Any) -> list[Any]:
    if result is None:
        return []
    if isinstance(result, Mapping | Tagged | str | bytes):
        return [result]
    return list(result) if isinstance(result, Iterable) else [result]
