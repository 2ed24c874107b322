from __future__ import annotations

from filemill import File, Reject, Retry, Tagged, step
from filemill.model.errors import PermanentError, TransientError


def test_a_decorated_function_stays_a_plain_callable() -> None:
    @step
    def add_vat(row: dict, *, rate: float = 0.2) -> dict:
        return row | {"vat": row["amount"] * rate}

    @step(io=True, summary="Waits.")
    def slow(row: dict) -> dict:
        return row

    assert add_vat({"amount": 10})["vat"] == 2
    assert add_vat.__name__ == "add_vat"
    assert slow({}) == {}


def test_tagged_compares_and_shows() -> None:
    assert Tagged({"a": 1}, "vip") == Tagged({"a": 1}, "vip")
    assert Tagged({"a": 1}, "vip") != Tagged({"a": 1}, "x")
    assert repr(Tagged({}, "vip")) == "Tagged({}, 'vip')"


def test_the_two_control_errors() -> None:
    assert isinstance(Reject("no"), PermanentError)
    assert isinstance(Retry(after=3), TransientError)
    assert Retry(after=3).retry_after == 3


def test_a_file_opens_like_a_path(tmp_path: object) -> None:
    path = f"{tmp_path}/a.csv"
    with open(path, "w", encoding="ascii") as out:
        out.write("x")
    with open(File(path), encoding="ascii") as read:
        assert read.read() == "x"
    assert File(path).name == "a.csv"
