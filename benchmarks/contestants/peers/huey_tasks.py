"""The huey application of huey_sqlite.py, which says in the environment where things are."""

from __future__ import annotations

import os

from huey import SqliteHuey
from work import logs, ready

FULL = os.environ["BENCH_FSYNC"] == "1"
OUT = os.environ["BENCH_OUT"]

huey = SqliteHuey("bench", filename=os.environ["BENCH_QUEUE"], fsync=FULL, results=False)


@huey.task()
def process(path: str) -> None:
    logs(path, os.path.basename(path), OUT, fsync=FULL)


@huey.on_startup()
def tell() -> None:
    ready()
