"""schemathesis against a real server: requests that its description allows, and such that it does not."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from sites import DOCUMENTS, Site

CONFIG = DOCUMENTS + "web: {limits: {failed_keys: 1000000}}\n"
"""With no end of wrong keys: what an address may try is tested elsewhere."""
_ENDLESS = {"/drain", "/events"}
"""One ends the server, the other never ends; tests of their own ask for them."""
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "missing_required_header",
    "unsupported_method",
    "ignored_auth",
)
"""Not among them: a schema cannot say which ids and names there are, and unknown words in a query are ignored."""
SETTINGS = """\
[checks.not_a_server_error]
expected-statuses = ["2xx", "3xx", "4xx", "503", "507"]
[checks.missing_required_header]
expected-statuses = [400, 401, 403, 404, 405, 406, 412, 415, 422]
"""


HOOKS = """\
import schemathesis


@schemathesis.serializer("application/offset+octet-stream")
def part(ctx, value):
    return value if isinstance(value, bytes) else bytes(value) if isinstance(value, bytearray) else str(value).encode()
"""
"""What parts of uploads are sent as it does not know."""


def known(site: Site) -> dict[str, list[str]]:
    """Words of paths that there are, beside those that are made up."""
    with site.client() as client:
        sent = {
            name: client.post("/upload?wait=20s", files={"file": (name, content)})
            for name, content in {
                "a.csv": b"a,b\n1,2\n",
                "b.json": b'{"a": ',
                "x.bin": b"\0",
            }.items()
        }
        files = {name: answer.json()["files"][0] for name, answer in sent.items()}
        begun = client.post(
            "/uploads",
            headers={
                "tus-resumable": "1.0.0",
                "upload-length": "9",
                "upload-metadata": "filename YS5jc3Y=",
            },
        )
        groups = client.get("/dead").json()["groups"]
    (run,) = files["a.csv"]["runs"]
    return {
        "file": [
            *(each["id"] for each in files.values()),
            begun.headers["location"].split("/")[-1],
        ],
        "run": [run["id"], files["b.json"]["runs"][0]["id"]],
        "publication": [run["outputs"][0]["publication"]],
        "group": [groups[0]["group"]],
        "name": ["tables", "documents"],
    }


def description(site: Site) -> dict[str, Any]:
    """The server's own, in which each status must be named, and words of paths may be such as there are."""
    described = site.described()
    assert described is not None
    whole = copy.deepcopy(described.whole)
    words = known(site)
    for path in _ENDLESS:
        del whole["paths"][path]
    for operations in whole["paths"].values():
        for operation in operations.values():
            operation["responses"].pop("default")
            for each in operation.get("parameters", ()):
                if each["in"] == "path":
                    there = {"enum": words[each["name"]]}
                    each["schema"] = {"anyOf": [there, {"type": "string", "minLength": 1}]}
    return whole


def fuzz(site: Site, folder: Path, examples: int, phases: str, *, with_key: bool, seed: int) -> str:
    """What it found; empty when that is nothing."""
    schema, settings = folder / "openapi.json", folder / "schemathesis.toml"
    schema.write_text(json.dumps(description(site)))
    settings.write_text(SETTINGS)
    (folder / "hooks.py").write_text(HOOKS)
    words = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(settings)]
    words += ["run", str(schema), "--url", site.url, "--checks", ",".join(CHECKS)]
    words += ["--phases", phases, "--max-examples", str(examples), "--seed", str(seed)]
    words += ["--continue-on-failure", "--no-color", "--request-timeout", "20", "--warnings", "off"]
    words += ["--suppress-health-check", "all"]
    if with_key:
        words += ["--header", f"Authorization: Bearer {site.key}"]
    environ = os.environ | {"SCHEMATHESIS_HOOKS": "hooks", "PYTHONPATH": str(folder)}
    done = subprocess.run(
        words, cwd=folder, env=environ, capture_output=True, text=True, check=False, timeout=3000
    )
    return "" if done.returncode == 0 else (done.stdout + done.stderr).replace(site.key, "KEY")
