"""`filemill config`: what is in force and where it came from; the language as a JSON Schema."""

from __future__ import annotations

import json
from typing import Any

from filemill.cli.application import command, group
from filemill.cli.configuring import load_config
from filemill.cli.session import Session
from filemill.telemetry.wording import printable

config = group("config")


@command("show", config, epilog="Example: filemill config show")
def show(session: Session) -> None:
    """Show every value in force and where it came from; secrets are masked."""
    loaded = load_config(session, deep=False)
    output = session.output
    settings = loaded.effective
    if not session.verbose:  # what is set or counts; -v adds what is left at nothing
        settings = tuple(each for each in settings if each.value not in (None, "", [], {}, ()))
    if output.json:
        items = [
            {"path": list(each.path), "value": each.value, "origin": each.origin}
            for each in loaded.effective
        ]
        output.document("filemill.config/1", path=loaded.path, digest=loaded.digest, items=items)
        return
    output.say(f"{loaded.path}   revision digest {loaded.digest[:12]}")
    rows = [(".".join(each.path), each.origin, _said(each.value)) for each in settings]
    styles = {"default": {0: "dim", 1: "dim", 2: "dim"}}
    output.table(
        ("KEY", "FROM", "VALUE"), rows, styles=lambda row: styles.get(row[1], {0: "strong"})
    )


@command("schema", config, epilog="Example: filemill config schema > filemill.schema.json")
def schema(session: Session) -> None:
    """Print the JSON Schema of the language with everything installed; editors complete from it."""
    from filemill.config.schema import schema as make

    session.output.print(json.dumps(make(), indent=2, ensure_ascii=False))


def _said(value: Any) -> str:
    """A value in one line, as YAML's flow style has it."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_said(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_said, value)) + "]"
    return printable(str(value)).replace("\\n", " ")
