"""Loading the configuration for a command: users' code is described by a worker child, never here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filemill.cli.session import Session
from filemill.ports.registry import Registry

if TYPE_CHECKING:
    from filemill.config import Loaded


def load_config(session: Session, *, registry: Registry | None = None, deep: bool = True) -> Loaded:
    """The loaded configuration; with `deep` users' steps and expressions are proven in a worker child.

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
    )
