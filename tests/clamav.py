"""A real ClamAV daemon with signatures made by hand, and servers that only pretend to be one."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from filemill.ports.scanner import EICAR

MARKER = b"filemill-test-" + b"marker-of-malware"
STREAM_MAX = 5_000_000


def clamd_program() -> str:
    """Where it is; skips the test where it is not, and fails it in CI."""
    found = shutil.which("clamd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if found is None:
        why = "clamd is not installed: apt-get install clamav-daemon"
        if os.environ.get("CI") == "true":
            pytest.fail(why)
        pytest.skip(why)
    return found


class Clamd:
    """One daemon that can be ended, stopped and started again on the same socket."""

    def __init__(self) -> None:
        self.program = clamd_program()
        # A unix socket's path has little room, and pytest's folders are deep.
        self.folder = Path(tempfile.mkdtemp(prefix="fm-clamd-", dir="/tmp"))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.socket = self.folder / "clamd.sock"
        self.unix = f"unix:{self.socket}"
        self.tcp = f"tcp:127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None
        self._configure()

    def _configure(self) -> None:
        signatures = self.folder / "db"
        signatures.mkdir()
        hashed = "44d88612fea8a8f36de82e1278abb02f:68:Eicar-Test-Signature\n"
        (signatures / "t.hdb").write_text(hashed)
        bodies = f"Test.Marker:0:*:{MARKER.hex()}\nEicar.Ndb:0:0:{EICAR[:40].hex()}\n"
        (signatures / "t.ndb").write_text(bodies)
        lines = (
            f"DatabaseDirectory {signatures}",
            f"LocalSocket {self.socket}",
            f"TCPSocket {self.port}",
            "TCPAddr 127.0.0.1",
            "Foreground yes",
            f"User {'root' if os.geteuid() == 0 else os.environ.get('USER', 'root')}",
            f"StreamMaxLength {STREAM_MAX}",
            "SelfCheck 0",
            f"TemporaryDirectory {self.folder}",
        )
        (self.folder / "clamd.conf").write_text("\n".join(lines) + "\n")

    def start(self) -> None:
        """Start it, and return when it answers."""
        with (self.folder / "out").open("ab") as out:
            self.process = subprocess.Popen(
                [self.program, "-c", str(self.folder / "clamd.conf")],
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        until = time.monotonic() + 20
        while time.monotonic() < until:
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(1)
                connection.connect(str(self.socket))
                connection.sendall(b"zPING\0")
                if connection.recv(16) == b"PONG\0":
                    return
            time.sleep(0.02)
        raise AssertionError((self.folder / "out").read_text())

    def send(self, number: int) -> None:
        """A signal to it."""
        assert self.process is not None
        os.kill(self.process.pid, number)

    def kill(self) -> None:
        """End it at once."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def close(self) -> None:
        """End it and remove all of it."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


@contextlib.contextmanager
def running_clamd() -> Iterator[Clamd]:
    """One that answers."""
    daemon = Clamd()
    try:
        daemon.start()
        yield daemon
    finally:
        daemon.close()


class Pretender:
    """Listens where a daemon should, and has `answer` deal with each connection in a thread."""

    def __init__(self, answer: Callable[[socket.socket], None]) -> None:
        self._answer = answer
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"tcp:127.0.0.1:{self._listening.getsockname()[1]}"
        self.asked = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            self.asked += 1
            threading.Thread(target=self._one, args=(connection,), daemon=True).start()

    def _one(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            self._answer(connection)

    def close(self) -> None:
        """Listen no more."""
        # Waking whoever waits for a connection, which closing alone does not.
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()


def command_of(connection: socket.socket) -> bytes:
    """The command that a client sends first."""
    said = b""
    while not said.endswith(b"\0"):
        piece = connection.recv(1)
        if not piece:
            break
        said += piece
    return said


def swallow(connection: socket.socket) -> None:
    """Read a stream to its end."""
    with connection.makefile("rb") as stream:
        while size := int.from_bytes(stream.read(4), "big"):
            stream.read(size)


def answering(reply: bytes, *, alive: bool = True) -> Callable[[socket.socket], None]:
    """One that says `reply` of every file; of itself that it lives, or the same."""

    def answer(connection: socket.socket) -> None:
        command = command_of(connection)
        if command == b"zINSTREAM\0":
            swallow(connection)
            connection.sendall(reply)
        elif alive:
            said = {b"zPING\0": b"PONG\0", b"zVERSION\0": b"ClamAV 1.4.6\0"}
            connection.sendall(said[command])
        else:
            connection.sendall(reply)

    return answer
