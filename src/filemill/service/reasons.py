"""`.reason.json`: everything that is known of why a file failed, in one document beside a copy of it."""

from __future__ import annotations

import base64
from typing import Any

import msgspec

from filemill.queries import FileHistory, RunHistory, group_name
from filemill.telemetry.wording import harmless_json, utc

SCHEMA = "filemill.reason/1"
SUFFIX = ".reason.json"


def reason_of(history: FileHistory, run: RunHistory | None) -> dict[str, Any]:
    """Why this run of the file failed, or (None) why the file was refused before any run."""
    summary = history.summary
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "file": summary.file,
        "name": summary.name,
        "source": summary.source,
        "arrived_at": utc(summary.arrived_ns),
        "size": summary.size,
        "media": history.media,
        "digest": history.digest,
        "tags": list(summary.tags),
        "state": run.summary.state if run else summary.state,
    }
    if _odd(summary.relative):
        document["name_base64"] = base64.b64encode(summary.relative).decode()
    if run is None:
        return document | {
            "reason": summary.reason,
            "next": [f"filemill files show {summary.file}"],
        }
    return document | _of_run(run)


def text_of(document: dict[str, Any]) -> bytes:
    """The document as a person reads it in an editor: indented, nothing in it that a terminal would act on."""
    data = msgspec.json.format(msgspec.json.encode(document), indent=2).decode()
    return ("\n".join(harmless_json(line) for line in data.split("\n")) + "\n").encode()


def failure_of(run: RunHistory) -> Any:
    """The failure of its latest attempt that failed; None if none did."""
    return next((each.failure for each in reversed(run.attempts) if each.failure), None)


def why_not_kept(run: RunHistory) -> str:
    """Why the input of the step at which a run failed is not kept; empty where it is the original itself."""
    last = next((each for each in reversed(run.attempts) if each.failure or each.unkept), None)
    failure = failure_of(run)
    if last is not None and last.unkept:
        return last.unkept
    if failure is not None and failure.kind == "crash":
        return "it brought its worker down"
    if run.summary.step.startswith("publish:"):
        return "every step was done, and its outputs are staged for the sink"
    if run.summary.step in {"pipeline", "revision"}:
        return "no step of it began"
    return ""


def _of_run(run: RunHistory) -> dict[str, Any]:
    summary, failure = run.summary, failure_of(run)
    return {
        "run": summary.run,
        "pipeline": summary.pipeline,
        "revision": summary.revision,
        "died_at": utc(summary.state_ns),
        "attempts": [
            {
                "number": each.number,
                "began_at": utc(each.began_ns),
                "ended_at": utc(each.ended_ns),
                "outcome": each.outcome,
                "error": f"{each.failure.error}: {each.failure.message}" if each.failure else "",
            }
            for each in run.attempts
        ],
        "group": group_name(summary.fingerprint),
        "fingerprint": summary.fingerprint,
        "step": summary.step,
        "error": summary.error,
        "message": summary.message,
        "help": failure.help if failure else "",
        "traceback": failure.traceback if failure else "",
        "output": failure.output if failure else "",
        "delivered": [each.sink for each in run.outputs if each.state != "staged"],
        "bad": summary.bad,
        "bad_records": [
            {
                "record": bad.record,
                "line": bad.line,
                "start": bad.start,
                "end": bad.end,
                "step": bad.step,
                "error": bad.error,
                "message": bad.message,
            }
            for bad in run.bad
        ],
        "next": [f"filemill dead show {summary.run}"],
    }


def _odd(name: bytes) -> bool:
    """Say whether the name is no UTF-8."""
    try:
        name.decode()
    except UnicodeDecodeError:
        return True
    return False
