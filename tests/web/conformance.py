"""Whether an answer is one that the server itself describes: all clients of these tests look (`Site.client`)."""

from __future__ import annotations

import copy
import json
import re
from typing import Any

import httpx2
import jsonschema_rs

REFUSED: dict[str, Any] = {"responses": {"405": {}}}


class Described:
    """A server's OpenAPI, against which answers are held. A document may have no more than is described."""

    def __init__(self, whole: dict[str, Any]) -> None:
        self.whole = whole
        self._parts = {"schemas": closed(whole["components"]["schemas"])}
        self._validators: dict[str, Any] = {}
        self._paths = [
            (re.compile(re.sub(r"{\w+}", "[^/]+", path)), operations)
            for path, operations in sorted(
                whole["paths"].items(), key=lambda each: each[0].count("{")
            )
        ]

    def operation(self, method: str, path: str) -> dict[str, Any] | None:
        """What is said of this request; None where the path is not there, `REFUSED` where the method is not."""
        there = [operations for pattern, operations in self._paths if pattern.fullmatch(path)]
        found = (each[method.lower()] for each in there if method.lower() in each)
        return next(found, REFUSED if there else None)

    def check(self, response: httpx2.Response) -> None:
        """Raise an AssertionError where the answer is none of those described."""
        request = response.request
        operation = self.operation(request.method, request.url.path)
        if operation is None:
            return
        where = f"{request.method} {request.url.path} {response.status_code}"
        told = operation["responses"].get(str(response.status_code))
        # These the connection answers, whatever is asked.
        assert told is not None or response.status_code in {405, 408, 431}, (
            f"{where} is not described"
        )
        media = response.headers.get("content-type", "").partition(";")[0]
        if not told or request.method == "HEAD":
            return
        assert ("content" in told) == bool(media), f"{where}: {media}"
        if not media:
            return
        assert media in told["content"], f"{where}: {media}"
        if media == "application/json":
            response.read()
            document = json.loads(response.content)
            schema = told["content"][media]["schema"]
            problems = self.problems(document, schema)
            assert not problems, f"{where}: {problems[:5]}"

    def problems(self, document: Any, schema: dict[str, Any]) -> list[str]:
        """Where a document does not fit."""
        name = json.dumps(schema)
        if (validator := self._validators.get(name)) is None:
            whole = {**schema, "components": self._parts}
            validator = self._validators[name] = jsonschema_rs.validator_for(whole)
        return [
            f"{'.'.join(map(str, each.instance_path))}: {each.message[:300]}"
            for each in validator.iter_errors(document)
        ]


def closed(schemas: dict[str, Any]) -> dict[str, Any]:
    """The same, but an object has only those fields that are named."""
    found = copy.deepcopy(schemas)
    for each in found.values():
        if "properties" in each:
            each.setdefault("additionalProperties", False)
    return found
