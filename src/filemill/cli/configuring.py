"""Loading the configuration for a command: users' code is described by a worker child, never here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filemill.cli.session import Session
from filemill.model.errors import FilemillError
from filemill.ports.registry import Registry

if TYPE_CHECKING:
    from filemill.config import Loaded


def load_config(
    session: Session,
    *,
    registry: Registry | None = None,
    deep: bool = True,
    trusting: bool = False,
    strict: bool = False,
) -> Loaded:
    """The loaded configuration; with `deep` users' steps and expressions are proven in a worker child.

    With `trusting`, the expressions of a revision that ran on this ledger before are not proven again.
    With `strict` it warns of more.

    Raises:
        UsageError: there is no configuration.
        ConfigProblems: it has errors; all of them.
    """
    from filemill.config import load
    from filemill.service.children import describe

    return load(
        session.config(),
        environ=session.environ,
        registry=registry or Registry(),
        describe=describe if deep else None,
        resolve=describe,
        proven=_ran_before if trusting else None,
        strict=strict,
    )


def _ran_before(data: str, digest: str) -> bool:
    from filemill.service.reading import open_queries

    try:
        with open_queries(data) as queries:
            return queries.has_revision(digest)
    except FilemillError:  # no ledger yet, or one that cannot be read: starting says which
        return False
