"""`python -m filemill.web CHANNEL LISTENING SERVER`: what the server starts; see `filemill.service.facing`."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import socket
import sys

_PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> int:
    """Serve until the channel closes or the server is gone."""
    channel, listening, server = map(int, arguments)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.umask(0o077)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != server:
            return 0
    from filemill.web.serving import serve  # noqa: PLC0415 -- heavy

    return serve(socket.socket(fileno=channel), socket.socket(fileno=listening))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
