r"""The JSON of every listing: stable names, times as RFC 3339 in UTC, lengths with their unit in the name.

A name that is no UTF-8 has its odd bytes as `\xff` and its exact bytes beside it, in `name_base64`.
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import msgspec

from filemill.model.auditing import Sealed
from filemill.model.runs import KeptInput
from filemill.queries import (
    Attempt,
    DeadCause,
    DeadGroup,
    DeadItem,
    FileHistory,
    FileSummary,
    HeldItem,
    Output,
    RunHistory,
    RunSummary,
    Status,
    balance_of,
    group_name,
)
from filemill.service import shape_types as t
from filemill.telemetry.wording import utc

if TYPE_CHECKING:
    from filemill.service.replies import Seen


def file_row(file: FileSummary) -> t.File:
    """A file in a list, as in `filemill.files/1`."""
    return {**_facts(file), "runs": [run_row(run) for run in file.runs]}


def _facts(file: FileSummary) -> t.FileFacts:
    return {
        "id": file.file,
        **_name(file.relative, file.name),
        "state": file.state,
        "source": file.source,
        "principal": file.principal or None,
        "size": file.size,
        "arrived_at": utc(file.arrived_ns),
        "tags": list(file.tags),
        "reason": file.reason,
    }


def run_row(run: RunSummary) -> t.Run:
    """A run in a list; `error` is null unless its latest attempt failed."""
    failed = run.state in {"dead", "retrying"} and run.error
    return {
        "id": run.run,
        "pipeline": run.pipeline,
        "revision": run.revision,
        "state": run.state,
        "fence": run.fence,
        "since": utc(run.state_ns),
        "attempt": run.attempt,
        "attempts_allowed": run.tries or None,
        "records": run.records,
        "bad": run.bad,
        "mended": run.mended,
        "retry_at": utc(run.due_ns or 0) or None,
        "error": {
            "group": group_name(run.fingerprint),
            "fingerprint": run.fingerprint,
            "step": run.step,
            "type": run.error,
            "message": run.message,
        }
        if failed
        else None,
    }


def file_history(file: FileHistory) -> t.FileHistory:
    """One file with everything known of it, as in `filemill.file/1`."""
    return {
        **_facts(file.summary),
        "path": path_text(file.path),
        "media": file.media,
        "digest": file.digest,
        "header": list(file.header),
        "attributes": file.attributes,
        "why": [{"tag": hit.tag, "rule": hit.rule, "why": hit.why} for hit in file.tags],
        "acknowledged_at": utc(file.ingested_ns or 0) or None,
        "disposed_at": utc(file.disposed_ns or 0) or None,
        "after": file.after,
        "content": file.content,
        "parent": file.parent,
        "children": list(file.children),
        "duplicate_of": file.duplicate_of,
        "duplicates": list(file.duplicates),
        "freed_at": utc(file.freed_ns or 0) or None,
        "forgotten": list(file.forgotten),
        "runs": [run_history(run) for run in file.runs],
        "deeds": [
            {
                "at": utc(deed.at_ns),
                "by": deed.principal,
                "action": deed.action,
                "object": deed.object,
                **deed.detail,
            }
            for deed in file.deeds
        ],
    }


def dead_item(item: DeadItem) -> t.DeadItem:
    """A dead run and its file, as in `filemill.dead/1`."""
    return {**_item(item), "run": run_row(item.run)}


def dead_group(group: DeadGroup) -> t.DeadGroup:
    """Runs that failed alike."""
    return {
        "group": group_name(group.fingerprint),
        "fingerprint": group.fingerprint,
        "pipeline": group.pipeline,
        "step": group.step,
        "type": group.error,
        "message": group.message,
        "count": group.count,
        "first_at": utc(group.first_ns),
        "last_at": utc(group.last_ns),
        "status": group.status,
        "resolved": {
            "at": utc(group.resolution.at_ns),
            "by": group.resolution.principal,
            "revision": group.resolution.revision,
            "reason": group.resolution.reason,
        }
        if group.resolution
        else None,
    }


def dead_cause(cause: DeadCause) -> t.DeadCause:
    """One group in full, as in `filemill.dead-group/1`."""
    return {
        **dead_group(cause.group),
        "why": msgspec.to_builtins(cause.why) if cause.why else None,
        "tags": dict(cause.tags),
        "revisions": {str(number): count for number, count in cause.revisions},
        "looked_at": cause.looked_at,
    }


def held_item(item: HeldItem) -> t.HeldItem:
    """What waits for a person, as in `filemill.held/1`."""
    run = run_row(item.run) if item.run else None
    step = item.run.step if item.run else ""
    return {**_item(item), "reason": item.reason, "step": step, "run": run}


def status(now: Status) -> t.Status:
    """Everything at a glance, as in `filemill.status/1`."""
    return {
        "at": utc(now.at_ns),
        "files": now.files,
        "files_at": utc(now.files_at_ns),
        "total": now.total,
        "waiting_since": utc(now.waiting_since_ns or 0) or None,
        "last_seconds": now.recent_ns // 1_000_000_000,
        "arrived": now.arrived_recently,
        "arrived_bytes": now.bytes_recently,
        "pipelines": [
            {
                "pipeline": each.pipeline,
                "runs": each.runs,
                "live": each.live,
                "waiting_since": utc(each.waiting_since_ns or 0) or None,
                "done": each.done_recently,
                "dead": each.dead_recently,
                "p50_ms": milliseconds(each.p50_ns),
                "p95_ms": milliseconds(each.p95_ns),
                "paused": {
                    "by": each.paused.principal,
                    "at": utc(each.paused.at_ns),
                    "reason": each.paused.reason,
                }
                if each.paused
                else None,
            }
            for each in now.pipelines
        ],
        "retries": [
            {"file": each.file, "name": each.name, "run": run_row(each.run)} for each in now.retries
        ],
    }


def server(seen: Seen | None) -> t.ServerNow | None:
    """What a running server says of itself; null where none answers."""
    if seen is None:
        return None
    troubles: list[t.Trouble] = [
        {
            "what": each.what,
            "since": utc(each.since_ns),
            "message": each.message,
            "help": each.help,
            "pipelines": each.pipelines,
            "next_look": utc(each.next_ns) or None,
        }
        for each in seen.troubles
    ]
    shape: t.ServerNow = {"pid": seen.pid, "running": seen.running, "troubles": troubles}
    if seen.rotation is not None:
        shape["rotation"] = {"done": seen.rotation.done, "of": seen.rotation.of}
    return shape


def run_history(run: RunHistory) -> t.RunHistory:
    """A run with all that happened to it, as in `filemill.file/1`."""
    failure = next((each.failure for each in reversed(run.attempts) if each.failure), None)
    row = run_row(run.summary)
    if row["error"] and failure:
        row["error"] = {
            **row["error"],
            "help": failure.help,
            "traceback": failure.traceback,
            "output": failure.output,
            "gave_up": failure.gave_up or None,
        }
    return {
        **row,
        "queued_at": utc(run.queued_ns),
        "interruptions": run.interruptions,
        "kept": _kept(run.kept),
        "attempts": [_attempt(each) for each in run.attempts],
        "outputs": [_output(each) for each in run.outputs],
        "bad_records": [
            {
                "step": bad.step,
                "record": bad.record,
                "line": bad.line,
                "start": bad.start,
                "end": bad.end,
                "type": bad.error,
                "message": bad.message,
            }
            for bad in run.bad
        ],
    }


def _attempt(attempt: Attempt) -> t.Attempt:
    failure = attempt.failure
    return {
        "number": attempt.number,
        "revision": attempt.revision,
        "began_at": utc(attempt.began_ns),
        "ended_at": utc(attempt.ended_ns),
        "took_ms": milliseconds(attempt.took_ns),
        "outcome": attempt.outcome,
        "from_step": attempt.began_at or None,
        "fell_back": attempt.fell_back or None,
        "kept": _kept(attempt.kept),
        "unkept": attempt.unkept or None,
        "records": attempt.records,
        "blank": attempt.blank,
        "bad": attempt.bad,
        "balance": _balance(attempt),
        "hold": {
            "step": attempt.hold_step,
            "message": attempt.hold,
            "choices": list(attempt.choices),
        }
        if attempt.hold
        else None,
        "steps": [
            {
                "step": each.step,
                "taken": each.taken,
                "added": each.added,
                "given": each.given,
                "filtered": each.filtered,
                "bad": each.bad,
                "took_ms": milliseconds(each.took_ns),
            }
            for each in attempt.steps
        ],
        "error": {
            "kind": str(failure.kind),
            "step": failure.step,
            "type": failure.error,
            "message": failure.message,
        }
        if failure
        else None,
    }


def _kept(kept: KeptInput | None) -> t.Kept | None:
    if kept is None:
        return None
    return {"step": kept.step, "size": kept.size, "records": kept.records}


def _balance(attempt: Attempt) -> t.Balance | None:
    balance = balance_of(attempt)
    if balance is None:
        return None
    return {
        "read": balance.read,
        "added": balance.added,
        "out": balance.out,
        "filtered": balance.filtered,
        "bad": balance.bad,
    }


def _output(output: Output) -> t.Output:
    return {
        "publication": output.publication,
        "sink": output.sink,
        **_name(output.relative, output.name),
        "path": path_text(output.path),
        "state": output.state,
        "size": output.size,
        "records": output.records,
        "digest": output.digest,
        "at": utc(output.state_ns),
    }


def _item(item: DeadItem | HeldItem) -> t.Waiting:
    return {
        "id": item.file,
        **_name(item.relative, item.name),
        "source": item.source,
        "arrived_at": utc(item.arrived_ns),
        "tags": list(item.tags),
    }


def name_of(raw: bytes) -> t.Named:
    """A name that no listing has as text yet."""
    return _name(raw, path_text(raw))


def _name(raw: bytes, text: str) -> t.Named:
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        return {"name": text, "name_base64": base64.b64encode(raw).decode()}
    return {"name": text}


def path_text(path: bytes) -> str:
    r"""A path as JSON text; bytes that are no UTF-8 as `\xff`."""
    return path.decode("utf-8", "backslashreplace")


def milliseconds(nanoseconds: int) -> float:
    """Nanoseconds as milliseconds, to the microsecond."""
    return round(nanoseconds / 1e6, 3)


def audit_row(row: Sealed) -> t.AuditEntry:
    """A row of the audit as in `filemill.audit/1`; `chain` seals it with all before it."""
    return {
        "number": row.number,
        "at": utc(row.at_ns),
        "at_ns": row.at_ns,
        "by": row.principal,
        "action": row.action,
        "object": row.object,
        "detail": detail_of(row),
        "chain": row.chain.hex(),
    }


def detail_of(row: Sealed) -> dict[str, Any]:
    """What a row of the audit says beside who, what and when."""
    try:
        found = json.loads(row.detail)
    except ValueError:  # somebody changed it; `audit verify` says so
        return {"text": row.detail}
    return found if isinstance(found, dict) else {"text": row.detail}
