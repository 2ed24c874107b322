"""Opens a ledger, and with it migrates it, and is killed at the n-th write, sync or cut of its file or log.

    python migrating.py LEDGER N [stop|EIO|ENOSPC] [naked]

`stop`: it is stopped there instead, so that the power can be cut; EIO, ENOSPC: this action fails. `naked` is the
negative control: the same statements, each for itself, without a transaction around them.
Ends with 0 when there was no n-th action.
"""

from __future__ import annotations

import os
import signal
import sys

import apsw

from filemill.durable import Durable, Failpoints
from filemill.ledgers.sqlite import opening
from filemill.ledgers.sqlite.auditing import teach

path, at, *words = sys.argv[1:]
left = int(at)


def action():
    global left  # noqa: PLW0603
    left -= 1
    if left == 0:
        print("struck", flush=True)
        if "EIO" in words:
            raise apsw.IOError("injected")
        if "ENOSPC" in words:
            raise apsw.FullError("injected")
        os.kill(os.getpid(), signal.SIGSTOP if "stop" in words else signal.SIGKILL)


class File(apsw.VFSFile):
    def xWrite(self, data, offset):  # noqa: N802
        action()
        super().xWrite(data, offset)

    def xSync(self, flags):  # noqa: N802
        action()
        super().xSync(flags)

    def xTruncate(self, size):  # noqa: N802
        action()
        super().xTruncate(size)


class Killing(apsw.VFS):
    def __init__(self):
        super().__init__("killing", "unix", makedefault=True)

    def xOpen(self, name, flags):  # noqa: N802
        return File("unix", name, flags)


def without_a_transaction(db, at_ns, steps=None):
    teach(db)
    for number, text in opening.migrations():
        if number > opening._version(db):
            db.execute(text)
            db.execute("INSERT INTO version VALUES (?, ?)", (number, at_ns))


killing = Killing()
# A file system made in Python shares no memory, which the log then does not need.
apsw.connection_hooks.append(lambda db: db.pragma("locking_mode", "exclusive"))
if "naked" in words:
    opening.migrate = without_a_transaction
opening.open_writer(path, Durable(Failpoints("test")), 2).close()
