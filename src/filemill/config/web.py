"""`web:`, where and how HTTP is served, as a pydantic model."""

from __future__ import annotations

import ipaddress
import os
import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from filemill.config.oidc import Oidc, Sessions
from filemill.model.plan import LOOPBACK, LimitsPlan, TlsPlan, WebPlan
from filemill.ports.units import Size

OFF = "off"
USUAL = "127.0.0.1:8600"
_HOST = re.compile(r"(?!-)[a-z0-9-]{1,63}(\.(?!-)[a-z0-9-]{1,63})*\Z")


def parse_address(text: str) -> tuple[str, int]:
    """(host, port) of `127.0.0.1:8600`, `[::1]:8600`, `:8600` (every address) or `8600` (this machine only).

    Raises:
        ValueError: it is none of these.
    """
    host, colon, port = text.strip().rpartition(":")
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError(f"`{text}` is no address: write one such as {USUAL}, or `off`")
    if not colon:
        return "127.0.0.1", int(port)
    if not host:
        return "0.0.0.0", int(port)  # noqa: S104 -- asked for; refused without TLS or a proxy
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if bare == "localhost":
        return "127.0.0.1", int(port)
    try:
        return str(ipaddress.ip_address(bare)), int(port)
    except ValueError:
        raise ValueError(
            f"`{bare}` is no IP address: write one of this machine, such as {USUAL}"
        ) from None


def _checked_address(text: str) -> str:
    if text != OFF:
        parse_address(text)
    return text


def _checked_hosts(names: list[str]) -> list[str]:
    for name in names:
        if not _HOST.match(name.lower()):
            raise ValueError(f"`{name}` is no host name: write one without scheme, port or path")
    return names


def _one_or_many(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _checked_proxies(proxies: list[str]) -> list[str]:
    for each in proxies:
        try:
            ipaddress.ip_network(each)
        except ValueError:
            raise ValueError(
                f"`{each}` is no address and no network: write one such as 10.0.0.7 or 10.0.0.0/24"
            ) from None
    return proxies


class Limits(BaseModel):
    """How much one address or key may ask for. What is over is answered 429, with `Retry-After`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    requests: int = Field(
        5000, ge=0, description="Requests a second, of an address and of a key; 0 sets no limit."
    )
    failed_keys: int = Field(
        10,
        ge=1,
        description="Wrong keys from one address before it has to wait: a second, then twice as long for each "
        "further one, up to five minutes.",
    )
    uploads: int = Field(512, ge=1, description="Uploads at once with one key.")
    bytes_per_day: Size = Field(
        0, ge=0, description="Bytes sent with one key in a day; 0 sets no limit."
    )
    slowest: Size = Field(
        100,
        ge=0,
        description="Bytes a second, over half a minute, below which an upload is cut off.",
    )

    def plan(self) -> LimitsPlan:
        """What the web child goes by."""
        return LimitsPlan(**self.model_dump())


class Tls(BaseModel):
    """The certificate that HTTP is served under. Files that change are taken without a restart."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    cert: str = Field(description="File with the certificate and its chain, PEM.")
    key: str = Field(description="File with its private key, PEM, without a passphrase.")
    client_ca: str = Field(
        "",
        description="File with authorities, PEM: every client needs a certificate that one of them signed.",
    )

    def plan(self, root: str) -> TlsPlan:
        """The files, seen from the project's folder."""
        return TlsPlan(
            os.path.join(root, self.cert),
            os.path.join(root, self.key),
            os.path.join(root, self.client_ca) if self.client_ca else "",
        )


class Web(BaseModel):
    """HTTP: the API, uploads and pages."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    listen: Annotated[str, AfterValidator(_checked_address)] = Field(
        USUAL, description="Address and port, such as `0.0.0.0:8600`; `off` serves nothing."
    )
    hosts: Annotated[
        list[str],
        BeforeValidator(_one_or_many),
        AfterValidator(_checked_hosts),
        WithJsonSchema(
            {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
        ),
    ] = Field(
        [],
        description="Host names under which it is asked for, besides its own address; any other is refused.",
    )
    behind_proxy: bool = Field(
        False,
        description="A proxy in front of it speaks TLS; its X-Forwarded-For says who asks. Needed, unless TLS is set, "
        "for any address but this machine's own.",
    )

    proxies: Annotated[
        list[str],
        BeforeValidator(_one_or_many),
        AfterValidator(_checked_proxies),
        WithJsonSchema(
            {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
        ),
    ] = Field(
        ["127.0.0.1", "::1"],
        description="Addresses and networks of proxies; with `behind_proxy`, who asks is the last address of "
        "X-Forwarded-For that is none of these.",
    )
    limits: Limits = Field(
        default_factory=lambda: Limits.model_validate({}), description=Limits.__doc__ or ""
    )
    tls: Tls | None = Field(None, description=Tls.__doc__ or "")
    oidc: Oidc | None = Field(None, description=Oidc.__doc__ or "")
    sessions: Sessions = Field(
        default_factory=lambda: Sessions.model_validate({}), description=Sessions.__doc__ or ""
    )

    def plan(self, root: str) -> WebPlan:
        """What the server goes by."""
        if self.listen == OFF:
            return WebPlan()
        host, port = parse_address(self.listen)
        return WebPlan(
            host,
            port,
            tuple(name.lower() for name in self.hosts),
            self.behind_proxy,
            self.tls.plan(root) if self.tls else None,
            self.limits.plan(),
            tuple(self.proxies),
            self.oidc.plan(root) if self.oidc else None,
            self.sessions.plan(),
        )


def is_safe(plan: WebPlan) -> bool:
    """Say whether nobody can listen in: nothing leaves this machine unless under TLS, its own or a proxy's."""
    return not plan.port or plan.host in LOOPBACK or plan.behind_proxy or plan.tls is not None
