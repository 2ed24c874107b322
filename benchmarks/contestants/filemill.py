"""The real program, as a user runs it: a project folder and `filemill run`."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from contestants.contestant import Place, Start

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
durability: {durability}
sources:
  events: {{folder: inbox}}
tags:
  event: {{name: "*.jsonl"}}
pipelines:
  events:
    when: event
    steps:
      - read_jsonl
      - derive: {{slow: "latency_ms >= 1000"}}
      - tag_records:
          error: "level = 'ERROR'"
          warning: "level = 'WARN'"
      - route: {{error: errors, warning: warnings, else: rest}}
sinks:
  errors: {{folder: out/errors}}
  warnings: {{folder: out/warnings}}
  rest: {{folder: out/rest}}
"""
_CONFIGS = {"W1": _LOGS, "W2": _EVENTS, "W3": _LOGS}


@dataclass(frozen=True)
class Filemill:
    """The program with every default but its durability."""

    name: str
    durability: str
    survives: str
    does: frozenset[str] = frozenset(_CONFIGS)

    def prepare(self, place: Place, workload: str) -> Start:
        """Write the configuration."""
        config = place.root / "filemill.yaml"
        config.write_text(_CONFIGS[workload].format(durability=self.durability))
        return Start(
            [sys.executable, "-m", "filemill", "run", "--no-web", "-c", str(config)],
            ready="Ready",
            environment={"PYTHONUNBUFFERED": "1"},
        )


CONTESTANTS = (
    Filemill("filemill", "power", "a power cut; each output exactly once"),
    Filemill("filemill, durability process", "process", "kill -9; each output exactly once"),
)
