"""Having it done: from what was chosen to acts of the server; the answer is that of the command's `--json`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from starlette.responses import Response

from filemill.model.access import Principal
from filemill.model.errors import NotFound, UsageError
from filemill.queries import FileHistory, Queries, RunHistory
from filemill.queries.choosing import Target
from filemill.service import acts, replies
from filemill.web.answering import json
from filemill.web.errors import ApiError
from filemill.web.given import Listed
from filemill.web.state import State

AT_MOST = acts.MOST + 1
"""So many are looked for, so that it is known whether there are more than one act takes."""
Act = Callable[[Sequence[Target]], acts.Request]


def find(queries: Queries, word: str) -> FileHistory:
    """The file of this id, or of one of its runs' ids; names are no ids here.

    Raises:
        NotFound: nothing has such an id, or it is out of the reading's scope.
        UsageError: several begin so.
    """
    return queries.file(word)


async def find_run(state: State, principal: Principal, run: str) -> tuple[FileHistory, RunHistory]:
    """The run of this id, or of a prefix that no other has, and its file.

    Raises:
        ApiError: 404, there is none.
        NotFound: nothing has such an id, or it is out of the principal's scope.
    """
    found = await state.read(lambda queries: queries.file(run), principal)
    mine = [each for each in found.runs if each.summary.run.startswith(run.lower())]
    if len(mine) != 1:
        raise ApiError(404, f"no run has an id that begins with `{run}`", help="GET /runs")
    return found, mine[0]


def as_listed(queries: Queries, listed: Sequence[Listed]) -> list[Target]:
    """These very runs and files, with the fences that were seen: what moved since is left alone by whoever acts.

    Raises:
        NotFound: there is no such run or file, or it is out of the reading's scope.
    """
    found: list[Target] = []
    for each in listed:
        history = queries.file(each.run or each.file)
        file = history.summary
        run = next((r.summary for r in history.runs if r.summary.run == each.run), None)
        if each.run and run is not None:
            found.append(
                Target(
                    file.file,
                    file.name,
                    run.run,
                    each.fence,
                    run.state,
                    run.pipeline,
                    run.step,
                    run.revision,
                    run.fingerprint,
                )
            )
        elif not each.run and file.file == each.file:
            found.append(Target(file.file, file.name, state=file.state))
        else:
            raise NotFound(f"there is no run or file `{each.run or each.file}`", help="GET /runs")
    return found


async def perform(
    state: State,
    principal: Principal,
    targets: Sequence[Target],
    schema: str,
    act: Act,
    *,
    files: Act | None = None,
    named: bool = False,
    dry_run: bool = False,
) -> Response:
    """Have it done for at most `acts.MOST` of the targets; `files` does it for those that have no run.

    The answer's `more` says that there are others: the same request again goes on with them.

    Raises:
        ApiError: 409, the single one that was named has moved on; 422, more were named than one request takes.
        FilemillError: as the server says.
    """
    if named and len(targets) > acts.MOST:
        raise ApiError(422, f"these are more than {acts.MOST} runs", help="name fewer at once")
    chosen, more = targets[: acts.MOST], len(targets) > acts.MOST
    if dry_run:
        what = schema.removeprefix("filemill.").partition("/")[0]
        items = [_item(each, moved=False) for each in chosen]
        return json(
            {"schema": "filemill.plan/1", "what": f"would {what}", "items": items, "more": more}
        )
    live = True
    moved: dict[int, bool] = {}
    for group, make in (
        ([each for each in chosen if each.run or files is None], act),
        ([each for each in chosen if not each.run and files is not None], files or act),
    ):
        if group:
            done = await state.channel.ask(make(group), principal.name, replies.Done)
            live = live and done.live
            moved |= {id(t): ok for t, ok in zip(group, done.moved, strict=True)}
    if named and len(chosen) == 1 and not any(moved.values()):
        raise ApiError(
            409, f"{chosen[0].name} has moved on meanwhile", help=f"GET /files/{chosen[0].file}"
        )
    items = [_item(each, moved=moved[id(each)]) for each in chosen]
    return json({"schema": schema, "live": live, "items": items, "more": more})


def refuse_more(targets: Sequence[Target]) -> None:
    """Refuse more than one act takes, where the same request again would not go on with the others.

    Raises:
        UsageError: with what to do.
    """
    if len(targets) > acts.MOST:
        raise UsageError(
            f"more than {acts.MOST} runs are meant, and asked again they would be the same ones",
            help="narrow it by `since`, `tag` or `pipeline`, or use `filemill files replay`",
        )


def _item(target: Target, *, moved: bool) -> dict[str, Any]:
    return {
        "file": target.file,
        "name": target.name,
        "run": target.run or None,
        "pipeline": target.pipeline or None,
        "moved": moved,
    }
