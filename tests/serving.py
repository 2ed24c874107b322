"""A real server beside a test, and waiting for what it does. Every folder of tests can import it (pyproject)."""

import contextlib
import signal
import subprocess
import sys
import time

FILEMILL = [sys.executable, "-m", "filemill"]
LONG = 60
"""Seconds; none of them is spent unless something is wrong."""


def until(holds):
    """Return once it holds; it must within a minute."""
    ends = time.monotonic() + LONG
    while not holds():
        assert time.monotonic() < ends, "it never came about"
        time.sleep(0.05)


def begin(root, environ, log):
    """`filemill run` in this folder, as a process; what it says is added to `log`."""
    with log.open("ab") as out:
        words = [] if "FILEMILL__WEB__LISTEN" in environ else ["--no-web"]
        command = [*FILEMILL, "run", *words]
        return subprocess.Popen(command, cwd=root, env=environ, stdout=out, stderr=out)


@contextlib.contextmanager
def serving(root, environ):
    """A server that is ready; ends by Ctrl-C, and must end well. Yields the path of its log."""
    log = root / "server.log"
    log.unlink(missing_ok=True)
    server = begin(root, environ, log)
    try:
        until(lambda: b"Ready in" in log.read_bytes() or server.poll() is not None)
        yield log
        server.send_signal(signal.SIGINT)
        assert (code := server.wait(LONG)) == 0, (code, log.read_text())
    finally:
        if server.poll() is None:
            server.kill()
            server.wait()
