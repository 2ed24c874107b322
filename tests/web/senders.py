"""The command line in this process, as somebody in another folder who is not the server's user."""

from __future__ import annotations

import os

from commanding import ended


def run(folder, *words, code=0, **environ):
    """`filemill upload`: its (stdout, stderr), after this exit code."""
    return command(folder, "upload", *words, code=code, **environ)


def command(folder, *words, code=0, **environ):
    """Any command: its (stdout, stderr), after this exit code; `code` None: after whichever."""
    found, *said = ended(folder, words, environ_of(environ))
    assert code in (None, found), f"{found}\n{said[0]}\n{said[1]}"
    assert "unexpected" not in said[1]
    return tuple(said)


def environ_of(more):
    kept = {"PATH", "LANG", "LC_ALL", "TMPDIR"}
    there = {k: v for k, v in os.environ.items() if k in kept}
    return there | {"PYTHONUTF8": "1", "HOME": "/nonexistent"} | more


def asking(site):
    return {"FILEMILL_URL": site.url, "FILEMILL_KEY": site.key}


def files_named(site, name):
    with site.client() as client:
        items = client.get("/files", params={"name": name, "limit": 500}).json()["items"]
    return [each for each in items if each["name"] == name]
