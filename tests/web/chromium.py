"""A real browser, driven over WebDriver: Chromium without a window."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from sites import free_port

import serving

_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
_ARGUMENTS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)  # fmt: skip


class Chromium:
    """One browser with one tab."""

    def __init__(self, session: httpx2.Client, base: str) -> None:
        self._session = session
        self._base = base

    def go(self, url: str) -> None:
        self._post("/url", {"url": url})

    @property
    def url(self) -> str:
        return str(self._get("/url"))

    @property
    def source(self) -> str:
        return str(self._get("/source"))

    def cookies(self) -> dict[str, dict[str, object]]:
        """By name; those that pages can read, and those that they cannot."""
        return {each["name"]: each for each in self._get("/cookie")}

    def press(self, selector: str) -> None:
        self._post(f"/element/{self._find(selector)}/click", {})

    def write(self, selector: str, text: str) -> None:
        self._post(f"/element/{self._find(selector)}/value", {"text": text})

    def run(self, script: str) -> object:
        """What a script in the page answers."""
        return self._post("/execute/sync", {"script": script, "args": []})

    def _find(self, selector: str) -> str:
        found = self._post("/element", {"using": "css selector", "value": selector})
        return str(found[_ELEMENT])

    def _get(self, path: str):
        return _value(self._session.get(self._base + path))

    def _post(self, path: str, body: dict[str, object]):
        return _value(self._session.post(self._base + path, json=body))


@contextlib.contextmanager
def chromium(folder: Path) -> Iterator[Chromium]:
    """A fresh one; skips where there is none."""
    driver = shutil.which("chromedriver")
    if driver is None:
        if os.environ.get("CI") == "true":
            pytest.fail("chromedriver is needed: apt install chromium-driver")
        pytest.skip("chromedriver is needed: apt install chromium-driver")
    port = free_port()
    with (folder / "chromedriver.log").open("wb") as log:
        process = subprocess.Popen([driver, f"--port={port}"], stdout=log, stderr=log)
    try:
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as session:
            serving.until(lambda: _ready(session))
            options = {"args": [*_ARGUMENTS, f"--user-data-dir={folder / 'profile'}"]}
            wanted = {"capabilities": {"alwaysMatch": {"goog:chromeOptions": options}}}
            made = _value(session.post("/session", json=wanted))
            base = f"/session/{made['sessionId']}"
            try:
                yield Chromium(session, base)
            finally:
                session.delete(base)
    finally:
        process.terminate()
        process.wait()


def _ready(session: httpx2.Client) -> bool:
    with contextlib.suppress(httpx2.HTTPError):
        return bool(session.get("/status").json()["value"]["ready"])
    return False


def _value(answer: httpx2.Response):
    value = answer.json()["value"]
    assert answer.status_code == 200, value
    return value
