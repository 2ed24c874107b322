"""What a principal may see, as the ledger's reading takes it: what is out of its scope is not there.

Lists leave it out, counts do not count it, an id of it is not found. `ledgers/sqlite/scoping.py` holds it at the one
place where rows come from, so that no question can forget it. What is of the whole system has no part in a narrow
scope: configurations, keys, sums that are not kept by source.
"""

from __future__ import annotations

from filemill.model.access import Principal, Right
from filemill.ports.access import Scope


def scope_of(principal: Principal) -> Scope:
    """What this principal may see of files and runs.

    One that may only send sees what it sent, one that may neither send nor look sees nothing.
    """
    may_look = principal.may(Right.VIEW_META)
    return Scope(
        principal=principal.name if principal.sees_own_only else "",
        sources=principal.sources,
        pipelines=principal.pipelines,
        nothing=not may_look and not principal.sees_own_only,
    )
