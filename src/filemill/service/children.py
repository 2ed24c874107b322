"""One-off worker children for the command line: questions about users' code, and how a file would be routed.

The asking process imports neither users' modules nor Polars; the child does, and ends with its answer.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Mapping, Sequence

import msgspec

from filemill.engine import frames
from filemill.engine.spawning import Spawned, describe_exit, end_now, environment_for, spawn
from filemill.model.errors import SystemFault
from filemill.model.files import FileRef
from filemill.model.plan import Plan
from filemill.ports.describe import Answers, Question
from filemill.routing.explaining import Explanation

TIMEOUT = 60.0
"""Seconds a child may take: a user's module that hangs at import must not hang `check`."""


def describe(question: Question) -> Answers:
    """Ask a fresh worker about users' steps, taggers and expressions.

    Raises:
        SystemFault: the child died or took over a minute; its output is the help.
    """
    if question.is_empty:
        return Answers()
    with tempfile.TemporaryDirectory(prefix="filemill-") as folder:
        environment = environment_for(os.environ, question.environment, question.secrets)
        reply = _converse(folder, question.root, environment, [frames.Ask(1, question)])
    assert isinstance(reply, frames.Answered), "an Ask is answered by Answered"  # noqa: S101
    return reply.answers


def explain(file: FileRef, plan: Plan) -> Explanation:
    """Ask a fresh worker how `plan` would tag and route a file; nothing is written.

    Raises:
        SystemFault: the child died or took over a minute.
    """
    with tempfile.TemporaryDirectory(prefix="filemill-") as folder:
        environment = environment_for(os.environ, plan.worker_environment, plan.secrets)
        # The file is plain already: this child needs no identity.
        plan = msgspec.structs.replace(plan.for_workers(), encryption=None)
        messages: list[frames.ToWorker] = [frames.Setup(plan), frames.Explain(1, file)]
        reply = _converse(folder, plan.root, environment, messages)
    assert isinstance(reply, frames.Explained), "an Explain is answered by Explained"  # noqa: S101
    return reply.explanation


def _converse(
    folder: str, root: str, environment: Mapping[str, str], messages: Sequence[frames.ToWorker]
) -> frames.FromWorker:
    """Send the messages one by one to a fresh worker; the answer to the last."""
    # As below a data directory: the child's scratch folder is made beside the folder of pages.
    pages = os.path.join(folder, "workers")
    os.mkdir(pages)
    page = os.fsencode(os.path.join(pages, "1.page"))
    # Asking leaves no trace, not even the compiled form of a module it imports.
    spawned = spawn(page, root, environment, bytecode=False)
    spawned.connection.settimeout(TIMEOUT)
    reply: frames.FromWorker | None = None
    trouble = ""
    try:
        for message in messages:
            spawned.connection.sendall(frames.pack(message))
            body = frames.receive(spawned.connection)
            if body is None:
                trouble = "it ended without an answer"
                break
            reply = frames.unpack_from_worker(body)
            if isinstance(reply, frames.Broken):
                raise SystemFault(f"a worker child failed: {reply.error}", help=reply.help)
    except TimeoutError:
        trouble = f"no answer after {TIMEOUT:g}s: does a module of yours do its work at import?"
    except (OSError, frames.FrameError) as error:
        trouble = str(error)
    finally:
        spawned.connection.close()
        printed = _printed(spawned)
        code = end_now(spawned.keeper)
        os.close(spawned.output)
    if trouble or reply is None:
        raise SystemFault(
            f"a worker child failed: {trouble} ({describe_exit(code)})", help=printed[-2_000:]
        )
    return reply


def _printed(spawned: Spawned) -> str:
    with contextlib.suppress(BlockingIOError):
        return os.read(spawned.output, 64 << 10).decode("utf-8", "backslashreplace")
    return ""
