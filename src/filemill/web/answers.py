"""What each route answers, and what it is asked beside its parameters: the part of OpenAPI that handlers cannot say.

Handlers give `Response`s, so the framework knows neither their documents nor their statuses. A test holds that this
table has every route, and that what is served fits it.
"""

from __future__ import annotations

from typing import Any

import msgspec

from filemill.web import access_documents as a
from filemill.web import documents as d

STATUSES = {
    200: "Done",
    201: "Acknowledged: on the disk and in the ledger",
    202: "Begun",
    204: "Done",
    206: "The range that was asked for",
    303: "Go on at `Location`",
    400: "The request cannot be read, or makes no sense",
    401: "No key, or none that is in force",
    403: "Not with this key",
    404: "There is no such thing, or it is out of this key's scope",
    405: "`X-HTTP-Method-Override` says neither PATCH nor DELETE",
    408: "It came too slowly, or not at all",
    409: "Something else happened meanwhile",
    410: "Bytes that were acknowledged are gone from the disk",
    412: "No `Tus-Resumable: 1.0.0`",
    413: "Too large",
    415: "Of a type that is not taken",
    416: "It has no such range",
    421: "This host name is not served here",
    422: "Understood, and refused",
    423: "Another request goes on with this upload",
    429: "Too many, or too much; again after `Retry-After` seconds",
    460: "Another checksum",
    500: "What is kept of it was changed or cut",
    503: "The server ends, or something of the machine is in the way",
    507: "The disk has no room",
}
ALWAYS = (400, 413, 421, 429)
"""What any request may be answered, before any route has a look at it."""
KEYED = (401, 403, 503)
"""What any request may be answered that needs a key."""
RETRIED = (429, 503, 507)
"""Answers that say when to ask again."""
_TUS = ("Tus-Resumable",)
_STANDING = (*_TUS, "Upload-Offset", "Upload-Length", "Upload-Expires", "Filemill-File")
_ABILITIES = (
    *_TUS,
    "Tus-Version",
    "Tus-Extension",
    "Tus-Max-Size",
    "Tus-Checksum-Algorithm",
)
_DOWNLOAD = ("Content-Disposition", "Accept-Ranges", "Last-Modified", "ETag")
_OFFSET_STREAM = "application/offset+octet-stream"
_BYTES = {"type": "string", "format": "binary"}
HEADERS = {
    "X-Request-Id": "under which the server knows this request",
    "Retry-After": "seconds",
    "WWW-Authenticate": 'Bearer realm="filemill"',
    "Location": "of the file, or of the upload, or where to go on",
    "Set-Cookie": "the session's, or that of a login elsewhere",
    "Tus-Resumable": "1.0.0",
    "Tus-Version": "1.0.0",
    "Tus-Extension": "those of tus that are spoken",
    "Tus-Max-Size": "bytes, where every source has a largest size",
    "Tus-Checksum-Algorithm": "for Upload-Checksum",
    "Upload-Offset": "where to go on",
    "Upload-Length": "bytes of the whole file, once they are known",
    "Upload-Expires": "when what is there is removed, if nobody goes on",
    "Filemill-File": "URL of the file, once it is whole",
    "Content-Disposition": "attachment, with the file's name",
    "Accept-Ranges": "bytes",
    "Last-Modified": "of the bytes",
    "ETag": "of the bytes",
}


class Asked(msgspec.Struct, frozen=True):
    """A header that a request has, and the framework does not read."""

    name: str
    description: str
    pattern: str = ""
    required: bool = False


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What a route answers."""

    shapes: tuple[Any, ...] = ()
    """Types of its document; none: it has none, or is no JSON."""
    name: str = ""
    """The document's `schema`, where its type knows several."""
    status: int = 200
    also: tuple[int, ...] = ()
    """Other successes, of the same shape."""
    errors: tuple[int, ...] = ()
    """Beside `ALWAYS`, and `KEYED` where it needs a key."""
    pages: tuple[int, ...] = ()
    """Errors that may also be pages, for people."""
    media: str = "application/json"
    others: tuple[str, ...] = ()
    """Media types beside it, for who asks for them by `Accept`."""
    headers: tuple[str, ...] = ()
    asked: tuple[Asked, ...] = ()
    body: dict[str, Any] = {}
    """Media types of a body that the framework does not read, with their schemas."""


