"""What every scanner promises, tried on one that is real: `ScannerContract` is the base of its tests.

A plugin's tests derive from it and give `make`, a scanner that finds `self.bad`.
"""

from __future__ import annotations

import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

import pytest

from filemill.ports.examining import Level
from filemill.ports.scanner import Scanner, ScannerDown, TooBig, Verdict


class ScannerContract:
    """Derive from it; `make` answers with a scanner whose `max_size` is `limit`."""

    bad: ClassVar[bytes] = b""
    """Bytes that it finds something in."""

    def make(self, limit: int) -> Scanner:
        """A scanner that works."""
        raise NotImplementedError

    def judge(self, scanner: Scanner, data: bytes) -> Verdict:
        """Its verdict on these bytes as a file."""
        with tempfile.TemporaryFile() as file:
            file.write(data)
            file.flush()
            return scanner.scan(file.fileno(), len(data))

    def test_it_tells_bad_from_good(self) -> None:
        scanner = self.make(1 << 20)
        assert self.judge(scanner, b"a,b\n1,2\n").clean
        found = self.judge(scanner, self.bad)
        assert not found.clean
        assert found.signature.isprintable()

    def test_an_empty_file_is_clean(self) -> None:
        assert self.judge(self.make(1 << 20), b"").clean

    def test_what_is_bad_is_found_at_the_very_end(self) -> None:
        assert not self.judge(self.make(1 << 22), b"x" * 1_000_000 + self.bad).clean

    def test_it_takes_a_file_up_to_its_limit_and_no_byte_more(self) -> None:
        scanner = self.make(1000)
        assert scanner.max_size == 1000
        assert self.judge(scanner, b"x" * 1000).clean
        with pytest.raises(TooBig):
            self.judge(scanner, b"x" * 1001)

    def test_the_descriptors_position_does_not_count(self) -> None:
        scanner = self.make(1 << 20)
        with tempfile.TemporaryFile() as file:
            file.write(self.bad)
            file.flush()
            os.lseek(file.fileno(), 0, os.SEEK_END)
            assert not scanner.scan(file.fileno(), len(self.bad)).clean
            assert not scanner.scan(file.fileno(), len(self.bad)).clean

    def test_many_threads_may_ask_at_once(self) -> None:
        scanner = self.make(1 << 20)
        files = [self.bad if n % 3 == 0 else b"fine %d\n" % n for n in range(60)]
        with ThreadPoolExecutor(8) as threads:
            said = list(threads.map(lambda data: self.judge(scanner, data).clean, files))
        assert said == [n % 3 != 0 for n in range(60)]

    def test_it_says_what_it_is_and_examines_itself(self) -> None:
        scanner = self.make(1 << 20)
        assert scanner.version().isprintable()
        found = scanner.examine()
        assert found
        assert all(each.level is not Level.PROBLEM for each in found)


class DownContract:
    """Of a scanner that may be away: `make_down` answers with one whose other end is not there."""

    def make_down(self) -> Scanner:
        """A scanner that cannot work."""
        raise NotImplementedError

    def test_away_is_not_clean(self) -> None:
        scanner = self.make_down()
        with tempfile.TemporaryFile() as file, pytest.raises(ScannerDown):
            scanner.scan(file.fileno(), 0)
        with pytest.raises(ScannerDown):
            scanner.version()
        assert any(each.level is Level.PROBLEM and each.help for each in scanner.examine())
