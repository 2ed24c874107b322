"""Which server is asked, and with which key: as options and environment say, or as the data directory does."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

import msgspec

from filemill.model.errors import UsageError
from filemill.service.asking import look

URL = "FILEMILL_URL"
KEY = "FILEMILL_KEY"
KEY_FILE = "FILEMILL_KEY_FILE"
CA = "FILEMILL_CA"
CERT = "FILEMILL_CERT"
PLAIN = "FILEMILL_PLAIN_HTTP"
LOCAL_KEY = "local.key"
_KEY = re.compile(r"[\x21-\x7e]{8,512}")
_MOST = 4096


class Address(msgspec.Struct, frozen=True):
    """A server and the key it is asked with."""

    url: str
    """Without a slash at the end."""
    key: str
    ca: str = ""
    """A file of certificates that are trusted, and no others; empty: those that the machine trusts."""
    cert: str = ""
    """A file with our own certificate and its key, where the server asks for one."""
    loopback: bool = False
    """It is this machine, to which no proxy leads."""

    def __repr__(self) -> str:
        return f"Address({self.url!r})"  # never the key


class Wanted(msgspec.Struct, frozen=True):
    """What the options say of the server; empty: the environment does."""

    url: str = ""
    key_file: str = ""
    ca: str = ""
    cert: str = ""
    plain_http: bool = False


def named(wanted: Wanted, environ: Mapping[str, str]) -> Address | None:
    """The server that options or environment name; None when they name none.

    Raises:
        UsageError: the URL is none, there is no key, or the key would be readable on its way.
    """
    url = wanted.url or environ.get(URL, "")
    if not url:
        return None
    url, host = _checked(url)
    loopback = _is_loopback(host)
    told = wanted.plain_http or environ.get(PLAIN, "") not in ("", "0")
    if url.startswith("http:") and not loopback and not told:
        raise UsageError(
            f"{url} is another machine without TLS: whoever is on the way can read the key",
            help=f"https://..., or --plain-http ({PLAIN}=1) where the network is your own",
        )
    key = given_key(wanted, environ)
    if not key:
        raise UsageError(
            f"{url} needs a key",
            help=f"{KEY}, {KEY_FILE} or --key-file; `filemill keys create` there makes one, and on the server's "
            f"machine .filemill/{LOCAL_KEY} is one",
        )
    return _address(url, key, wanted, environ, loopback=loopback)


def local(data: str, wanted: Wanted, environ: Mapping[str, str]) -> Address:
    """The server that runs on this data directory, with the key that lies in it unless another is given.

    Raises:
        UsageError: none runs, it serves no HTTP, or its key cannot be read.
    """
    other = f"--url or {URL} names another server"
    seen = look(data)
    if seen is None:
        raise UsageError(f"no server runs on {data}", help=f"filemill run starts one; {other}")
    if not seen.web:
        raise UsageError("this server serves no HTTP", help=f"`web: {{listen: ...}}`; {other}")
    url, host = _checked(seen.web)
    key = given_key(wanted, environ) or _read(os.path.join(data, LOCAL_KEY))
    return _address(url, key, wanted, environ, loopback=_is_loopback(host))


def _address(
    url: str, key: str, wanted: Wanted, environ: Mapping[str, str], *, loopback: bool
) -> Address:
    ca = wanted.ca or environ.get(CA, "")
    return Address(url, key, ca, wanted.cert or environ.get(CERT, ""), loopback)


def given_key(wanted: Wanted, environ: Mapping[str, str]) -> str:
    """The key that an option or the environment gives; empty when neither does.

    Raises:
        UsageError: its file cannot be read, or what is there is no key.
    """
    if wanted.key_file:
        return _read(wanted.key_file)
    if environ.get(KEY):
        return _proper(environ[KEY], KEY)
    if environ.get(KEY_FILE):
        return _read(environ[KEY_FILE])
    return ""


def _read(path: str) -> str:
    try:
        with open(path, "rb") as file:
            said = file.read(_MOST)
    except OSError as error:
        raise UsageError(
            f"the key in {path} cannot be read: {error.strerror}",
            help=f"{KEY}, {KEY_FILE} or --key-file gives another",
        ) from error
    return _proper(said.decode("ascii", "replace"), path)


def _proper(text: str, where: str) -> str:
    key = text.strip()
    if not _KEY.fullmatch(key):  # what it is instead is not said: it may be another secret
        raise UsageError(f"what {where} has is no key", help="a key is one word, fm_...")
    return key


def _checked(url: str) -> tuple[str, str]:
    """(the URL as it is used, its host)."""
    try:
        parts = urlsplit(url.strip())
        host = parts.hostname or ""
        parts.port  # noqa: B018 -- reading it judges it
    except ValueError as error:
        raise UsageError(
            f"`{url}` is no URL: {error}", help="such as https://files.example.org"
        ) from error
    if parts.scheme not in ("http", "https") or not host or parts.query or parts.fragment:
        raise UsageError(
            f"`{url}` is no URL of a server", help="such as https://files.example.org:8600"
        )
    if "@" in parts.netloc:
        raise UsageError(
            "a URL has no name or password here", help=f"{KEY} or --key-file gives the key"
        )
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}", host


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