def _page(shape: Any) -> Answer:
    return Answer(shapes=(shape,), errors=(422,))


def _deed(name: str) -> Answer:
    return Answer(
        shapes=(d.DeedDone, d.DeedPlan), name=f"filemill.{name}/1", errors=(404, 408, 409, 422)
    )


def _switch(name: str) -> Answer:
    return Answer(shapes=(d.Switched,), name=f"filemill.{name}/1", errors=(404, 408, 409, 422))


def _download(*errors: int) -> Answer:
    return Answer(
        media="application/octet-stream",
        also=(206,),
        errors=(404, 416, *errors),
        headers=_DOWNLOAD,
    )


def _offset(*, required: bool) -> Asked:
    said = "where these bytes begin"
    return Asked("Upload-Offset", said, pattern="^[0-9]{1,18}$", required=required)


_VERSION = Asked("Tus-Resumable", "1.0.0", pattern=r"^1\.0\.0$", required=True)
_LENGTH = Asked("Upload-Length", "bytes of the whole file", pattern="^[0-9]{1,18}$")
_CHECKSUM = Asked(
    "Upload-Checksum", "of this part: `sha256 BASE64`", pattern="^(sha256|sha1) [A-Za-z0-9+/]+=*$"
)
_FORM = "application/x-www-form-urlencoded"


def _login(field: str) -> Answer:
    return Answer(
        status=303,
        media="",
        headers=("Location", "Set-Cookie"),
        errors=(401, 403, 408, 415, 503),
        pages=(401,),
        body={_FORM: {"type": "object", "properties": {field: {"type": "string"}}}},
    )


_SENT = (404, 408, 409, 410, 412, 415, 422, 423, 460, 507)

