"""The real program, as a user runs it: a project folder and `filemill run`."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from contestants.contestant import Place, Start, Survival

_LOGS = """\
version: 1
durability: {durability}
sources:
  logs: {{folder: inbox}}
tags:
  log: {{name: "*.log"}}
pipelines:
  logs:
    when: log
    steps:
      - read_lines
      - tag_records: {{debug: "line LIKE '% DEBUG %'"}}
      - derive: {{line: "UPPER(line)"}}
      - route: {{debug: drop, else: out}}
sinks:
  out: {{folder: out}}
"""
_EVENTS = """\
version: 1
durability: {{durability}}
sources:
  events: {{{{folder: inbox}}}}
tags:
  event: {{{{name: "events.*"}}}}
pipelines:
  events:
    when: event
    steps:
      - {read}
      - {judge}
      - tag_records:
          error: "level = 'ERROR'"
          warning: "level = 'WARN'"
      - route: {{{{error: errors, warning: warnings, else: rest}}}}
sinks:
  errors: {{{{folder: out/errors}}}}
  warnings: {{{{folder: out/warnings}}}}
  rest: {{{{folder: out/rest}}}}
"""
_DERIVE = 'derive: {{slow: "latency_ms >= 1000"}}'
_FUNCTION = """\
from filemill import step


@step
def judge(row: dict) -> dict:
    row["slow"] = row["latency_ms"] >= 1000
    return row
"""
_CONFIGS = {
    "W1": _LOGS,
    "W2": _EVENTS.format(read="read_jsonl", judge=_DERIVE),
    "W2-csv": _EVENTS.format(read="read_csv", judge=_DERIVE),
    "W2-function": _EVENTS.format(read="read_jsonl", judge="steps.judge"),
    "W3": _LOGS,
    "W4": _LOGS,
}


@dataclass(frozen=True)
class Filemill:
    """The program with every default but its durability."""

    name: str
    durability: str
    survives: str
    survival: Survival
    does: frozenset[str] = frozenset(_CONFIGS)
    ordered: bool = True

    def install(self) -> str:
        """It is what runs this."""
        return ""

    def prepare(self, place: Place, workload: str) -> Start:
        """Write the configuration."""
        config = place.root / "filemill.yaml"
        config.write_text(_CONFIGS[workload].format(durability=self.durability))
        if workload == "W2-function":
            (place.root / "steps.py").write_text(_FUNCTION)
        return Start(
            [sys.executable, "-m", "filemill", "run", "--no-web", "-c", str(config)],
            ready="Ready",
            environment={"PYTHONUNBUFFERED": "1"},
        )


CONTESTANTS = (
    Filemill("filemill", "power", "a power cut; each output exactly once", Survival.POWER_CUT),
    Filemill(
        "filemill, durability process",
        "process",
        "kill -9; each output exactly once",
        Survival.KILL,
    ),
)
