"""`clamd`: files are sent to a ClamAV daemon, over a socket, and it says what is in them.

Our own client, since what matters here is what it does when the daemon does *not* do as it should. One connection a
file: `zINSTREAM`, the bytes in pieces that each say their length, and one answer. Only two answers are certain, `OK`
and `FOUND`, and only when they are whole and the last thing said. Anything else is an error. Then a fresh `PING` tells
whether the daemon is away (everything waits for it) or only this file is too much for it.

The daemon has limits of its own (`MaxFileSize`, `MaxScanSize`), beyond which it looks no further and says `OK`, unless
`AlertExceedsMax yes` makes it say so; then the file counts as too big. `docs/scanning.md` says how to set them.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import re
import socket
import struct
import tempfile
import time
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from filemill.ports.clock import SystemClock
from filemill.ports.examining import Finding, Level
from filemill.ports.scanner import (
    EICAR,
    RuleMistake,
    ScanFailed,
    ScannerDown,
    ScannerSpec,
    TooBig,
    Verdict,
)
from filemill.ports.units import Duration, Size, format_duration, format_size

_PIECE = 1 << 18
_LENGTH = struct.Struct(">I")
_LONGEST_ANSWER = 4096
_ANSWER = re.compile(rb"stream: (?:(OK)|([\x21-\x7e][\x20-\x7e]{0,200}) FOUND)\Z")
_LIMIT = b"INSTREAM size limit exceeded. ERROR"
_EXCEEDED = "Heuristics.Limits.Exceeded"
_VERSION = re.compile(r"ClamAV [\x21-\x7e]+(?:/(\d+)/([\x20-\x7e]+))?\Z")
_OLD_DAYS = 7
_PING = 5.0


def _checked_address(text: str) -> str:
    address(text)
    return text


def address(text: str) -> str | tuple[str, int]:
    """Path of a unix socket, or (host, port) of `tcp:HOST:PORT`.

    Raises:
        ValueError: it is neither.
    """
    kind, _, rest = text.partition(":")
    if kind == "unix" and rest.startswith("/"):
        return rest
    host, _, port = rest.rpartition(":")
    if kind == "tcp" and host and port.isdecimal() and 0 < int(port) < 1 << 16:
        return host.removeprefix("[").removesuffix("]"), int(port)
    raise ValueError(
        f"`{text}` is no address of clamd: write unix:/run/clamav/clamd.ctl or tcp:127.0.0.1:3310"
    )


class ClamdScanner:
    """Has files judged by a ClamAV daemon."""

    spec = ScannerSpec(
        name="clamd",
        summary="a ClamAV daemon looks for malware, in archives too",
        example="scan: {clamd: unix:/run/clamav/clamd.ctl, timeout: 60s, max_size: 100MB}",
    )

    class Options(BaseModel):
        """`scan: {clamd: unix:/run/clamav/clamd.ctl}`."""

        model_config = ConfigDict(extra="forbid", frozen=True)

        clamd: Annotated[str, AfterValidator(_checked_address)] = Field(
            description="Where it listens: `unix:/run/clamav/clamd.ctl`, or `tcp:127.0.0.1:3310`."
        )
        timeout: Duration = Field(
            60.0, gt=0, le=3600, description="Of one file; a file that takes longer is not clean."
        )
        max_size: Size = Field(
            100_000_000,
            ge=1,
            description="Larger files are held. No more than clamd's `StreamMaxLength`, `MaxFileSize` and "
            "`MaxScanSize`.",
        )

    def __init__(self, options: Any) -> None:
        self._address = address(options.clamd)
        self._named = options.clamd
        self.timeout: float = options.timeout
        self.max_size: int = options.max_size

    @classmethod
    def mistakes(cls, options: Any) -> list[RuleMistake]:
        """None: it has no files of its own."""
        del options
        return []

    @classmethod
    def files(cls, options: Any) -> str:
        """None."""
        del options
        return ""

    def scan(self, descriptor: int, size: int) -> Verdict:
        """Send the file and believe only a whole answer."""
        if size > self.max_size:
            raise TooBig(f"{format_size(size)} is over `max_size`, {format_size(self.max_size)}")
        deadline = time.monotonic() + self.timeout
        try:
            with self._connect(self.timeout) as connection:
                answer = _exchange(connection, descriptor, size, deadline)
        except OSError as error:
            self._is_there()
            if isinstance(error, TimeoutError):
                raise ScanFailed(
                    f"clamd took longer than {format_duration(self.timeout)}"
                ) from error
            raise ScanFailed(
                f"clamd broke off ({_said(error)}): is it over its StreamMaxLength?"
            ) from error
        matched = _ANSWER.match(answer)
        if matched is not None and matched[1]:
            return Verdict()
        if matched is not None:
            signature = matched[2].decode("ascii")
            if signature.startswith(_EXCEEDED):
                raise TooBig(f"over a limit of clamd's own ({signature})")
            return Verdict(signature)
        if answer == _LIMIT:
            raise TooBig("over clamd's StreamMaxLength")
        self._is_there()
        raise ScanFailed(f"clamd answered {answer[:200].decode('utf-8', 'replace')!a}")

    def version(self) -> str:
        """As the daemon says it, without the date of its signatures."""
        return self._version()[0]

    def examine(self) -> list[Finding]:
        """Whether it answers, how old its signatures are, and whether it finds what every scanner finds."""
        about = f"scanner clamd {self._named}"
        try:
            version, made = self._version()
            found = [Finding(Level.OK, about, f"it answers: {version}")]
            found += _age(about, made)
            with tempfile.TemporaryFile() as file:
                file.write(EICAR)
                file.flush()
                verdict = self.scan(file.fileno(), len(EICAR))
        except ScannerDown as error:
            return [Finding(Level.PROBLEM, about, str(error), "start clamd; until then files wait")]
        except ScanFailed as error:
            return [
                *found,
                Finding(Level.PROBLEM, about, f"it cannot scan: {error}", "look at clamd's log"),
            ]
        if verdict.clean:
            what = "it does not find the EICAR test file, so it finds nothing"
            return [
                *found,
                Finding(Level.PROBLEM, about, what, "load its signatures (freshclam), restart it"),
            ]
        return [
            *found,
            Finding(Level.OK, about, f"it finds the EICAR test file: {verdict.signature}"),
        ]

    def _version(self) -> tuple[str, str]:
        answer = self._command(b"zVERSION\0").decode("ascii", "replace")
        matched = _VERSION.match(answer)
        if matched is None:
            raise ScannerDown(f"what listens at {self._named} is no clamd: {answer[:200]!a}")
        return answer.rpartition("/")[0] if matched[1] else answer, matched[2] or ""

    def _is_there(self) -> None:
        """Return if the daemon answers; else it is that, not the file."""
        answer = self._command(b"zPING\0")
        if answer != b"PONG":
            raise ScannerDown(f"what listens at {self._named} is no clamd: {answer[:200]!a}")

    def _command(self, command: bytes) -> bytes:
        patience = min(self.timeout, _PING)
        deadline = time.monotonic() + patience
        connection = self._connect(patience)
        try:
            with connection:
                connection.sendall(command)
                return _receive(connection, deadline)
        except OSError as error:
            said = f"clamd at {self._named} does not answer: {_said(error)}"
            raise ScannerDown(said) from error

    def _connect(self, patience: float) -> socket.socket:
        """A connection; not having one is never the file's fault."""
        where = self._address
        try:
            if isinstance(where, tuple):
                return socket.create_connection(where, min(patience, _PING))
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                connection.settimeout(min(patience, _PING))
                connection.connect(where)
            except BaseException:
                connection.close()
                raise
        except OSError as error:
            raise ScannerDown(f"no clamd at {self._named}: {_said(error)}") from error
        return connection


