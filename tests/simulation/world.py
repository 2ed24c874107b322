"""What arrives in a simulated world, and what has to become of it."""

from __future__ import annotations

import os
import random
from dataclasses import dataclass

SOURCES = ("inbox", "gone", "stay")
SINKS = ("errors", "rest", "raw")
CHUNK = 2_000
"""Bytes of a chunk: far less than a configuration may say, so that small files are big ones here."""
MOST = 8_000
RESERVE = 65_536
CONFIG = """\
version: 1
workers: 2
sources:
  inbox: {folder: inbox, settle: 500ms, settle_unproven: 2s, max_size: 8KB}
  gone: {folder: gone, settle: 500ms, settle_unproven: 2s, after: delete}
  stay: {folder: stay, settle: 500ms, settle_unproven: 2s, after: keep}
tags:
  log: {name: "*.log"}
  twice: {name: "*-twice.log"}
  json: {name: "*.jsonl"}
  table: {name: "*.csv"}
  asked: {name: "*.rows"}
  pack: {name: "*.pack"}
pipelines:
  logs:
    when: log
    retry: {min: 1s, attempts: 5}
    steps:
      - read_lines
      - played.work
      - tag_records: {error: "line LIKE 'ERROR%'"}
      - route: {error: errors, else: rest}
  whole:
    when: twice
    steps: [write: raw]
  tables:
    when: table
    tolerance: 1
    steps: [read_csv, write: rest]
  values:
    when: json
    steps: [read_jsonl, write: rest]
  askeds:
    when: asked
    steps: [read_csv, hold: is this right?, write: rest]
  packs:
    when: pack
    steps:
      - read_lines
      - emit: {tags: [part], name: part.txt}
      - write: raw
  parts:
    when: part
    steps: [write: raw]
sinks:
  errors: {folder: out/errors}
  rest: {folder: out/rest}
  raw: {folder: out/raw}
"""
MODULE = """\
from simulation.played import meet


def work(row: dict) -> dict:
    meet(row["line"])
    return row
"""


@dataclass
class Input:
    """One file, and its end when nobody interferes."""

    source: str
    name: str
    text: str
    how: str
    """How its sender puts it there: rename, write, slow (in pieces), link (a second name elsewhere)."""
    at: float
    """When, in seconds from the beginning."""
    pipelines: tuple[str, ...] = ("logs",)
    ends: str = "done"
    state: str = "inspected"
    child: bool = False
    troubles: bool = False
    """Its step asks for another try, or ends its worker, a few times."""

    def outputs(self, pipeline: str) -> list[tuple[str, str]]:
        """(sink, text) of each output of one done run."""
        lines = self.text.splitlines(keepends=True)
        if pipeline == "logs":
            both = (
                ("errors", "".join(x for x in lines if x.startswith("ERROR"))),
                ("rest", "".join(x for x in lines if not x.startswith("ERROR"))),
            )
            return [(sink, text) for sink, text in both if text]
        if pipeline == "tables":
            return [("rest", "".join(line for line in lines if line.count(",") == 1))]
        return [("rest" if pipeline in ("values", "askeds") else "raw", self.text)]


KINDS = (
    *("plain",) * 6,
    *("twice", "table", "flaky", "crash", "big", "bigger"),
    *("bad", "broken", "asked", "pack", "unrouted", "large"),
)


def arrivals(chance: random.Random) -> list[Input]:
    """A seed's files, in the order of their coming."""
    span = chance.choice((2.0, 20.0, 200.0))
    found = [_arrival(chance, number, span) for number in range(chance.randint(3, 14))]
    return sorted(found, key=lambda each: each.at)


def _arrival(  # noqa: PLR0911 -- a table
    chance: random.Random, number: int, span: float
) -> Input:
    kind = chance.choice(KINDS)
    source = chance.choice(("inbox", "inbox", "inbox", "gone", "stay"))
    how = chance.choice(("rename", "rename", "write", "slow", "link"))
    folder = chance.choice(("", "", "", "below/", "below/it/"))
    stem = f"{folder}in-{number:02}"
    lines = {"big": 150, "bigger": 300}.get(kind, chance.randint(1, 12))
    levels = ("ERROR", "WARN", "INFO")
    text = "".join(f"{chance.choice(levels)} file {number} line {i}\n" for i in range(lines))
    at = chance.uniform(0, span)
    if kind == "twice":
        return Input(source, f"{stem}-twice.log", text, how, at, ("logs", "whole"))
    if kind in ("flaky", "crash"):
        text += f"{kind} {chance.randint(1, 2)} file {number}\n"
    if kind == "table":
        text = f"a,b\n{number},1\nbad\n{number},2\n"
        return Input(source, f"{stem}.csv", text, how, at, ("tables",))
    if kind == "bad":
        text = f"a,b\n{number},1\nbad\nworse\n"
        return Input(source, f"{stem}.csv", text, how, at, ("tables",), "dead")
    if kind == "broken":
        return Input(
            source, f"{stem}.jsonl", f'{{"a": {number}}}\nno JSON\n', how, at, ("values",), "dead"
        )
    if kind == "asked":
        return Input(source, f"{stem}.rows", f"a\n{number}\n", how, at, ("askeds",), "held")
    if kind == "pack":
        return Input(source, f"{stem}.pack", text, how, at, ("packs",), child=True)
    if kind == "unrouted":
        return Input(source, f"{stem}.bin", text, how, at, (), "", "held")
    if kind == "large":
        how = "rename"
        return Input("inbox", f"{stem}.log", text + "x" * MOST, how, at, (), "", "rejected")
    troubles = kind in ("flaky", "crash")
    return Input(source, f"{stem}.log", text, how, at, troubles=troubles)


def build(root: bytes) -> None:
    """A project without any file in it."""
    base = os.fsdecode(root)
    for folder in (*SOURCES, "sender", "elsewhere", *(f"out/{sink}" for sink in SINKS)):
        os.makedirs(f"{base}/{folder}", exist_ok=True)
    for name, text in (("filemill.yaml", CONFIG), ("played.py", MODULE)):
        with open(f"{base}/{name}", "w", encoding="utf-8") as file:
            file.write(text)
