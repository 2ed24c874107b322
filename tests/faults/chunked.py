"""What the ledger knows of big files that are worked on in chunks."""

from __future__ import annotations

from pathlib import Path

import apsw


def checkpoints(root: Path) -> int:
    """Chunks that the ledger knows as done."""
    try:
        db = apsw.Connection(str(root / ".filemill/ledger.db"), flags=apsw.SQLITE_OPEN_READONLY)
    except apsw.CantOpenError:
        return 0
    db.set_busy_timeout(5_000)  # a killed server's log is being read back
    try:
        return int(db.execute("SELECT count(*) FROM chunk").get)
    except apsw.SQLError:
        return 0
    finally:
        db.close()
