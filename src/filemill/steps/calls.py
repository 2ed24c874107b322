"""Calling a function once per record: overlapping where it waits, tried again where that may help, judged at once."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count, repeat
from typing import TYPE_CHECKING, Any

from filemill.model.errors import FilemillError, Reject, TransientError
from filemill.model.plan import RetryPlan, StepPlan
from filemill.step_api import Context, Tagged

if TYPE_CHECKING:
    from filemill.records.functions import Function
    from filemill.records.rows import Rows

Again = Callable[[int], dict[str, Any]]
"""What makes the row of a call anew: the call before may have changed the one it was given."""

IN_WORKER = RetryPlan(attempts=3, min=0.1, max=2.0)
"""How a record that asks for a retry is tried again on the spot when the step has no `retry:` of its own."""
PATIENCE = 5.0
"""Seconds a worker waits for one record at most; a longer `Retry(after=)` goes to the queue with the whole run."""
CONCURRENCY = 16
"""How many calls of an `io` or `async` function overlap unless `concurrency:` says otherwise."""


class Bad:
    """What a call gave for a record that is bad."""

    __slots__ = ("error", "message", "traceback")

    def __init__(self, error: str, message: str, traceback: str = "") -> None:
        self.error = error
        self.message = message
        self.traceback = traceback


class RecordCalls:
    """One step's calls. What they give is in the records' order, a `Bad` for each record that is bad."""

    def __init__(self, plan: StepPlan, function: Function, options: dict[str, Any]) -> None:
        self.plan = plan
        self.function = function
        self.call = function.call
        self.options = options

    def on(self, made: Callable[..., Any]) -> RecordCalls:
        """The same calls on an object that the function, a class, made."""
        calls = RecordCalls(self.plan, self.function, {})
        calls.call = made
        return calls

    @property
    def overlap(self) -> bool:
        """Say whether calls wait beside one another."""
        io = self.function.io if self.plan.io is None else self.plan.io
        return self.function.is_async or (io and not self.function.stateful)

    def of(
        self, rows: Rows, start: int, stop: int, contexts: Sequence[Context] | None
    ) -> list[Any]:
        """Call the function with each row from `start` to `stop`, and its context if it takes one.

        Raises:
            TransientError: a record's tries are spent, or it asks for a longer wait than a worker has patience for.
        """
        given = rows.take(start, stop)

        def again(at: int) -> dict[str, Any]:
            return rows.take(start + at, start + at + 1)[0]

        limit = self.plan.concurrency or CONCURRENCY
        if self.function.is_async:
            return asyncio.run(self._all_async(given, contexts, again, limit))
        if contexts is None and not self.overlap:
            return self._plainly(given, again)
        each = [None] * len(given) if contexts is None else contexts
        if self.overlap and len(given) > 1:
            with ThreadPoolExecutor(min(limit, len(given))) as pool:
                return list(pool.map(self._one, given, each, repeat(again), count()))
        return list(map(self._one, given, each, repeat(again), count()))

    def _plainly(self, rows: list[dict[str, Any]], again: Again) -> list[Any]:
        """The common case without a call in between."""
        call, options = self.call, self.options
        given: list[Any] = []
        for row in rows:
            try:
                made = as_given(call(row, **options))
            except Exception as error:  # noqa: BLE001 -- judged at once
                made = self._judge(error, None, again, len(given))
            given.append(made)
        return given

    def _one(self, row: dict[str, Any], ctx: Context | None, again: Again, at: int) -> Any:
        try:
            return self._call(row, ctx)
        except Exception as error:  # noqa: BLE001 -- judged at once
            return self._judge(error, ctx, again, at)

    def _call(self, row: dict[str, Any], ctx: Context | None) -> Any:
        if ctx is None:
            return as_given(self.call(row, **self.options))
        return as_given(self.call(row, ctx=ctx, **self.options))

    def _judge(self, error: Exception, ctx: Context | None, again: Again, at: int) -> Any:
        """What one call's error means: a bad record, or another try and in the end a transient error.

        Memory that ran out is no fault of the record's: it ends the run.
        """
        if isinstance(error, MemoryError):
            raise error
        attempt = 1
        while is_transient(error):
            delay = self._delay(error, attempt)
            time.sleep(delay)
            attempt += 1
            try:
                return self._call(again(at), ctx)
            except Exception as once_more:  # noqa: BLE001 -- judged by the loop
                error = once_more
        return self._bad(error)

    async def _all_async(
        self,
        rows: list[dict[str, Any]],
        contexts: Sequence[Context] | None,
        again: Again,
        limit: int,
    ) -> list[Any]:
        gate = asyncio.Semaphore(limit)

        async def one(at: int) -> Any:
            ctx = contexts[at] if contexts else None
            row = rows[at]
            attempt = 1
            async with gate:
                while True:
                    try:
                        return as_given(await self._call(row, ctx))
                    except MemoryError:
                        raise
                    except Exception as error:  # noqa: BLE001 -- judged at once
                        if not is_transient(error):
                            return self._bad(error)
                        delay = self._delay(error, attempt)
                    await asyncio.sleep(delay)
                    attempt += 1
                    row = again(at)

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
        policy = self.plan.retry or IN_WORKER
        asked = error.retry_after if isinstance(error, TransientError) else None
        if attempt >= (policy.attempts or IN_WORKER.attempts) or (
            asked is not None and asked > PATIENCE
        ):
            if isinstance(error, FilemillError):
                raise error
            raise TransientError(f"{type(error).__name__}: {error}") from error
        if asked is not None:
            return asked
        return random.uniform(0, min(policy.max, PATIENCE, policy.min * 2 ** (attempt - 1)))  # noqa: S311

    @staticmethod
    def _bad(error: Exception) -> Bad:
        from filemill.records.tracebacks import user_line, user_traceback  # noqa: PLC0415 -- keeps Polars out of `check`

        if isinstance(error, Reject):
            return Bad("Reject", error.message)
        name = type(error).__name__
        return Bad(name, f"{name}: {error} ({user_line(error)})", user_traceback(error))


def as_given(made: Any) -> Any:
    """What a function gave, as it is now: the function may use the same dict for its next record."""
    if isinstance(made, dict):
        return dict(made)
    if isinstance(made, Tagged):
        return Tagged(as_given(made.row), *made.tags)
    if isinstance(made, list):
        return [as_given(item) for item in made]
    return made


def is_transient(error: BaseException) -> bool:
    """Say whether an error may go away by itself: a `Retry`, a time-out, a connection, an OSError with an errno."""
    if isinstance(error, FilemillError):
        return isinstance(error, TransientError)
    if isinstance(error, TimeoutError | ConnectionError):
        return True
    return isinstance(error, OSError) and error.errno is not None
