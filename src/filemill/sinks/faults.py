"""What goes wrong with a staging folder is the machine's trouble, not the file's."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator

from filemill.model.errors import SystemFault, plainly

_HELP = {
    errno.ENOSPC: "free some space; work goes on by itself, and no attempt is spent meanwhile",
    errno.EDQUOT: "the quota is used up: free some space; work goes on by itself",
    errno.EIO: "the disk reports errors: look at the kernel's log before you trust it further",
    errno.EACCES: "give the user that runs filemill write access to the sink's folder",
    errno.EPERM: "only root can give outputs to another `owner`: run it as root, or change `owner`",
    errno.EROFS: "remount the file system for writing; work goes on by itself",
}


@contextlib.contextmanager
def staging_faults(sink: str) -> Iterator[None]:
    """Turn every OSError of staging for this sink into a SystemFault."""
    try:
        yield
    except OSError as error:
        raise SystemFault(
            f"staging for sink `{sink}` failed: {plainly(error)}",
            help=_HELP.get(error.errno or 0, "look at the sink's folder; work goes on by itself"),
            sink=sink,
        ) from error
