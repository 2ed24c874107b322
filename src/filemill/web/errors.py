"""One shape for every error: `{"error": {"code", "message", "help", "request_id"}}`, and which status it has."""

from __future__ import annotations

import sys
import traceback
from typing import Any

import msgspec
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from filemill.model import errors
from filemill.queries.choosing import MovedOn

_STATUS: tuple[tuple[type[errors.FilemillError], int, str], ...] = (
    (MovedOn, 409, "conflict"),
    (errors.NotFound, 404, "not-found"),
    (errors.NoRoom, 507, "no-room"),
    (errors.QueueFull, 429, "queue-full"),
    (errors.Busy, 503, "busy"),
    (errors.UsageError, 400, "bad-request"),
    (errors.TransientError, 503, "try-again"),
    (errors.SystemFault, 503, "system"),
    (errors.PermanentError, 422, "refused"),
)
_CODES = {
    400: "bad-request",
    401: "unauthenticated",
    403: "forbidden",
    404: "not-found",
    405: "method-not-allowed",
    408: "too-slow",
    409: "conflict",
    410: "gone",
    411: "length-required",
    412: "wrong-version",
    413: "too-large",
    415: "wrong-type",
    416: "range",
    421: "wrong-host",
    422: "refused",
    423: "locked",
    429: "too-many",
    431: "too-large",
    460: "bad-checksum",
}
ERROR = "filemill.error"
"""Under this name the scope of a request has the code of the error that answers it."""
RETRY_AFTER = {429: "1", 503: "2", 507: "30"}
"""Seconds, where whoever refuses says nothing better."""


class ApiError(Exception):
    """An answer that is no success. `headers` come on top."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        help: str = "",  # noqa: A002 -- the word users read
        code: str = "",
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.help = help
        self.code = code or _CODES.get(status, "error")
        self.headers = headers or {}


def of_error(error: errors.FilemillError) -> ApiError:
    """The answer that an error of the product is."""
    for kind, status, code in _STATUS:
        if isinstance(error, kind):
            return ApiError(status, error.message, help=error.help, code=code)
    return ApiError(500, error.message, help=error.help, code="error")


def answer(error: ApiError, request: Request) -> Response:
    """The error as it is sent in answer to a request."""
    request.scope[ERROR] = error.code
    headers = dict(error.headers)
    if error.status in RETRY_AFTER:
        headers.setdefault("retry-after", RETRY_AFTER[error.status])
    return Response(body(error, request_id(request)), error.status, headers, "application/json")


def body(error: ApiError, request_id: str) -> bytes:
    """The JSON of an error."""
    return msgspec.json.encode(
        {
            "error": {
                "code": error.code,
                "message": error.message,
                "help": error.help,
                "request_id": request_id,
            }
        }
    )


def request_id(request: Request) -> str:
    """The id under which this request is known."""
    return str(request.scope.get("filemill.request", ""))


def install(app: FastAPI) -> None:
    """Have every error answered in the one shape."""

    async def api(request: Request, error: Exception) -> Response:
        assert isinstance(error, ApiError)  # noqa: S101
        if error.status == 403:
            _note_denial(request)
        return answer(error, request)

    async def product(request: Request, error: Exception) -> Response:
        assert isinstance(error, errors.FilemillError)  # noqa: S101
        return answer(of_error(error), request)

    async def framework(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101
        if error.status_code == 404:
            found = ApiError(404, "there is nothing here", help="GET /docs lists what there is")
        else:
            found = ApiError(error.status_code, str(error.detail))
        found.headers = dict(error.headers or {})
        return answer(found, request)

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101
        said = "; ".join(_said(each) for each in error.errors()[:5])
        return answer(ApiError(422, said, code="invalid"), request)

    async def defect(request: Request, error: Exception) -> Response:
        # A defect of ours: the person at the server sees where, whoever asked does not.
        traceback.print_exception(error, file=sys.stderr)
        return answer(ApiError(500, "this is a defect of the server", code="defect"), request)

    app.add_exception_handler(ApiError, api)
    app.add_exception_handler(errors.FilemillError, product)
    app.add_exception_handler(HTTPException, framework)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(Exception, defect)


def _note_denial(request: Request) -> None:
    """Whoever refuses, for want of a right or because of a scope, the audit knows of it from here."""
    principal = request.scope.get("filemill.principal")
    if principal is not None:
        what = f"{request.method} {request.url.path[:200]}"
        client = request.scope.get("client")
        address = str(client[0]) if client else ""
        request.app.state.filemill.notes.note(principal.name, "denied", what, address=address)


def _said(error: Any) -> str:
    where = ".".join(str(part) for part in error["loc"][1:]) or "body"
    return f"{where}: {error['msg']}"
