"""What `filemill doctor` finds out about the identity provider: it is asked as the server would ask it."""

from __future__ import annotations

import asyncio

from filemill.model.plan import OidcPlan
from filemill.ports.examining import Finding, Level
from filemill.service.provider import Provider, Unreachable
from filemill.telemetry.wording import plural

ABOUT = "identity provider"


def examine_provider(plan: OidcPlan) -> list[Finding]:
    """Whether it answers, with keys that count and a place to log in; waits for it as long as the server would."""
    return asyncio.run(_asked(plan))


async def _asked(plan: OidcPlan) -> list[Finding]:
    provider = Provider(plan)
    try:
        endpoints = await provider.endpoints()
    except Unreachable as error:
        what = f"{plan.issuer} cannot be asked: {error}"
        remedy = (
            "until it answers its tokens are refused and nobody logs in there, except by keys that a server knows "
            "already; see that this machine reaches it, that `issuer` is written as it calls itself, and `ca`"
        )
        return [Finding(Level.PROBLEM, ABOUT, what, remedy)]
    finally:
        await provider.aclose()
    if plan.client_id and not (endpoints.authorization_endpoint and endpoints.token_endpoint):
        what = f"{plan.issuer} does not say where browsers log in"
        remedy = (
            "without `client_id` only its access tokens are taken, and no browser is sent there"
        )
        return [Finding(Level.PROBLEM, ABOUT, what, remedy)]
    if not provider.keys:
        what = f"{plan.issuer} publishes no key of a kind that counts"
        remedy = "have it sign with RS256, PS256, ES256 or EdDSA, RSA keys with 2048 bits or more"
        return [Finding(Level.PROBLEM, ABOUT, what, remedy)]
    use = "browsers log in there" if plan.client_id else "its access tokens are taken"
    what = f"{plan.issuer} answers, and publishes {plural(provider.keys, 'key')}; {use}"
    return [Finding(Level.OK, ABOUT, what, values={"keys": provider.keys})]
