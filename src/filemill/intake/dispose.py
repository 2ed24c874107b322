"""What becomes of a file's bytes when all its runs are done: `after:` applied, ledger first, unlink second."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from filemill.model.events import Emit, FileDisposed
from filemill.ports.clock import Clock
from filemill.ports.content import Content
from filemill.ports.ledger import Disposal, Ledger


async def dispose(
    disposals: Sequence[Disposal], *, ledger: Ledger, content: Content, clock: Clock, emit: Emit
) -> int:
    """Apply `after:` to these files; answers how many were disposed of by this call.

    `archive` keeps the content for `retention`; `delete` removes it; `keep` removes the copy, the original stays
    where it was found. A crash between commit and unlink leaves bytes that the ledger says may go: the next start's
    sweep removes them.
    """
    if not disposals:
        return 0
    now = clock.wall_ns()
    done = await ledger.disposed([each.file for each in disposals], now)
    mine = [each for each, is_done in zip(disposals, done, strict=True) if is_done]
    if gone := [each.content for each in mine if each.after != "archive"]:
        await asyncio.to_thread(content.delete, gone)
    for each in mine:
        emit(FileDisposed(at_ns=now, file=each.file, how=each.after))
    return len(mine)
