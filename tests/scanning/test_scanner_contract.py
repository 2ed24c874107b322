"""Both scanners against the contract; and what `clamd` makes of a daemon that does not do as it should."""

from __future__ import annotations

import socket
import tempfile
import time
from collections.abc import Callable, Iterator

import pytest

from clamav import (
    MARKER,
    STREAM_MAX,
    Clamd,
    Pretender,
    answering,
    command_of,
    running_clamd,
    swallow,
)
from filemill.ports.examining import Level
from filemill.ports.scanner import EICAR, ScanFailed, Scanner, ScannerDown, TooBig
from filemill.scanners.clamd import ClamdScanner
from filemill.scanners.yara import YaraScanner
from filemill.testing.contracts.scanner import DownContract, ScannerContract

RULES = f'rule marker {{ strings: $m = "{MARKER.decode()}" condition: $m }}'


def clamd_at(address: str, limit: int = 1 << 20, timeout: float = 5.0) -> ClamdScanner:
    options = {"clamd": address, "max_size": limit, "timeout": timeout}
    return ClamdScanner(ClamdScanner.Options.model_validate(options))


@pytest.fixture(scope="module")
def daemon() -> Iterator[Clamd]:
    with running_clamd() as clamd:
        yield clamd


class OfClamd(ScannerContract, DownContract):
    bad = EICAR + b"\n" + MARKER
    address = ""

    def make_down(self) -> Scanner:
        return clamd_at("unix:/nowhere/clamd.ctl")


class TestClamdOverUnixSocket(OfClamd):
    @pytest.fixture(autouse=True)
    def _daemon(self, daemon: Clamd) -> None:
        self.daemon = daemon

    def make(self, limit: int) -> Scanner:
        return clamd_at(self.daemon.unix, limit)


class TestClamdOverTcp(TestClamdOverUnixSocket):
    def make(self, limit: int) -> Scanner:
        return clamd_at(self.daemon.tcp, limit)

    def make_down(self) -> Scanner:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        return clamd_at(f"tcp:127.0.0.1:{port}")


class TestYara(ScannerContract):
    bad = b"before " + MARKER

    def make(self, limit: int) -> Scanner:
        options = {"yara": "r.yar", "max_size": limit, "rules": {"r.yar": RULES}}
        return YaraScanner(YaraScanner.Options.model_validate(options))


def scan(scanner: Scanner, data: bytes) -> str:
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        return scanner.scan(file.fileno(), len(data)).signature


def test_more_than_the_daemon_takes_is_too_big_and_not_clean(daemon: Clamd) -> None:
    scanner = clamd_at(daemon.unix, limit=100_000_000)
    with pytest.raises(TooBig, match="StreamMaxLength"):
        scan(scanner, b"x" * (STREAM_MAX + 1) + EICAR)


@pytest.mark.parametrize(
    "reply",
    [
        b"stream: OK",  # not whole
        b"stream: OK\0stream: OK\0",
        b"stream: OK\n",
        b"OK\0",
        b"stream: ok\0",
        b"stream: OK \0",
        b"1: stream: OK\0",
        b"stream:  FOUND\0",
        b"stream: Can't allocate memory ERROR\0",
        b"UNKNOWN COMMAND\0",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"\xff" * 8000,
        b"\0",
        b"",
    ],
)
def test_an_answer_that_is_not_certain_is_never_clean(reply: bytes) -> None:
    fake = Pretender(answering(reply))
    try:
        with pytest.raises(ScanFailed):
            scan(clamd_at(fake.address), b"data")
    finally:
        fake.close()


@pytest.mark.parametrize("reply", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"stream: OK\0", b""])
def test_what_does_not_answer_as_a_daemon_is_none(reply: bytes) -> None:
    fake = Pretender(answering(reply, alive=False))
    try:
        scanner = clamd_at(fake.address)
        with pytest.raises(ScannerDown):
            scanner.version()
        if reply != b"stream: OK\0":
            with pytest.raises(ScannerDown):
                scan(scanner, b"data")
        assert scanner.examine()[0].level is Level.PROBLEM
    finally:
        fake.close()


def test_limits_of_the_daemons_own_are_told_from_findings() -> None:
    fake = Pretender(answering(b"stream: Heuristics.Limits.Exceeded.MaxFileSize FOUND\0"))
    try:
        with pytest.raises(TooBig, match="limit"):
            scan(clamd_at(fake.address), b"data")
    finally:
        fake.close()


def _hang_over_files(connection: socket.socket) -> None:
    if command_of(connection) == b"zPING\0":
        connection.sendall(b"PONG\0")
    else:
        swallow(connection)
        time.sleep(5)


def _hang_always(connection: socket.socket) -> None:
    command_of(connection)
    time.sleep(10)


def _reset(connection: socket.socket) -> None:
    if command_of(connection) == b"zPING\0":
        connection.sendall(b"PONG\0")


@pytest.mark.parametrize(
    ("behaves", "error"),
    [(_hang_over_files, ScanFailed), (_hang_always, ScannerDown), (_reset, ScanFailed)],
)
def test_one_that_hangs_or_breaks_off(
    behaves: Callable[[socket.socket], None], error: type[Exception]
) -> None:
    fake = Pretender(behaves)
    began = time.monotonic()
    try:
        with pytest.raises(error):
            scan(clamd_at(fake.address, timeout=0.5), b"data")
    finally:
        fake.close()
    assert time.monotonic() - began < 4


def test_doctor_sees_a_daemon_that_finds_nothing_and_one_with_old_signatures() -> None:
    def answer(connection: socket.socket) -> None:
        command = command_of(connection)
        if command == b"zINSTREAM\0":
            swallow(connection)
            connection.sendall(b"stream: OK\0")
        else:
            connection.sendall(b"ClamAV 1.0.1/26800/Wed Feb  1 09:32:11 2023\0")

    fake = Pretender(answer)
    try:
        found = clamd_at(fake.address).examine()
    finally:
        fake.close()
    assert [each.level for each in found] == [Level.OK, Level.WARNING, Level.PROBLEM]
    assert "days old" in found[1].what
    assert "EICAR" in found[2].what


def test_yara_gives_up_a_file_after_its_time() -> None:
    slow = "rule slow { condition: for all i in (0..100000000000) : (i >= 0) }"
    options = {"yara": "r.yar", "timeout": "1s", "rules": {"r.yar": slow}}
    scanner = YaraScanner(YaraScanner.Options.model_validate(options))
    with pytest.raises(ScanFailed, match="longer"):
        scan(scanner, b"data")


def test_yara_tells_mistakes_by_line_and_column() -> None:
    options = YaraScanner.Options.model_validate(
        {"yara": "*", "rules": {"a.yar": "rule a {\n condition: $x }", "b.yar": RULES}}
    )
    (mistake,) = YaraScanner.mistakes(options)
    assert (mistake.file, mistake.line, mistake.column) == ("a.yar", 2, 13)
