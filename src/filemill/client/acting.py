"""Acts over HTTP: what `service.asking` has a server do over its socket, asked by the routes that do the same.

Runs are named as they were seen, with their fences, so that one that moved meanwhile is left alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from filemill.client.connection import Connection
from filemill.client.refusals import BadConfiguration
from filemill.model.deeds import Chosen, Redrive, Release, Replay
from filemill.model.errors import SystemFault, UsageError
from filemill.ports.clock import SystemClock
from filemill.queries import Revisions
from filemill.service import acts, replies

Named = Redrive | Release | Chosen | Replay
_LONGEST_GROUP = 64


def ask(connection: Connection, act: acts.Request) -> replies.Done:
    """Have an act done.

    Raises:
        UsageError: it is none that can be asked for over HTTP.
        FilemillError: as the server says, or it does not answer; then it may be done.
    """
    do = _DOING.get(type(act))
    if do is None:
        raise UsageError(
            "this is not done over HTTP",
            help="run the command on the server's machine, without --url",
        )
    return do(connection, act)


def ask_reload(connection: Connection, reason: str = "") -> replies.Reloaded:
    """Have the server take the configuration on its disk. That it is bad is no error, but the answer's `problems`.

    Raises:
        FilemillError: as `ask`.
    """
    try:
        done = connection.do("/config/reload", {"reason": reason})
    except BadConfiguration as error:
        log = connection.value("/revisions", Revisions).items
        current = next((each.number for each in log if each.current), 0)
        return replies.Reloaded(current, current, problems=error.message)
    return replies.Reloaded(
        int(done["revision"]), int(done["former"]), tuple(map(str, done["changes"]))
    )


def ask_drain(connection: Connection, reason: str = "") -> None:
    """Have the server finish what runs, and end.

    Raises:
        FilemillError: as `ask`.
    """
    connection.do("/drain", {"reason": reason})


def ask_key(connection: Connection, act: acts.CreateKey) -> replies.KeyMade:
    """Have a key made.

    Raises:
        FilemillError: as `ask`.
    """
    left = (act.expires_ns or 0) - SystemClock().wall_ns()
    done = connection.do(
        "/keys",
        {
            "name": act.name,
            "roles": list(act.roles),
            "sources": list(act.sources),
            "pipelines": list(act.pipelines),
            "expires": f"{max(0, left) // 1_000_000}ms" if act.expires_ns is not None else "",
            "reason": act.reason,
        },
    )
    return replies.KeyMade(str(done["id"]), str(done["key"]))


def _nothing(alike: Named) -> dict[str, Any]:
    del alike
    return {}


def _by_kind(
    connection: Connection,
    path: str,
    runs: Sequence[Named],
    body: Callable[[Any], dict[str, Any]],
    reason: str,
) -> replies.Done:
    """One request for all runs of which the same is asked: mostly one. `body` says what that is."""
    kinds: list[tuple[dict[str, Any], list[Named]]] = []
    for run in runs:
        wanted = body(run)
        alike = next((group for kind, group in kinds if kind == wanted), None)
        if alike is None:
            kinds.append((wanted, [run]))
        else:
            alike.append(run)
    live, moved = True, dict[str, bool]()
    for wanted, group in kinds:
        listed = [_listed(each) for each in group]
        names = [each["run"] for each in listed]
        done = _done(connection.do(path, wanted | {"listed": listed, "reason": reason}), names)
        live = live and done.live
        moved |= dict(zip(names, done.moved, strict=True))
    return replies.Done(tuple(moved[_listed(each)["run"]] for each in runs), live)


def _listed(each: Named) -> dict[str, Any]:
    if isinstance(each, Replay):
        return {"run": each.of}
    return {"run": each.run, "fence": each.fence}


def _done(answer: dict[str, Any], names: Sequence[str]) -> replies.Done:
    """What the answer says of each of these runs or files."""
    try:
        moved = {each["run"] or each["file"]: bool(each["moved"]) for each in answer["items"]}
        return replies.Done(tuple(moved[name] for name in names), bool(answer["live"]))
    except (KeyError, TypeError) as error:
        raise SystemFault("the server answered something else than what it was asked") from error


def _switch(
    connection: Connection, verb: str, pipelines: Sequence[str], reason: str
) -> replies.Done:
    done = [connection.do(f"/pipelines/{name}/{verb}", {"reason": reason}) for name in pipelines]
    return replies.Done(
        tuple(bool(each["items"][0]["moved"]) for each in done),
        all(bool(each["live"]) for each in done),
    )


def _redrive(connection: Connection, act: acts.RedriveRuns) -> replies.Done:
    def body(alike: Redrive) -> dict[str, Any]:
        begin = "input" if alike.insists else None if alike.from_input else "start"
        return {"from": begin, "revision": str(alike.revision) if alike.revision else "current"}

    return _by_kind(connection, "/dead/redrive", act.runs, body, act.reason)


def _discard_runs(connection: Connection, act: acts.DiscardRuns) -> replies.Done:
    return _by_kind(connection, "/held/discard", act.runs, _nothing, act.reason)


def _release(connection: Connection, act: acts.ReleaseRuns) -> replies.Done:
    def body(alike: Release) -> dict[str, Any]:
        return {"choice": alike.choice}

    return _by_kind(connection, "/held/release", act.runs, body, act.reason)


def _cancel(connection: Connection, act: acts.CancelRuns) -> replies.Done:
    return _by_kind(connection, "/runs/cancel", act.runs, _nothing, act.reason)


def _replay(connection: Connection, act: acts.ReplayRuns) -> replies.Done:
    def body(alike: Replay) -> dict[str, Any]:
        revision = str(alike.revision) if alike.pinned else "current"
        return {"revision": revision, "supersede": alike.supersede}

    return _by_kind(connection, "/files/replay", act.runs, body, act.reason)


def _readmit(connection: Connection, act: acts.ReadmitFiles) -> replies.Done:
    listed = [{"file": file} for file in act.files]
    body = {"listed": listed, "unsafe": act.unsafe, "reason": act.reason}
    return _done(connection.do("/held/release", body), act.files)


def _discard_files(connection: Connection, act: acts.DiscardFiles) -> replies.Done:
    body = {"listed": [{"file": file} for file in act.files], "reason": act.reason}
    return _done(connection.do("/held/discard", body), act.files)


def _pause(connection: Connection, act: acts.PausePipelines) -> replies.Done:
    return _switch(connection, "pause", act.pipelines, act.reason)


def _resume(connection: Connection, act: acts.ResumePipelines) -> replies.Done:
    return _switch(connection, "resume", act.pipelines, act.reason)


def _resolve(connection: Connection, act: acts.ResolveCauses) -> replies.Done:
    groups = [
        each if len(each) <= _LONGEST_GROUP else each.rpartition(":")[2]
        for each in act.fingerprints
    ]
    connection.do("/dead/resolve", {"groups": groups, "reason": act.reason})
    return replies.Done(tuple(True for _ in act.fingerprints))


def _revoke(connection: Connection, act: acts.RevokeKeys) -> replies.Done:
    return _moved(connection.do("/keys/revoke", {"keys": list(act.keys), "reason": act.reason}))


def _end_sessions(connection: Connection, act: acts.EndSessions) -> replies.Done:
    if not act.sessions:
        return replies.Done(())
    body = {"sessions": list(act.sessions), "reason": act.reason}
    return _moved(connection.do("/sessions/end", body))


def _moved(answer: dict[str, Any]) -> replies.Done:
    return replies.Done(tuple(bool(each["moved"]) for each in answer["items"]))


_DOING: dict[type, Callable[[Connection, Any], replies.Done]] = {
    acts.RedriveRuns: _redrive,
    acts.DiscardRuns: _discard_runs,
    acts.ReleaseRuns: _release,
    acts.CancelRuns: _cancel,
    acts.ReplayRuns: _replay,
    acts.ReadmitFiles: _readmit,
    acts.DiscardFiles: _discard_files,
    acts.PausePipelines: _pause,
    acts.ResumePipelines: _resume,
    acts.ResolveCauses: _resolve,
    acts.RevokeKeys: _revoke,
    acts.EndSessions: _end_sessions,
}
