"""A real identity provider (nanoidp) on a port of its own, with people in it, and the key it signs with."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import httpx2
import jwt
import yaml
from sites import free_port

import serving

AUDIENCE, CLIENT, SECRET = "filemill-api", "filemill", "s3cret-of-the-client"
PEOPLE = {"olga": ["ops"], "ursula": ["senders"], "nobody": ["guests"]}
CONFIG = """\
web:
  limits: {failed_keys: 1000}
  oidc:
    issuer: %s
    audience: filemill-api
    client_id: filemill
    client_secret: {secret: OIDC_SECRET}
    roles: {claim: roles, map: {ops: operator, senders: uploader}}
"""
"""For a site; the issuer is missing."""
_INPUT = re.compile(r'name="(\w+)"[^>]*value="([^"]*)"')


class IdentityProvider:
    """`url` is its issuer. Runs between `start` and `stop`, on the same port each time."""

    def __init__(self, root: Path, redirects: list[str]) -> None:
        self.root = root
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        root.mkdir(exist_ok=True)
        settings = {
            "server": {"host": "127.0.0.1", "port": self.port},
            "oauth": {
                "issuer": self.url,
                "audience": AUDIENCE,
                "token_expiry_minutes": 30,
                "clients": [
                    {
                        "client_id": CLIENT,
                        "client_secret": SECRET,
                        "description": "test",
                        "redirect_uris": redirects,
                    }
                ],
            },
        }
        people = {
            name: {"password": f"{name}-password", "email": f"{name}@example.org", "roles": roles}
            for name, roles in PEOPLE.items()
        }
        (root / "settings.yaml").write_text(yaml.safe_dump(settings))
        (root / "users.yaml").write_text(yaml.safe_dump({"users": people, "default_user": "olga"}))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [
            sys.executable,
            "-m",
            "nanoidp",
            "--config",
            str(self.root),
            "--port",
            str(self.port),
        ]
        with (self.root / "provider.log").open("ab") as log:
            self._process = subprocess.Popen(command, cwd=self.root, stdout=log, stderr=log)
        serving.until(self._answers)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = None

    @contextlib.contextmanager
    def running(self) -> Iterator[IdentityProvider]:
        self.start()
        try:
            yield self
        finally:
            self.stop()

    def _answers(self) -> bool:
        with contextlib.suppress(httpx2.HTTPError):
            return httpx2.get(f"{self.url}/.well-known/openid-configuration").status_code == 200
        return False

    def token(self, who: str) -> str:
        """An access token, as the provider gives it to a program."""
        fields = {"grant_type": "password", "username": who, "password": f"{who}-password"}
        answer = httpx2.post(f"{self.url}/token", data=fields, auth=(CLIENT, SECRET))
        return answer.json()["access_token"]

    def signed(self, **more: object) -> str:
        """Any access token, as the provider could sign it."""
        now = int(time.time())
        claims = {
            "iss": self.url,
            "aud": AUDIENCE,
            "sub": "olga",
            "roles": ["ops"],
            "iat": now,
            "exp": now + 300,
        }
        kept = {name: value for name, value in (claims | more).items() if value is not None}
        return jwt.encode(kept, self.private, algorithm="RS256", headers={"kid": self.kid})

    @property
    def private(self) -> bytes:
        return next(self.root.rglob("rsa_private.pem")).read_bytes()

    @property
    def public(self) -> bytes:
        return next(self.root.rglob("rsa_public.pem")).read_bytes()

    @property
    def kid(self) -> str:
        return str(next(self.root.rglob("kid.txt")).read_text().strip())

    def rotate(self) -> None:
        """Have it sign with another key."""
        httpx2.post(f"{self.url}/api/keys/rotate").raise_for_status()

    def log_in(self, there: str, who: str) -> str:
        """What a person does at the login page; where they are sent then."""
        with httpx2.Client(timeout=30) as person:
            page = person.get(there)
            fields = {name: unescape(value) for name, value in _INPUT.findall(page.text)}
            fields |= {"username": who, "password": f"{who}-password"}
            answer = person.post(there, data=fields)
            assert answer.status_code in (302, 303), answer.text[:500]
            return str(answer.headers["location"])