ANSWERS: dict[tuple[str, str], Answer] = {
    ("GET", "/livez"): Answer(shapes=(d.Alive,)),
    ("GET", "/readyz"): Answer(shapes=(d.Readiness,), errors=(401, 403, 422, 503)),
    ("GET", "/health"): Answer(shapes=(d.Health,), errors=(503,)),
    ("GET", "/stats"): Answer(shapes=(d.Stats,)),
    ("GET", "/files"): _page(d.FilePage),
    ("GET", "/files/{file}"): Answer(shapes=(d.FileDocument,), errors=(404,)),
    ("GET", "/files/{file}/content"): _download(500),
    ("GET", "/files/{file}/outputs/{publication}"): _download(),
    ("POST", "/files/replay"): _deed("replay"),
    ("GET", "/runs"): _page(d.RunPage),
    ("GET", "/runs/{run}"): Answer(shapes=(d.RunDocument,), errors=(404,)),
    ("POST", "/runs/cancel"): _deed("cancel"),
    ("GET", "/dead"): _page(d.DeadPage),
    ("GET", "/dead/{group}"): Answer(shapes=(d.DeadGroupDocument,), errors=(404,)),
    ("GET", "/runs/{run}/input"): _download(500),
    ("POST", "/files/{file}/mend"): Answer(
        shapes=(d.Mended,),
        status=201,
        errors=(404, 408, 409, 422, 507),
        headers=("Location",),
        body={"application/octet-stream": _BYTES},
    ),
    ("POST", "/dead/redrive"): _deed("redrive"),
    ("POST", "/dead/discard"): _deed("discard"),
    ("POST", "/dead/resolve"): Answer(shapes=(d.Resolved,), errors=(404, 408, 409, 422)),
    ("GET", "/held"): _page(d.HeldPage),
    ("POST", "/held/release"): _deed("release"),
    ("POST", "/held/discard"): _deed("discard"),
    ("GET", "/pipelines"): Answer(shapes=(d.Pipelines,)),
    ("POST", "/pipelines/{name}/pause"): _switch("pause"),
    ("POST", "/pipelines/{name}/resume"): _switch("resume"),
    ("GET", "/revisions"): Answer(shapes=(d.RevisionList,)),
    ("GET", "/sources"): Answer(shapes=(d.Sources,)),
    ("GET", "/sinks"): Answer(shapes=(d.Sinks,)),
    ("GET", "/workers"): Answer(shapes=(d.Workers,)),
    ("GET", "/audit"): _page(d.AuditPage),
    ("GET", "/audit/verify"): Answer(shapes=(a.VerdictOfAudit,), errors=(422,)),
    ("GET", "/keys"): Answer(shapes=(a.KeyPage,)),
    ("POST", "/keys"): Answer(shapes=(a.NewKey,), status=201, errors=(408, 409, 422)),
    ("POST", "/keys/revoke"): Answer(shapes=(a.RevokedKeys,), errors=(404, 408, 409, 422)),
    ("GET", "/sessions"): Answer(shapes=(a.LoginPage,)),
    ("POST", "/sessions/end"): Answer(shapes=(a.EndedLogins,), errors=(404, 408, 409, 422)),
    ("GET", "/metrics"): Answer(media="text/plain", others=("application/openmetrics-text",)),
    ("GET", "/events"): Answer(media="text/event-stream", errors=(422,)),
    ("GET", "/session"): Answer(shapes=(d.Session,)),
    ("GET", "/login"): Answer(media="text/html", errors=(503,)),
    ("GET", "/login/link"): Answer(media="text/html", errors=(422,)),
    ("POST", "/login/link"): _login("t"),
    ("POST", "/login/key"): _login("key"),
    ("GET", "/login/oidc"): Answer(
        status=303,
        media="",
        headers=("Location", "Set-Cookie"),
        errors=(404, 503),
        pages=(503,),
    ),
    ("GET", "/login/oidc/done"): Answer(
        media="text/html",
        headers=("Set-Cookie",),
        errors=(400, 401, 403, 404, 422, 503),
        pages=(400, 401, 403, 503),
    ),
    ("POST", "/logout"): _login("csrf"),
    ("GET", "/openapi.json"): Answer(),
    ("GET", "/docs"): Answer(media="text/html"),
    ("POST", "/config/reload"): Answer(shapes=(d.Reloaded,), errors=(408, 409, 422)),
    ("POST", "/drain"): Answer(shapes=(d.Draining,), status=202, errors=(408, 409, 422)),
    ("OPTIONS", "/uploads"): Answer(status=204, headers=_ABILITIES),
    ("OPTIONS", "/uploads/{file}"): Answer(status=204, headers=_ABILITIES),
    ("POST", "/uploads"): Answer(
        status=201,
        errors=_SENT,
        media="",
        headers=("Location", *_STANDING),
        asked=(
            _VERSION,
            _LENGTH,
            Asked("Upload-Defer-Length", "1: the length is said later", pattern="^1$"),
            _CHECKSUM,
        ),
        body={_OFFSET_STREAM: _BYTES},
    ),
    ("HEAD", "/uploads/{file}"): Answer(
        errors=_SENT, media="", headers=_STANDING, asked=(_VERSION,)
    ),
    ("PATCH", "/uploads/{file}"): Answer(
        status=204,
        errors=_SENT,
        headers=_STANDING,
        asked=(_VERSION, _offset(required=True), _LENGTH, _CHECKSUM),
        body={_OFFSET_STREAM: _BYTES},
    ),
    ("POST", "/uploads/{file}"): Answer(
        status=204,
        errors=(405, *_SENT),
        headers=_STANDING,
        asked=(_VERSION, _offset(required=False), _LENGTH, _CHECKSUM),
        body={_OFFSET_STREAM: _BYTES},
    ),
    ("DELETE", "/uploads/{file}"): Answer(
        status=204, errors=(404, 409, 412, 422, 423), headers=_TUS, asked=(_VERSION,)
    ),
    ("POST", "/{entrance}"): Answer(
        shapes=(d.Taken,),
        status=201,
        also=(200,),
        errors=(408, 409, 415, 422, 507),
        headers=("Location",),
        body={
            "multipart/form-data": {
                "type": "object",
                "properties": {
                    "file": {"type": "array", "items": _BYTES},
                    "tag": {
                        "type": "array",
                        "items": {"type": "string", "examples": ["partner:acme"]},
                    },
                },
            },
            "application/octet-stream": _BYTES,
        },
    ),
}