def _exchange(connection: socket.socket, descriptor: int, size: int, deadline: float) -> bytes:
    """Send the bytes, and answer what is said of them.

    Raises:
        OSError: it broke off or took too long, or the file is shorter than it should be.
    """
    try:
        _send(connection, b"zINSTREAM\0", deadline)
        place = 0
        while place < size:
            piece = os.pread(descriptor, min(_PIECE, size - place), place)
            if not piece:
                raise ScanFailed(f"the file ended after {place} of {size} bytes")
            _send(connection, _LENGTH.pack(len(piece)) + piece, deadline)
            place += len(piece)
        _send(connection, _LENGTH.pack(0), deadline)
    except (BrokenPipeError, ConnectionResetError) as error:
        # Over its limit it says so and hangs up, in the middle of what we send.
        with contextlib.suppress(OSError):
            if (answer := _receive(connection, deadline)) == _LIMIT:
                return answer
        raise error from None
    return _receive(connection, deadline)


def _send(connection: socket.socket, data: bytes, deadline: float) -> None:
    connection.settimeout(_left(deadline))
    connection.sendall(data)


def _receive(connection: socket.socket, deadline: float) -> bytes:
    """One answer, without the zero at its end, behind which nothing may come.

    Raises:
        OSError: there is none, it is not whole, or it has no end.
    """
    answer = b""
    while len(answer) < _LONGEST_ANSWER:
        connection.settimeout(_left(deadline))
        try:
            piece = connection.recv(_LONGEST_ANSWER)
        except ConnectionResetError:
            # So it hangs up on who still sends what it does not want.
            if answer != _LIMIT + b"\0":
                raise
            break
        if not piece:
            break
        answer += piece
    if answer.count(b"\0") != 1 or not answer.endswith(b"\0"):
        raise ConnectionError(f"its answer is not whole: {answer[:80]!a}")
    return answer[:-1]


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("timed out")
    return left


def _said(error: OSError) -> str:
    return error.strerror or str(error) or type(error).__name__


def _age(about: str, made: str) -> list[Finding]:
    """How old its signatures are, where it says so."""
    if not made:
        what = "it does not say how old its signatures are"
        return [Finding(Level.OK, about, what)]
    try:
        then = dt.datetime.strptime(made, "%a %b %d %H:%M:%S %Y").replace(tzinfo=dt.UTC)
    except ValueError:
        what = f"it says of its signatures' age what cannot be read: {made}"
        return [Finding(Level.WARNING, about, what, "look at clamd's log")]
    today = dt.datetime.fromtimestamp(SystemClock().wall_ns() / 1e9, dt.UTC)
    days = (today - then).days
    what = f"its signatures are of {then:%Y-%m-%d}"
    if days > _OLD_DAYS:
        return [
            Finding(Level.WARNING, about, f"{what}, {days} days old", "see that freshclam runs")
        ]
    return [Finding(Level.OK, about, what)]
