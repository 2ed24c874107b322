"""A Bytewax dataflow over a folder, one worker.

    python bytewax_flow.py INBOX OUT --work logs|events|function

Bytewax brings no source that follows a folder, so this is one of the kind that its guide shows. For log files an item
is a file; for the big file it is a record, and an item behind the last one says that its outputs may appear.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import bytewax.operators as op
import orjson
from bytewax.dataflow import Dataflow
from bytewax.errors import BytewaxRuntimeError
from bytewax.inputs import DynamicSource, StatelessSourcePartition
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.run import cli_main
from work import POLL, ROUTES, Outputs, options, ready, upper, write_log

BATCH = 1000


class Folder(StatelessSourcePartition[str]):
    """Emits the path of each file that is in the inbox; the sink takes files away."""

    def __init__(self, inbox: str) -> None:
        self._inbox = inbox
        self._given: set[str] = set()
        self._awake: datetime | None = None
        ready()

    def next_batch(self) -> list[str]:
        names = set(os.listdir(self._inbox))
        new = sorted(names - self._given)
        self._given &= names
        self._given.update(new)
        self._awake = None if new else datetime.now(UTC) + timedelta(seconds=POLL)
        return [os.path.join(self._inbox, name) for name in new]

    def next_awake(self) -> datetime | None:
        return self._awake


class Lines(StatelessSourcePartition[tuple[str, bytes]]):
    """Emits the lines of each file that is in the inbox, and an empty one behind them."""

    def __init__(self, inbox: str) -> None:
        self._folder = Folder(inbox)
        self._reading: Iterator[tuple[str, bytes]] = iter(())

    def next_batch(self) -> list[tuple[str, bytes]]:
        if batch := list(islice(self._reading, BATCH)):
            return batch
        self._reading = (line for path in self._folder.next_batch() for line in self._lines(path))
        return []

    @staticmethod
    def _lines(path: str) -> Iterator[tuple[str, bytes]]:
        with open(path, "rb", 1 << 20) as file:
            for line in file:
                yield path, line
        yield path, b""

    def next_awake(self) -> datetime | None:
        return self._folder.next_awake()


class Source(DynamicSource[Any]):
    """What each worker reads."""

    def __init__(self, partition: type[Folder | Lines], inbox: str) -> None:
        self._partition = partition
        self._inbox = inbox

    def build(self, step_id: str, worker_index: int, worker_count: int) -> Folder | Lines:
        return self._partition(self._inbox)


class LogWriter(StatelessSinkPartition[tuple[str, bytes]]):
    def __init__(self, out: str) -> None:
        self._out = out

    def write_batch(self, items: list[tuple[str, bytes]]) -> None:
        for path, content in items:
            write_log(content, os.path.basename(path), self._out)
            os.unlink(path)


class EventWriter(StatelessSinkPartition[tuple[str, dict[str, Any] | None]]):
    def __init__(self, out: str) -> None:
        self._out = out
        self._outputs: Outputs | None = None
        self._opened: dict[str, Any] = {}

    def write_batch(self, items: list[tuple[str, dict[str, Any] | None]]) -> None:
        for path, event in items:
            if self._outputs is None:
                self._outputs = Outputs(self._out, os.path.basename(path))
                self._opened = self._outputs.open()
            if event is None:
                self._outputs.publish()
                self._outputs = None
                os.unlink(path)
                continue
            output = self._opened[ROUTES.get(event["level"], "rest")]
            output.write(orjson.dumps(event, option=orjson.OPT_APPEND_NEWLINE))


class Sink(DynamicSink[Any]):
    """What each worker writes."""

    def __init__(self, partition: type[LogWriter | EventWriter], out: str) -> None:
        self._partition = partition
        self._out = out

    def build(self, step_id: str, worker_index: int, worker_count: int) -> LogWriter | EventWriter:
        return self._partition(self._out)


def process(path: str) -> tuple[str, bytes]:
    with open(path, "rb") as file:
        return path, upper(file.read())


def judge(item: tuple[str, bytes]) -> tuple[str, dict[str, Any] | None]:
    """The function of one record."""
    path, line = item
    if not line:
        return path, None
    event = orjson.loads(line)
    event["slow"] = event["latency_ms"] >= 1000
    return path, event


def main() -> None:
    arguments = options("logs", "events", "function").parse_args()
    small = arguments.work == "logs"
    flow = Dataflow("bench")
    items = op.input("in", flow, Source(Folder if small else Lines, arguments.inbox))
    made = op.map("work", items, process if small else judge)
    op.output("out", made, Sink(LogWriter if small else EventWriter, arguments.out))
    try:
        cli_main(flow)
    except BytewaxRuntimeError as error:
        if not isinstance(error.__cause__, KeyboardInterrupt):
            raise


if __name__ == "__main__":
    main()
