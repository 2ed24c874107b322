"""Polars on the big file: one streaming scan with three sinks, or by pieces in two processes that share the file.

    python polars_files.py INBOX OUT --work events|csv [--processes 2]

The streaming scan is the short program; pieces keep memory small and both processors busy.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import polars as pl
from work import Outputs, Shares, cuts, each_big_file, options, piece

PIECE = 16 << 20
LEVEL = pl.col("level")
PARTS = {
    "errors": LEVEL == "ERROR",
    "warnings": LEVEL == "WARN",
    "rest": ~LEVEL.is_in(["ERROR", "WARN"]),
}
SLOW = pl.col("latency_ms") >= 1000


def scan_events(path: str, outputs: Outputs) -> None:
    frame = pl.scan_ndjson(path).with_columns(slow=SLOW)
    pl.collect_all(
        [
            frame.filter(part).sink_ndjson(outputs.made[folder], lazy=True)
            for folder, part in PARTS.items()
        ],
        engine="streaming",
    )


def scan_csv(path: str, outputs: Outputs) -> None:
    frame = pl.scan_csv(path).with_columns(slow=SLOW)
    pl.collect_all(
        [
            frame.filter(part).sink_csv(outputs.made[folder], lazy=True)
            for folder, part in PARTS.items()
        ],
        engine="streaming",
    )


def share_of_events(path: str, begin: int, end: int, made: dict[str, str]) -> None:
    opened = {folder: open(name, "wb") for folder, name in made.items()}
    for edges in cuts(path, PIECE, begin, end):
        frame = pl.read_ndjson(piece(path, *edges)).with_columns(slow=SLOW)
        for folder, output in opened.items():
            frame.filter(PARTS[folder]).write_ndjson(output)
    for output in opened.values():
        output.close()


def share_of_csv(path: str, begin: int, end: int, made: dict[str, str]) -> None:
    with open(path, "rb") as file:
        header = file.readline()
    opened = {folder: open(name, "wb") for folder, name in made.items()}
    for edges in cuts(path, PIECE, begin, end):
        frame = pl.read_csv(header + piece(path, *edges)).with_columns(slow=SLOW)
        for folder, output in opened.items():
            frame.filter(PARTS[folder]).write_csv(output, include_header=False)
    for output in opened.values():
        output.close()


def shared_csv(processes: int) -> Callable[[str, Outputs], None]:
    shares = Shares(processes, share_of_csv)

    def work(path: str, outputs: Outputs) -> None:
        with open(path, "rb") as file:
            header = file.readline()
        shares.work(path, outputs, header, header.rstrip() + b",slow\n")

    return work


def main() -> None:
    parser = options("events", "csv")
    parser.add_argument("--processes", type=int, default=1)
    arguments = parser.parse_args()
    csv = arguments.work == "csv"
    work = scan_csv if csv else scan_events
    if arguments.processes > 1:
        os.environ["POLARS_MAX_THREADS"] = "1"  # of each process that is started now
        work = (
            shared_csv(arguments.processes)
            if csv
            else Shares(arguments.processes, share_of_events).work
        )
    each_big_file(arguments.inbox, arguments.out, work)


if __name__ == "__main__":
    main()
