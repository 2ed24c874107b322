"""Two hundred clients send files of 1 MB for a minute, then everything is killed."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[1] / "web"))


@pytest.mark.crash
@pytest.mark.timeout(600)
def test_two_hundred_clients_for_a_minute(tmp_path, record_property):
    from test_crowd import kill_under

    count, grown = kill_under(tmp_path, clients=200, size=1_000_000, seconds=60)
    record_property("acknowledged", count)
    record_property("grown by", grown)
    assert grown < 64 << 20
