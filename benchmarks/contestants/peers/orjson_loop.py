"""A loop over lines with orjson, in one process, or in two that share the file.

python orjson_loop.py INBOX OUT --work events|function [--processes 2]
"""

from __future__ import annotations

from typing import Any

import orjson
from work import ROUTES, Outputs, Shares, each_big_file, options


def judge(row: dict[str, Any]) -> dict[str, Any]:
    """The function of one record."""
    row["slow"] = row["latency_ms"] >= 1000
    return row


def alone(path: str, outputs: Outputs) -> None:
    """The loop that people write, with the work in it."""
    opened = outputs.open()
    with open(path, "rb", 1 << 20) as file:
        for line in file:
            event = orjson.loads(line)
            event["slow"] = event["latency_ms"] >= 1000
            output = opened[ROUTES.get(event["level"], "rest")]
            output.write(orjson.dumps(event, option=orjson.OPT_APPEND_NEWLINE))


def alone_with_function(path: str, outputs: Outputs) -> None:
    """The same with the work in a function."""
    opened = outputs.open()
    with open(path, "rb", 1 << 20) as file:
        for line in file:
            event = judge(orjson.loads(line))
            output = opened[ROUTES.get(event["level"], "rest")]
            output.write(orjson.dumps(event, option=orjson.OPT_APPEND_NEWLINE))


def share(path: str, begin: int, end: int, made: dict[str, str]) -> None:
    """The same loop over a part of the file."""
    opened = {folder: open(name, "wb", 1 << 20) for folder, name in made.items()}
    with open(path, "rb", 1 << 20) as file:
        file.seek(begin)
        left = end - begin
        for line in file:
            event = judge(orjson.loads(line))
            output = opened[ROUTES.get(event["level"], "rest")]
            output.write(orjson.dumps(event, option=orjson.OPT_APPEND_NEWLINE))
            left -= len(line)
            if left <= 0:
                break
    for output in opened.values():
        output.close()


def main() -> None:
    parser = options("events", "function")
    parser.add_argument("--processes", type=int, default=1)
    arguments = parser.parse_args()
    if arguments.processes > 1:
        work = Shares(arguments.processes, share).work
    else:
        work = alone if arguments.work == "events" else alone_with_function
    each_big_file(arguments.inbox, arguments.out, work)


if __name__ == "__main__":
    main()
