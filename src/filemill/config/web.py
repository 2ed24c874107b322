"""`web:`, where and how HTTP is served, as a pydantic model."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from filemill.model.plan import LOOPBACK, WebPlan

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

    def plan(self) -> WebPlan:
        """What the server goes by."""
        if self.listen == OFF:
            return WebPlan()
        host, port = parse_address(self.listen)
        return WebPlan(host, port, tuple(name.lower() for name in self.hosts), self.behind_proxy)


def is_safe(plan: WebPlan) -> bool:
    """Say whether nobody can listen in: nothing leaves this machine unless a proxy speaks TLS for it."""
    return not plan.port or plan.host in LOOPBACK or plan.behind_proxy
