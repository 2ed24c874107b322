"""A site with two tenants who must not see each other, each with a file in every state; and the list of all routes."""

from __future__ import annotations

import base64
from typing import Any

import httpx2
from fastapi.routing import APIRoute
from sites import Site

from filemill.service import acts
from filemill.service.asking import ask, ask_key
from filemill.web.application import ROUTERS
from filemill.web.identifying import Needs

CONFIG = """\
version: 1
sources:
  inbox: {folder: inbox, create: true}
  acme: {http: /acme}
  bo: {http: /bo}
tags:
  table: {name: "*.csv"}
  document: {name: "*.json"}
pipelines:
  tables: {when: table, steps: [read_csv, {write: out}]}
  documents: {when: document, steps: [read_json, {write: out}]}
sinks:
  out: {folder: out}
"""
TABLE = b"a,b\n1,2\n"
TUS = {"tus-resumable": "1.0.0"}
PART = TUS | {"content-type": "application/offset+octet-stream", "upload-offset": "0"}


def make_key(site: Site, name: str, *roles: str, **narrowed: tuple[str, ...]) -> str:
    """A key for these roles, as the server makes it."""
    return ask_key(
        str(site.root / ".filemill"), acts.CreateKey(name=name, roles=roles, **narrowed)
    ).key


def revoke(site: Site, name: str) -> None:
    """Put a key out of force."""
    ask(str(site.root / ".filemill"), acts.RevokeKeys(keys=(name,)))


def metadata(**said: str) -> str:
    """`Upload-Metadata`."""
    return ",".join(f"{k} {base64.b64encode(v.encode()).decode()}" for k, v in said.items())


class Tenant:
    """One of them: ids of what it has; `mark` is in the name of each of its files, and of nobody else's."""

    def __init__(self, site: Site, name: str, broken: tuple[str, bytes]) -> None:
        self.name = name
        self.mark = f"{name}-mark"
        self.key = make_key(site, name, "uploader", sources=(name,))
        self.narrow = make_key(site, f"{name}-all", "admin", sources=(name,))
        suffix, content = broken
        with site.client(self.key) as sender:
            self.done = self._send(sender, ".csv", TABLE, "done")
            self.dead = self._send(sender, suffix, content, "dead")
            self.held = self._send(sender, ".bin", b"\0\1", "held")
            begun = sender.post(
                "/uploads",
                headers=TUS
                | {
                    "upload-length": "9",
                    "upload-metadata": metadata(filename=f"{self.mark}-part.csv", source=name),
                },
            )
            assert begun.status_code == 201, begun.text
            self.upload = begun.headers["location"].rpartition("/")[2]
        with site.client() as whole:
            done = whole.get(f"/files/{self.done}").json()
            dead = whole.get(f"/files/{self.dead}").json()
        self.run = done["runs"][0]["id"]
        self.publication = done["runs"][0]["outputs"][0]["publication"]
        self.group = dead["runs"][0]["error"]["group"]

    def _send(self, sender: httpx2.Client, suffix: str, content: bytes, state: str) -> str:
        name = f"{self.mark}-{state}{suffix}"
        answer = sender.post(f"/{self.name}?wait=20s&name={name}", content=content)
        assert answer.status_code == 201, answer.text
        (file,) = answer.json()["files"]
        assert file["state"] == state, file
        return str(file["id"])

    @property
    def ids(self) -> dict[str, str]:
        """What stands for it in the paths of routes."""
        return {
            "/files/{file}": self.done,
            "/files/{file}/content": self.done,
            "/files/{file}/outputs/{publication}": self.done,
            "/files/{file}/mend": self.dead,
            "/runs/{run}": self.run,
            "/runs/{run}/input": self.run,
            "/dead/{group}": self.group,
            "/uploads/{file}": self.upload,
        }

    def path_of(self, path: str) -> str:
        """A route's path, with what is this tenant's in it."""
        named = path.replace("{publication}", self.publication).replace(
            "{entrance:path}", self.name
        )
        for place in ("{file}", "{run}", "{group}"):
            named = named.replace(place, self.ids.get(path, ""))
        return named

    def is_told_of(self, text: str, asked: str = "") -> bool:
        """Whether a text tells of anything that is this tenant's; what was asked for by its id may be said again."""
        ids = (self.done, self.dead, self.held, self.upload, self.run, self.publication)
        return self.mark in text or any(each in text for each in ids if each not in asked)


def routes() -> list[tuple[str, str, Any]]:
    """(method, path, what it needs or None) of every route there is."""
    return [
        (method, route.path, _needs(route))
        for router in ROUTERS
        for route in router.routes
        if isinstance(route, APIRoute)
        for method in sorted(route.methods)
    ]


def _needs(route: APIRoute) -> Needs | None:
    calls = (each.call for each in route.dependant.dependencies)
    return next((call for call in calls if isinstance(call, Needs)), None)
