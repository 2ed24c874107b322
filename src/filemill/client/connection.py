"""Asking a server over HTTP: one question, one answer, or one error of the tree."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, BinaryIO, Self, TypeVar
from urllib.parse import quote

import httpx2
import msgspec

from filemill.client.address import Address
from filemill.client.refusals import lost, refusal
from filemill.model.errors import SystemFault, UsageError
from filemill.service import values

T = TypeVar("T")
PATIENCE = 120.0
"""Seconds in which the server must have answered; connecting has its own."""
CONNECT = 10.0
_AGAIN = 4
"""How often a question is put again that was not looked at because there were too many."""
_LONGEST_PAUSE = 5.0


def context_of(address: Address) -> ssl.SSLContext:
    """What TLS trusts, and what it shows of us.

    Raises:
        UsageError: the file of `ca` or `cert` cannot be read.
    """
    try:
        context = ssl.create_default_context(cafile=address.ca or None)
    except (OSError, ssl.SSLError) as error:
        raise UsageError(
            f"{address.ca} has no certificates that can be read: {error}",
            help="--ca names a PEM file of the authority's certificate",
        ) from error
    try:
        if address.cert:
            context.load_cert_chain(address.cert)
    except (OSError, ssl.SSLError) as error:
        raise UsageError(
            f"{address.cert} has no certificate with its key that can be read: {error}",
            help="--cert names a PEM file with both, one behind the other",
        ) from error
    return context


def headers_of(address: Address) -> dict[str, str]:
    """What every request says."""
    return {"authorization": f"Bearer {address.key}", "user-agent": "filemill"}


def settings_of(address: Address) -> dict[str, Any]:
    """How the library is to connect. No redirect is followed: the key is for this server."""
    return {
        "headers": headers_of(address),
        "verify": context_of(address) if address.url.startswith("https:") else False,
        "trust_env": not address.loopback,
        "follow_redirects": False,
    }


class Connection:
    """One command's way to a server, which has `patience` seconds to answer. A context; not for several threads."""

    def __init__(self, address: Address, *, patience: float | None = None) -> None:
        self.address = address
        self._client = httpx2.Client(
            timeout=httpx2.Timeout(patience or PATIENCE, connect=patience or CONNECT),
            **settings_of(address),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of it. Idempotent."""
        self._client.close()

    def value(
        self, path: str, kind: type[T], *, also: int = 200, **parameters: str | int | bool
    ) -> T:
        """The value that a reading route answers with. `also` is a status that is a success, too.

        Raises:
            FilemillError: as the server says, or it does not answer.
        """
        answer = self._ask("GET", path, parameters, {"accept": values.MEDIA}, None)
        if answer.status_code not in (200, also):
            raise refusal(answer.status_code, answer.content, self.address.url)
        if answer.headers.get("content-type", "") != values.MEDIA:
            raise SystemFault(
                f"{self.address.url} answers otherwise than this version of filemill does",
                help="command and server are of different versions, or something else is there",
            )
        return values.unpack(answer.content, kind)

    def document(self, path: str, **parameters: str | int | bool) -> dict[str, Any]:
        """The JSON that a reading route answers with.

        Raises:
            FilemillError: as `value`.
        """
        return self._document(self._ask("GET", path, parameters, {}, None))

    def do(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Have something done; the JSON that is the answer.

        Raises:
            FilemillError: as the server says. If it does not answer, it may be done.
        """
        return self._document(self._ask("POST", path, {}, {}, msgspec.json.encode(body)))

    def piece(self, path: str, start: int, size: int) -> bytes:
        """Some bytes of a download.

        Raises:
            FilemillError: as `value`.
        """
        wanted = {"range": f"bytes={start}-{start + size - 1}"}
        answer = self._ask("GET", path, {}, wanted, None)
        if answer.status_code != 206:
            raise refusal(answer.status_code, answer.content, self.address.url)
        return answer.content

    def fetch(self, path: str, out: BinaryIO) -> None:
        """Write a download into an open file.

        Raises:
            FilemillError: as `value`, or it ended before its end.
            OSError: the file cannot be written.
        """
        url = f"{self.address.url}{quote(path)}"
        try:
            with self._client.stream("GET", url) as answer:
                if answer.status_code != 200:
                    raise refusal(answer.status_code, answer.read(), self.address.url)
                out.writelines(answer.iter_bytes())
        except httpx2.HTTPError as error:
            raise lost(error, self.address.url) from error

    def lines(self, path: str, headers: dict[str, str], **parameters: str | int) -> Iterator[str]:
        """The lines of an answer that goes on, as they come.

        Raises:
            FilemillError: as `value`, or the connection is lost.
        """
        url = f"{self.address.url}{quote(path)}"
        said = {name: value for name, value in parameters.items() if value}
        try:
            with self._client.stream("GET", url, params=said, headers=headers) as answer:
                if answer.status_code != 200:
                    raise refusal(answer.status_code, answer.read(), self.address.url)
                yield from answer.iter_lines()
        except httpx2.HTTPError as error:
            raise lost(error, self.address.url) from error

    def send(
        self,
        path: str,
        content: Callable[[], Iterable[bytes]],
        **parameters: str | bool | list[str],
    ) -> dict[str, Any]:
        """Send bytes as the body, which `content` gives anew each time; the JSON that is the answer.

        Raises:
            FilemillError: as `do`.
        """
        return self._document(self._ask("POST", path, parameters, {}, content))

    def answers(self) -> bool:
        """Say whether something still answers there."""
        try:
            return self._client.get(f"{self.address.url}/livez").status_code == 200
        except httpx2.HTTPError:
            return False

    def _document(self, answer: httpx2.Response) -> dict[str, Any]:
        if not answer.is_success:
            raise refusal(answer.status_code, answer.content, self.address.url)
        try:
            found = msgspec.json.decode(answer.content)
        except msgspec.DecodeError:
            found = None
        if not isinstance(found, dict):
            raise refusal(answer.status_code, b"", self.address.url)
        return found

    def _ask(
        self,
        method: str,
        path: str,
        parameters: Mapping[str, str | int | bool | list[str]],
        headers: dict[str, str],
        body: bytes | Callable[[], Iterable[bytes]] | None,
    ) -> httpx2.Response:
        if body is not None:
            kind = "application/json" if isinstance(body, bytes) else "application/octet-stream"
            headers = headers | {"content-type": kind}
        said = {k: str(v).lower() if isinstance(v, bool) else v for k, v in parameters.items() if v}
        url = f"{self.address.url}{quote(path)}"
        for left in range(_AGAIN, -1, -1):
            try:
                content = body() if callable(body) else body
                answer = self._client.request(
                    method, url, params=said, headers=headers, content=content
                )
            except httpx2.HTTPError as error:
                raise lost(error, self.address.url) from error
            if answer.status_code != 429 or not left:
                return answer
            time.sleep(pause_of(answer.headers.get("retry-after", ""), _LONGEST_PAUSE))
        raise AssertionError("the last answer was returned")


def pause_of(header: str, longest: float) -> float:
    """Seconds that a Retry-After asks for, at most `longest`; a second where it says nothing that can be read."""
    return min(float(header), longest) if header.isdigit() else min(1.0, longest)
