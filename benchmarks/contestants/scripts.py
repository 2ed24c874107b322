"""What users would write instead: scripts, and the products of others in environments of their own."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import environments

from contestants.contestant import Place, Start, Survival

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Script:
    """One way to run a script of this folder."""

    name: str
    survives: str
    survival: Survival
    script: str
    works: Mapping[str, str]
    """What `--work` is in each workload that it takes part in."""
    options: tuple[str, ...] = ()
    environment: str = ""
    """The name of its environment; none where the standard library is enough."""
    programs: tuple[str, ...] = ()
    """Programs of the system that it calls."""
    ordered: bool = True

    @property
    def does(self) -> frozenset[str]:
        """The workloads it takes part in."""
        return frozenset(self.works)

    def install(self) -> str:
        """Look for its programs, make its environment."""
        for program in self.programs:
            if not shutil.which(program):
                return f"`{program}` is not installed (Debian: apt-get install {_DEBIAN[program]})"
        return environments.make(self.environment) if self.environment else ""

    def prepare(self, place: Place, workload: str) -> Start:
        """Nothing but the command line."""
        python = (
            str(environments.python_of(self.environment)) if self.environment else sys.executable
        )
        command = [python, str(_HERE / self.script), str(place.inbox), str(place.out)]
        return Start(
            [*command, "--work", self.works[workload], *self.options],
            ready="Ready",
            environment={"PYTHONUNBUFFERED": "1"},
        )


_DEBIAN = {"redis-server": "redis-server", "mlr": "miller", "mawk": "mawk"}
_WATCHDOG = "watchdog_script.py"
_SMALL = {"W1": "logs", "W3": "logs", "W4": "logs"}
_NO_QUEUE = "nothing: waiting files are not seen again"
_OUTPUTS = "outputs: a power cut; waiting files are not seen again"
_AGAIN = "kill -9: begins the file again"
_MOVE = ("--move-to", "done")

_SMALL_FILES = (
    Script(
        "watchdog + threads, fsync",
        _OUTPUTS,
        Survival.NOTHING,
        _WATCHDOG,
        {"W1": "logs", "W4": "logs"},
        ("--fsync", *_MOVE),
        environment="watchdog",
    ),
    Script(
        "watchdog + threads",
        _NO_QUEUE,
        Survival.NOTHING,
        _WATCHDOG,
        _SMALL | {"W2": "events"},
        _MOVE,
        environment="watchdog",
    ),
    Script(
        "watchdog + threads, fsync, inputs left in place",
        _OUTPUTS,
        Survival.NOTHING,
        _WATCHDOG,
        {"W1": "logs", "W3": "logs"},
        ("--fsync",),
        environment="watchdog",
    ),
    Script(
        "watchdog + threads, inputs left in place",
        _NO_QUEUE,
        Survival.NOTHING,
        _WATCHDOG,
        {"W1": "logs", "W3": "logs"},
        environment="watchdog",
    ),
    Script(
        "watchfiles + process pool, as shipped",
        _NO_QUEUE,
        Survival.NOTHING,
        "peers/watchfiles_pool.py",
        _SMALL,
        environment="watchfiles",
    ),
    Script(
        "watchfiles + process pool, tuned",
        _NO_QUEUE,
        Survival.NOTHING,
        "peers/watchfiles_pool.py",
        _SMALL,
        ("--debounce", "20", "--step", "10"),
        environment="watchfiles",
    ),
    Script(
        "Celery + Redis, as shipped",
        "nothing: tasks in hand go with their worker, the queue with Redis",
        Survival.NOTHING,
        "peers/celery_redis.py",
        _SMALL,
        environment="celery",
        programs=("redis-server",),
    ),
    Script(
        "Celery + Redis, acks late, AOF, fsync",
        "a power cut; at least once",
        Survival.POWER_CUT,
        "peers/celery_redis.py",
        _SMALL,
        ("--durable",),
        environment="celery",
        programs=("redis-server",),
    ),
    Script(
        "huey + SQLite, no fsync",
        "nothing: tasks in hand go with their worker",
        Survival.NOTHING,
        "peers/huey_sqlite.py",
        _SMALL,
        environment="huey",
    ),
    Script(
        "huey + SQLite, fsync",
        "queue and outputs: a power cut; tasks in hand go with their worker",
        Survival.NOTHING,
        "peers/huey_sqlite.py",
        _SMALL,
        ("--fsync",),
        environment="huey",
    ),
)
_FLOWS = (
    Script(
        "Bytewax",
        _AGAIN,
        Survival.KILL,
        "peers/bytewax_flow.py",
        _SMALL | {"W2": "events", "W2-function": "function"},
        environment="bytewax",
    ),
    Script(
        "Pathway, as shipped",
        "kill -9: writes every output again",
        Survival.KILL,
        "peers/pathway_flow.py",
        _SMALL | {"W2": "events"},
        environment="pathway",
        ordered=False,
    ),
    Script(
        "Pathway, commits every 20 ms",
        "kill -9: writes every output again",
        Survival.KILL,
        "peers/pathway_flow.py",
        _SMALL,
        ("--commit", "20"),
        environment="pathway",
    ),
    Script(
        "Pathway, persisted",
        "kill -9: at least once",
        Survival.KILL,
        "peers/pathway_flow.py",
        {"W1": "logs"},
        ("--persist",),
        environment="pathway",
    ),
)
_BIG_FILES = (
    Script(
        "Polars, one scan, three sinks",
        _AGAIN,
        Survival.KILL,
        "peers/polars_files.py",
        {"W2": "events", "W2-csv": "csv"},
        environment="polars",
    ),
    Script(
        "Polars, pieces in 2 processes",
        _AGAIN,
        Survival.KILL,
        "peers/polars_files.py",
        {"W2": "events", "W2-csv": "csv"},
        ("--processes", "2"),
        environment="polars",
    ),
    Script(
        "DuckDB",
        _AGAIN,
        Survival.KILL,
        "peers/duckdb_copy.py",
        {"W2": "events", "W2-csv": "csv"},
        environment="duckdb",
    ),
    Script(
        "orjson loop, 2 processes",
        _AGAIN,
        Survival.KILL,
        "peers/orjson_loop.py",
        {"W2": "events", "W2-function": "function"},
        ("--processes", "2"),
        environment="orjson",
    ),
    Script(
        "orjson loop",
        _AGAIN,
        Survival.KILL,
        "peers/orjson_loop.py",
        {"W2": "events", "W2-function": "function"},
        environment="orjson",
    ),
    Script(
        "mawk, text search for this file alone",
        _AGAIN,
        Survival.KILL,
        "peers/text_tools.py",
        {"W2": "events", "W2-csv": "csv"},
        ("--tool", "mawk"),
        programs=("mawk",),
    ),
    Script(
        "Miller",
        _AGAIN,
        Survival.KILL,
        "peers/text_tools.py",
        {"W2": "events", "W2-csv": "csv"},
        ("--tool", "miller"),
        programs=("mlr",),
    ),
    Script(
        "bare Python loop",
        _AGAIN,
        Survival.KILL,
        "bare_loop.py",
        _SMALL | {"W2": "events", "W2-csv": "csv"},
    ),
)

CONTESTANTS = (*_SMALL_FILES, *_FLOWS, *_BIG_FILES)
