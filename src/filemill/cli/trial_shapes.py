"""A trial as JSON, `filemill.try/1`: `items` has one object a pipeline, `file` is what was tried.

`held`, `rejected` and `unreadable` say why no pipeline would get it. Texts of records are as they would be written;
names are as in every listing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from filemill.queries import group_name
from filemill.service.shapes import milliseconds, name_of, path_text

if TYPE_CHECKING:
    from filemill.model.runs import Failure
    from filemill.model.trials import StepTrial
    from filemill.service.trying import Attempted, Attempts, WouldBe, WouldEmit


def shape(tried: Attempts) -> dict[str, Any]:
    """`filemill.try/1`."""
    told = tried.explanation
    return {
        "items": [_attempted(each) for each in tried.pipelines],
        "next": None,
        "file": {
            **name_of(told.file.relative),
            "id": None if told.file.file == "explained" else told.file.file,
            "source": told.file.source,
            "size": told.file.size,
            "media": told.facts.media,
            "header": list(told.facts.header),
            "tags": [{"tag": hit.tag, "rule": hit.rule, "why": hit.why} for hit in told.facts.tags],
        },
        "done": tried.fine,
        "held": told.held or None,
        "rejected": tried.refused or None,
        "unreadable": told.facts.error or None,
    }


def _attempted(tried: Attempted) -> dict[str, Any]:
    row: dict[str, Any] = {
        "pipeline": tried.pipeline,
        "when": tried.when,
        "matches": tried.matches,
        "state": tried.state,
        "why": tried.why or None,
        "stopped": tried.stopped,
    }
    if tried.trial is None:
        return row
    result = tried.trial.result
    return row | {
        "records": result.records,
        "bad": result.bad_total,
        "blank": result.blank,
        "read_to": tried.trial.read_to,
        "took_ms": milliseconds(result.took_ns),
        "hold": {
            "step": result.hold_step,
            "message": result.hold,
            "choices": list(result.choices),
        }
        if result.hold
        else None,
        "error": None if result.failure is None else _error(result.failure),
        "steps": [_step_shape(each) for each in tried.trial.steps],
        "outputs": [_output_shape(each) for each in tried.outputs],
        "children": [_child_shape(each) for each in tried.children],
        "printed": tried.printed,
    }


def _error(failure: Failure) -> dict[str, Any]:
    return {
        "kind": str(failure.kind),
        "step": failure.step,
        "type": failure.error,
        "message": failure.message,
        "help": failure.help,
        "traceback": failure.traceback,
        "group": group_name(failure.fingerprint),
    }


def _step_shape(step: StepTrial) -> dict[str, Any]:
    count = step.count
    return {
        "step": step.step,
        "uses": step.uses,
        "inside": step.inside or None,
        "if": step.guard or None,
        "begun": step.begun,
        "taken": count.taken,
        "added": count.added,
        "given": count.given,
        "filtered": count.filtered,
        "bad": count.bad,
        "took_ms": milliseconds(count.took_ns),
        "tags": step.tags,
        "format": step.format or None,
        "header": step.header or None,
        "records": [
            {
                "record": each.record,
                "line": each.line,
                "text": each.text,
                "before": each.before,
                "tags": list(each.tags),
                "cut": each.cut,
            }
            for each in step.shown
        ],
        "bad_records": [
            {
                "record": each.bad.record,
                "line": each.bad.line,
                "start": each.bad.start,
                "end": each.bad.end,
                "type": each.bad.error,
                "message": each.bad.message,
                "text": each.text,
            }
            for each in step.bad
        ],
        "branches": [
            {
                "when": each.when or None,
                "steps": list(each.steps),
                "sinks": list(each.sinks),
                "records": each.records,
                "emitted": each.emitted,
            }
            for each in step.branches
        ],
        "file": None
        if step.file is None
        else {**name_of(step.file.name), "size": step.file.size, "head": step.file.head},
    }


def _output_shape(made: WouldBe) -> dict[str, Any]:
    return {
        "sink": made.sink,
        **name_of(made.name),
        "path": path_text(made.path) or None,
        "size": made.size,
        "records": made.records,
        "head": made.head,
        "more": made.more,
        "taken": made.taken or None,
    }


def _child_shape(child: WouldEmit) -> dict[str, Any]:
    return {
        **name_of(child.name),
        "size": child.size,
        "tags": list(child.tags),
        "runs": list(child.runs) if child.asked else None,
        "held": child.held or None,
    }
