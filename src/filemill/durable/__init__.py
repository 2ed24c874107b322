"""The only door to durable actions: sync, rename, link, unlink, truncate.

Every action is counted per role and name, and can be made to fail at the n-th time, so that a test can
walk through "kill, EIO or ENOSPC at action n = 1, 2, ..." until nothing is left to break:

    FILEMILL_FAIL=name:n:action        several joined by commas

`name` is an action's name (`rename`), a role's (`server.rename`), or `*`; `n` counts from 1; `action` is `kill`,
`EIO`, `ENOSPC` (any errno name), `stop` (the process stands still just before it, for whoever cuts the power there) or
`skip` (the action is silently not done: a negative control).
`FILEMILL_FAIL_ONCE=FOLDER` lets each of them strike only in the first of all processes that comes there, and makes a
file in that folder, named `n`, to note it: counts are per process, and a worker started anew would otherwise fail at
its own n-th action again.
`FILEMILL_FAIL_COUNTS=FILE` writes the counts there at exit, one `role.name count` a line.
Where any of it is set, groups are synced by the fixed choice (`durable/barrier.py`), so that the n-th action is the
same one on every disk.
"""

from __future__ import annotations

from filemill.durable.actions import Durable
from filemill.durable.failpoints import Failpoints, InjectedFault

__all__ = ["Durable", "Failpoints", "InjectedFault"]
