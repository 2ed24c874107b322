"""Giving back to the file system what the ledger does not use."""

from __future__ import annotations

import os

import apsw

from filemill.model.errors import SystemFault


def compact(path: str) -> None:
    """Write the ledger at `path` anew without its free pages; nobody else may use it meanwhile.

    Raises:
        SystemFault: it failed; the ledger is as it was.
    """
    try:
        db = apsw.Connection(path)
        try:
            db.pragma("synchronous", "full")
            db.execute("VACUUM")
            db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        finally:
            db.close()
    except apsw.Error as error:
        raise SystemFault(
            f"the ledger {path} cannot be compacted: {error}",
            help="it is as it was; `filemill verify` looks at its health",
        ) from error


def sizes(path: str) -> int:
    """Bytes of the ledger and its log."""
    return sum(os.path.getsize(each) for each in (path, f"{path}-wal") if os.path.exists(each))
