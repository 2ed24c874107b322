"""The scripts beside which the program is measured."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from contestants.contestant import Place, Start

_HERE = Path(__file__).parent
_FILES = frozenset({"W1", "W3"})
_BIG = frozenset({"W2"})


@dataclass(frozen=True)
class Script:
    """One way to run a script of this folder."""

    name: str
    survives: str
    does: frozenset[str]
    script: str
    options: tuple[str, ...] = ()
    big_work: str = "events"

    def prepare(self, place: Place, workload: str) -> Start:
        """Nothing but the command line."""
        work = self.big_work if workload == "W2" else "logs"
        folders = [str(place.inbox), str(place.out)]
        command = [
            sys.executable,
            str(_HERE / self.script),
            *folders,
            "--work",
            work,
            *self.options,
        ]
        return Start(command, ready="Ready")


_WATCHDOG = "watchdog_script.py"
_NOTHING = "nothing"
_OUTPUTS = "outputs: a power cut; waiting files: nothing"
_MOVE = ("--move-to", "done")

CONTESTANTS = (
    Script("watchdog + threads, fsync", _OUTPUTS, _FILES | _BIG, _WATCHDOG, ("--fsync", *_MOVE)),
    Script("watchdog + threads", _NOTHING, _FILES | _BIG, _WATCHDOG, _MOVE),
    Script(
        "watchdog + threads, fsync, inputs left in place", _OUTPUTS, _FILES, _WATCHDOG, ("--fsync",)
    ),
    Script("watchdog + threads, inputs left in place", _NOTHING, _FILES, _WATCHDOG),
    Script(
        "watchdog + Polars scan and sink, fsync",
        _OUTPUTS,
        _BIG,
        _WATCHDOG,
        ("--fsync", *_MOVE),
        "events-polars",
    ),
    Script("watchdog + Polars scan and sink", _NOTHING, _BIG, _WATCHDOG, _MOVE, "events-polars"),
    Script("bare Python loop", _NOTHING, frozenset({"W1"}) | _BIG, "bare_loop.py"),
)
