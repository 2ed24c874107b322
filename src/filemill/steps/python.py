"""A user's function as a step, by dotted path (`steps.add_vat`)."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec
from pydantic import BaseModel, ConfigDict

from filemill.model.errors import FilemillError, PermanentError, Reject, TransientError
from filemill.model.plan import RetryPlan
from filemill.ports.step import Grain, StepContext, StepSpec, Uses
from filemill.step_api import Context, File, Tagged
from filemill.steps.streams import Row, Turns

if TYPE_CHECKING:
    import polars as pl

    from filemill.model.runs import RunOrder
    from filemill.records.batch import Batch
    from filemill.records.functions import Function

IN_WORKER = RetryPlan(attempts=3, min=0.1, max=2.0)
"""How a record that asks for a retry is tried again on the spot when the step has no `retry:` of its own."""
PATIENCE = 5.0
"""Seconds a worker waits for one record at most; a longer `Retry(after=)` goes to the queue with the whole run."""
CONCURRENCY = 16
"""How many calls of an `io` or `async` function overlap unless `concurrency:` says otherwise."""


class PythonOptions(BaseModel):
    """Whatever the function's signature asks for; the function's own model judges them."""

    model_config = ConfigDict(extra="allow", frozen=True)


class _Bad:
    """What a call gave for a record that is bad."""

    __slots__ = ("error", "message", "traceback")

    def __init__(self, error: str, message: str, traceback: str = "") -> None:
        self.error = error
        self.message = message
        self.traceback = traceback


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
        self.function: Function = load(context.plan.uses)
        self.options = self.function.convert(context.options.model_extra or {})
        self.grain = self.function.grain
        self._stream: Turns | None = None
        self._stream_file: int | None = None

    @classmethod
    def uses(cls, options: PythonOptions) -> Uses:  # noqa: ARG003
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
                return self._frame(batch)
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
        path = os.fsencode(made)
        folder_of, _, _ = order.file.relative.rpartition(b"/")
        name_of = os.path.basename(path)
        changed = msgspec.structs.replace(
            order.file,
            path=os.path.abspath(path),
            relative=folder_of + b"/" + name_of if folder_of else name_of,
            size=os.stat(path).st_size,
        )
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
        rows = batch.rows()
        contexts = self._contexts(batch) if self.function.takes_context else None
        limit = self.context.plan.concurrency or CONCURRENCY
        io = self.function.io if self.context.plan.io is None else self.context.plan.io
        if self.function.is_async:
            given = asyncio.run(self._all_async(rows, contexts, limit))
        elif io and len(rows) > 1:
            each = [None] * len(rows) if contexts is None else contexts
            with ThreadPoolExecutor(min(limit, len(rows))) as pool:
                given = list(pool.map(self._one, rows, each))
        elif contexts is None:
            given = self._plainly(rows)
        else:
            given = [self._one(row, ctx) for row, ctx in zip(rows, contexts, strict=True)]
        return self._collect(batch, given)

    def _plainly(self, rows: list[dict[str, Any]]) -> list[Any]:
        """The common case without a call in between."""
        call, options, given = self.function.call, self.options, []
        for row in rows:
            try:
                made = call(dict(row), **options)
            except Exception as error:  # noqa: BLE001 -- judged at once
                made = self._judge(error, row, None)
            given.append(made)
        return given

    def _one(self, row: dict[str, Any], ctx: Context | None) -> Any:
        try:
            return self._call(row, ctx)
        except Exception as error:  # noqa: BLE001 -- judged at once
            return self._judge(error, row, ctx)

    def _call(self, row: dict[str, Any], ctx: Context | None) -> Any:
        if ctx is None:
            return self.function.call(dict(row), **self.options)
        return self.function.call(dict(row), ctx=ctx, **self.options)

    def _judge(self, error: Exception, row: dict[str, Any], ctx: Context | None) -> Any:
        """What one call's error means: a bad record, or another try and in the end a transient error."""
        attempt = 1
        while is_transient(error):
            delay = self._delay(error, attempt)
            time.sleep(delay)
            attempt += 1
            try:
                return self._call(row, ctx)
            except Exception as again:  # noqa: BLE001 -- judged by the loop
                error = again
        return self._bad(error)

    async def _all_async(
        self, rows: list[dict[str, Any]], contexts: list[Context] | None, limit: int
    ) -> list[Any]:
        gate = asyncio.Semaphore(limit)

        async def one(at: int) -> Any:
            ctx = contexts[at] if contexts else None
            attempt = 1
            async with gate:
                while True:
                    try:
                        return await self._call(rows[at], ctx)
                    except Exception as error:  # noqa: BLE001 -- judged at once
                        if not is_transient(error):
                            return self._bad(error)
                        delay = self._delay(error, attempt)
                    await asyncio.sleep(delay)
                    attempt += 1

        tasks = [asyncio.ensure_future(one(at)) for at in range(len(rows))]
        try:
            return await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()

    def _delay(self, error: Exception, attempt: int) -> float:
        """Seconds until the next try (full jitter).

        Raises:
            TransientError: the tries or the patience are spent: the whole run goes back to the queue.
        """
        policy = self.context.plan.retry or IN_WORKER
        asked = error.retry_after if isinstance(error, TransientError) else None
        if attempt >= policy.attempts or (asked is not None and asked > PATIENCE):
            if isinstance(error, FilemillError):
                raise error
            raise TransientError(f"{type(error).__name__}: {error}") from error
        if asked is not None:
            return asked
        return random.uniform(0, min(policy.max, PATIENCE, policy.min * 2 ** (attempt - 1)))  # noqa: S311

    @staticmethod
    def _bad(error: Exception) -> _Bad:
        from filemill.records.functions import user_line, user_traceback  # noqa: PLC0415 -- as above

        if isinstance(error, Reject):
            return _Bad("Reject", error.message)
        name = type(error).__name__
        return _Bad(name, f"{name}: {error} ({user_line(error)})", user_traceback(error))

    def _collect(self, batch: Batch, given: list[Any]) -> Batch:
        """Sort what the calls gave into records, bad records and drops, and count."""
        made: list[Mapping[str, Any]] = []
        origin: list[int] = []
        tagged: list[tuple[int, tuple[str, ...]]] = []
        bad: dict[int, _Bad] = {}
        added: dict[int, int] = {}
        files = None
        for at, result in enumerate(given):
            if type(result) is dict:
                made.append(result)
                origin.append(at)
                continue
            if isinstance(result, _Bad):
                bad[at] = result
                continue
            several = _several(result)
            start = len(made)
            for item in several:
                row, tags = (item.row, item.tags) if isinstance(item, Tagged) else (item, ())
                if not isinstance(row, Mapping):
                    bad[at] = _Bad(
                        "TypeError",
                        f"the function returned {type(row).__name__}, not a dict, a list of dicts, or None",
                    )
                    del made[start:], origin[start:]
                    break
                if tags:
                    tagged.append((len(made), tags))
                made.append(row)
                origin.append(at)
            else:
                if len(several) > 1:
                    files = files or batch.frame["_file"].to_list()
                    added[files[at]] = added.get(files[at], 0) + len(several) - 1
                elif not several:
                    files = files or batch.frame["_file"].to_list()
                    self.context.count(filtered=1, file=files[at])
        for file, number in added.items():
            self.context.count(added=number, file=file)
        return self._rebuilt(batch, made, origin, tagged, bad)

    def _rebuilt(
        self,
        batch: Batch,
        made: list[Mapping[str, Any]],
        origin: list[int],
        tagged: list[tuple[int, tuple[str, ...]]],
        bad: dict[int, _Bad],
    ) -> Batch:
        from filemill.records.rows import problem  # noqa: PLC0415 -- keeps Polars out of `check`

        while True:
            keep = [at for at, of in enumerate(origin) if of not in bad] if bad else None
            chosen = made if keep is None else [made[at] for at in keep]
            of = origin if keep is None else [origin[at] for at in keep]
            flags = _flags(tagged, keep, len(made))
            try:
                result = batch.with_rows(chosen, of, flags)
            except (PermanentError, TypeError, ValueError):
                found = {o: why for row, o in zip(chosen, of, strict=True) if (why := problem(row))}
                if not found:
                    raise
                bad.update((at, _Bad("Value", why)) for at, why in found.items())
                continue
            self._report(batch, bad)
            return result

    def _report(self, batch: Batch, bad: dict[int, _Bad]) -> None:
        import polars as pl  # noqa: PLC0415 -- keeps Polars out of `check`

        for error in sorted({each.error for each in bad.values()}):
            rows = sorted(at for at, each in bad.items() if each.error == error)
            mask = pl.Series([False] * len(batch), dtype=pl.Boolean).scatter(rows, values=True)
            traceback = bad[rows[0]].traceback
            self.context.bad(batch, mask, error, [bad[at].message for at in rows], traceback)

    def _contexts(self, batch: Batch) -> list[Context]:
        orders, step = self.context.orders, self.context.plan.id
        files, numbers = batch.frame["_file"].to_list(), batch.frame["_record"].to_list()
        return [
            self._context(orders[file], step, record)
            for file, record in zip(files, numbers, strict=True)
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

    # A frame a call

    def _frame(self, batch: Batch) -> Batch:
        import polars as pl  # noqa: PLC0415 -- keeps Polars out of `check`

        names = batch.keys()
        before = batch.typed(names)
        numbers = pl.Series("_record", range(len(batch)), dtype=pl.Int64)
        extra: dict[str, Any] = {}
        if self.function.takes_context:
            extra["ctx"] = self._contexts(batch)[0]
        after = self.function.call(before.with_columns(numbers), **extra, **self.options)
        if not isinstance(after, pl.DataFrame):
            raise PermanentError(
                f"`{self.function.path}` returned {type(after).__name__}, not a polars.DataFrame",
                help="return the frame, changed or not",
            )
        if "_record" in after.columns:
            rows = after["_record"].to_list()
            after = after.drop("_record")
        elif after.height == before.height:
            rows = list(range(before.height))
        else:
            raise PermanentError(
                f"`{self.function.path}` was given {before.height} records and returned {after.height}, "
                "without saying which they are",
                help="keep the column `_record` of the frame it was given",
            )
        if any(each is None or not 0 <= each < before.height for each in rows):
            raise PermanentError(f"`{self.function.path}` returned a `_record` it was not given")
        if any(one >= other for one, other in pairwise(rows)):
            added = len(rows) - len(set(rows))
            self._count_frame(batch, rows, added)
            return batch.with_rows(after.to_dicts(), rows)
        if len(rows) < before.height:
            mask = pl.Series([False] * before.height, dtype=pl.Boolean).scatter(rows, values=True)
            batch, before = batch.where(mask), before.filter(mask)
        return self._columns(batch, before, after)

    def _count_frame(self, batch: Batch, rows: list[int], added: int) -> None:
        """Where records were both dropped and doubled, count each by file."""
        if not added:
            return
        files = batch.frame["_file"].to_list()
        seen: set[int] = set()
        for row in rows:
            if row in seen:
                self.context.count(added=1, file=files[row])
            seen.add(row)
        for row, file in enumerate(files):
            if row not in seen:
                self.context.count(filtered=1, file=file)

    def _columns(self, batch: Batch, before: pl.DataFrame, after: pl.DataFrame) -> Batch:
        """Take over what the function changed, and only that."""
        for name in after.columns:
            new = after[name]
            if name not in before.columns:
                batch = batch.with_column(name, new)
                continue
            old = before[name]
            if old.dtype != new.dtype:
                batch = batch.with_column(name, new)
            elif (changed := old.ne_missing(new)).any():
                batch = batch.with_column(name, new, changed)
        fresh = [name for name in after.columns if name not in before.columns]
        if after.columns != [*before.columns, *fresh]:
            batch = batch.select([(name, None) for name in after.columns])
        return batch

    # A whole file's records in order

    def _feed(self, batch: Batch) -> Batch:
        rows = batch.rows()
        made: list[tuple[Any, tuple[Any, int]]] = []
        for file, start, stop in batch.split_files():
            if file != self._stream_file:
                made += self._finish_file()
                self._stream = self._open(file)
                self._stream_file = file
            assert self._stream is not None  # noqa: S101 -- opened with its file
            made += self._stream.feed([Row(rows[at], (batch, at)) for at in range(start, stop)])
        return self._assembled(made, batch)

    def _open(self, file: int) -> Turns:
        extra: dict[str, Any] = {}
        if self.function.takes_context:
            extra["ctx"] = self._context(self.context.orders[file], self.context.plan.id, 0)
        call: Callable[..., Any] = self.function.call
        return Turns(lambda given: call(given, **extra, **self.options))

    def _finish_file(self) -> list[tuple[Any, tuple[Any, int]]]:
        stream, self._stream, self._stream_file = self._stream, None, None
        return [] if stream is None else stream.finish()

    def _end_stream(self) -> Batch | None:
        made = self._finish_file()
        return self._assembled(made, None) if made else None

    def _assembled(self, made: list[tuple[Any, tuple[Any, int]]], batch: Batch | None) -> Batch:
        """What the function yielded as a batch; records held back come of earlier batches."""
        from filemill.records.merging import concat  # noqa: PLC0415 -- keeps Polars out of `check`

        parts: list[Batch] = []
        at = 0
        while at < len(made):
            of = made[at][1][0]
            stop = at
            while stop < len(made) and made[stop][1][0] is of:
                stop += 1
            parts.append(self._part(of, made[at:stop]))
            at = stop
        if not parts:
            assert batch is not None  # noqa: S101 -- without one there is something made
            return batch.with_rows([], [])
        return parts[0] if len(parts) == 1 else concat(parts)

    def _part(self, batch: Batch, made: list[tuple[Any, tuple[Any, int]]]) -> Batch:
        rows: list[Mapping[str, Any]] = []
        tagged: list[tuple[int, tuple[str, ...]]] = []
        for item, _ in made:
            row, tags = (item.row, item.tags) if isinstance(item, Tagged) else (item, ())
            if not isinstance(row, Mapping):
                raise PermanentError(
                    f"`{self.function.path}` yielded {type(row).__name__}, not a dict",
                    help="yield one dict a record",
                )
            if tags:
                tagged.append((len(rows), tags))
            rows.append(row)
        return batch.with_rows(rows, [at for _, (_, at) in made], _flags(tagged, None, len(rows)))


def is_transient(error: BaseException) -> bool:
    """Say whether an error may go away by itself: a `Retry`, a time-out, a connection, an OSError with an errno."""
    if isinstance(error, FilemillError):
        return isinstance(error, TransientError)
    if isinstance(error, TimeoutError | ConnectionError):
        return True
    return isinstance(error, OSError) and error.errno is not None


def _several(result: Any) -> list[Any]:
    if result is None:
        return []
    if isinstance(result, Mapping | Tagged | str | bytes):
        return [result]
    return list(result) if isinstance(result, Iterable) else [result]


def _flags(
    tagged: list[tuple[int, tuple[str, ...]]], keep: list[int] | None, height: int
) -> dict[str, list[bool]] | None:
    """One Boolean column a tag over the rows that are kept."""
    if not tagged:
        return None
    flags: dict[str, list[bool]] = {}
    for at, tags in tagged:
        for tag in tags:
            flags.setdefault(tag, [False] * height)[at] = True
    if keep is None:
        return flags
    return {tag: [column[at] for at in keep] for tag, column in flags.items()}
