"""Pathway over a folder, free edition.

    python pathway_flow.py INBOX OUT --work logs|events [--commit MS] [--persist]

For log files it streams: the inbox is a table whose rows are files, which stay where they are, because a file
that goes away takes its row with it. For the big file it runs once a file, since a stream's outputs have no end at
which they could appear; the records of an output come in another order.
"""

from __future__ import annotations

import os
from typing import Any

import pathway as pw
from work import Outputs, each_big_file, options, ready, upper, write_log

SEED = "pathway.seed"
"""A file in the inbox whose arrival at the other end says that the engine runs."""


class Event(pw.Schema):
    ts: str
    level: str
    service: str
    host: str
    user_id: int
    latency_ms: int
    status: int
    trace: str
    msg: str


def stream(inbox: str, out: str, commit: int | None, *, persist: bool) -> None:
    with open(os.path.join(inbox, SEED), "wb"):
        pass
    fast = {} if commit is None else {"autocommit_duration_ms": commit}
    files = pw.io.fs.read(inbox, format="binary", with_metadata=True, name="inbox", **fast)
    made = files.select(path=pw.this._metadata["path"].as_str(), text=pw.apply(upper, pw.this.data))

    def write(key: Any, row: dict[str, Any], time: int, is_addition: bool) -> None:
        name = os.path.basename(row["path"])
        if name == SEED:
            ready()
        elif is_addition:
            write_log(row["text"], name, out)

    pw.io.subscribe(made, on_change=write)
    kept = None
    if persist:
        folder = os.path.join(os.path.dirname(os.path.abspath(inbox)), "pathway")
        kept = pw.persistence.Config(pw.persistence.Backend.filesystem(folder))
    pw.run(monitoring_level=pw.MonitoringLevel.NONE, persistence_config=kept)


def once(path: str, outputs: Outputs) -> None:
    pw.internals.parse_graph.G.clear()
    events = pw.io.jsonlines.read(path, schema=Event, mode="static")
    judged = events.with_columns(slow=pw.this.latency_ms >= 1000)
    rest = (pw.this.level != "ERROR") & (pw.this.level != "WARN")
    parts = {
        "errors": judged.filter(pw.this.level == "ERROR"),
        "warnings": judged.filter(pw.this.level == "WARN"),
        "rest": judged.filter(rest),
    }
    for folder, part in parts.items():
        pw.io.jsonlines.write(part, outputs.made[folder])
    pw.run(monitoring_level=pw.MonitoringLevel.NONE)


def main() -> None:
    parser = options("logs", "events")
    parser.add_argument("--commit", type=int, help="ms between commits; as shipped 1500")
    parser.add_argument("--persist", action="store_true")
    arguments = parser.parse_args()
    if arguments.work == "logs":
        stream(arguments.inbox, arguments.out, arguments.commit, persist=arguments.persist)
    else:
        each_big_file(arguments.inbox, arguments.out, once)


if __name__ == "__main__":
    main()
