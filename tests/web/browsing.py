"""A browser as a server sees it: it keeps cookies, and says of each request where it comes from."""

from __future__ import annotations

import json
import os
import pwd
import re
import subprocess
from urllib.parse import urlsplit

import httpx2

import serving

HIDDEN = re.compile(r'<input type="hidden" name="(\w+)" value="([^"]*)">')
ME = pwd.getpwuid(os.geteuid()).pw_name
"""As the server knows whoever runs the tests."""
FROM_HERE = {"sec-fetch-site": "same-origin"}


def browser(url: str, **more) -> httpx2.Client:
    """One that asks from a page of that server."""
    return httpx2.Client(base_url=url, headers=FROM_HERE, timeout=30, **more)


def link(site, *words) -> str:
    """What `filemill open` prints: path and query."""
    done = subprocess.run(
        [*serving.FILEMILL, "open", "--json", *words],
        cwd=site.root, env=site.environ, capture_output=True, text=True, check=True,
    )  # fmt: skip
    parts = urlsplit(json.loads(done.stdout)["url"])
    return f"{parts.path}?{parts.query}"


def hidden(page: httpx2.Response) -> dict[str, str]:
    """The hidden fields of a page."""
    return dict(HIDDEN.findall(page.text))


def follow(site, browsing: httpx2.Client) -> httpx2.Response:
    """Log in by a link: open it, press the button."""
    page = browsing.get(link(site), headers={"sec-fetch-site": "none"})
    return browsing.post("/login/link", data=hidden(page))


def csrf(browsing: httpx2.Client) -> dict[str, str]:
    """The header that proves that a page of ours asks."""
    return {"x-csrf-token": browsing.get("/session").json()["csrf"]}
