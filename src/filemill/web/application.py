"""The application: every route, behind the guard."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import FastAPI

from filemill.web import errors
from filemill.web.api import (
    access,
    auditing,
    contents,
    describing,
    events,
    files,
    health,
    held,
    letters,
    logging_in,
    looking,
    mending,
    metrics,
    operating,
    resuming,
    uploading,
)
from filemill.web.api.resuming import UPLOADS
from filemill.web.guarding import App, Guard
from filemill.web.metering import Metering
from filemill.web.state import State

ABOUT = """\
Files in, results out, nothing lost, everything seen. Every request needs `Authorization: Bearer KEY`, or comes from a
browser that is logged in (`/login`); every error has one shape: `{"error": {"code", "message", "help", "request_id"}}`.
"""


ROUTERS = (
    health.router,
    metrics.router,
    looking.router,
    files.router,
    contents.router,
    events.router,
    describing.router,
    letters.router,
    mending.router,
    held.router,
    operating.router,
    auditing.router,
    access.router,
    logging_in.router,
    resuming.router,
    uploading.router,
)
"""Every route there is. The last one takes paths that only the configuration knows."""


def application(state: State) -> App:
    """All that is served."""
    takes = takes_files(state)
    guard = Guard(api(state), lambda: state.opening, takes, state.limits)
    return Metering(guard, state.meter, takes)


def api(state: State) -> FastAPI:
    """The routes, without the guard."""
    app = FastAPI(
        title="filemill",
        description=ABOUT,
        version="1",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
    )
    app.state.filemill = state
    errors.install(app)
    for router in ROUTERS:
        app.include_router(router)
    return app


def takes_files(state: State) -> Callable[[str], bool]:
    """Says of a path whether files are sent to it."""

    def takes(path: str) -> bool:
        if path == UPLOADS or path.startswith(f"{UPLOADS}/"):
            return True
        if mending.PATH.match(path):
            return True
        return any(each.path == path for each in state.opening.entrances)

    return takes
