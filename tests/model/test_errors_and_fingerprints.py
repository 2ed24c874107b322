"""The error tree tells the engine what to do; fingerprints group what is the same trouble."""

import inspect

import pytest

from filemill.model import errors
from filemill.model.errors import FailureKind, FilemillError, Reject, Retry
from filemill.model.fingerprint import fingerprint, mask, own_frames

CLASSES = [
    c for _, c in inspect.getmembers(errors, inspect.isclass) if issubclass(c, FilemillError)
]


@pytest.mark.parametrize("error", CLASSES)
def test_every_error_has_a_kind_a_promise_and_a_message(error):
    assert isinstance(error.kind, FailureKind)
    assert inspect.getdoc(error)
    raised = error("it broke", **({} if error is Retry else {"help": "mend it"}))
    assert raised.message == str(raised) == "it broke"
    assert raised.help == ("" if error is Retry else "mend it")


def test_kinds_are_those_of_the_engine():
    kinds = {c.__name__: c.kind for c in CLASSES}
    assert kinds["Reject"] is FailureKind.PERMANENT
    assert kinds["Retry"] is FailureKind.TRANSIENT
    assert kinds["CrashError"] is FailureKind.CRASH
    assert kinds["LedgerSyncError"] is FailureKind.SYSTEM


def test_control_errors_carry_what_the_engine_needs():
    assert Retry(after=30).retry_after == 30
    assert Reject("bad", fingerprint="mine").fingerprint == "mine"
    assert Reject("bad").fingerprint is None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("row 17: amount is -3", "row 4096: amount is -12"),
        ("cannot open /srv/in/a.csv", "cannot open /srv/in/b.csv"),
        ("cannot open '/srv/My Files/a.csv'", "cannot open '/srv/b.csv'"),
        ("digest deadbeef00 differs", "digest 0123456789abcdef differs"),
        ("file k3mqz2xw7dpf4 is gone", "file aaaaaaaaaaaaa is gone"),
    ],
)
def test_equal_troubles_read_equal(one, other):
    assert mask(one) == mask(other)
    assert fingerprint("p", "s", "E", one) == fingerprint("p", "s", "E", other)


def test_different_troubles_stay_apart():
    base = ("orders", "check", "SchemaError", "column 'amount' missing")
    others = [
        ("photos", *base[1:]),
        (base[0], "parse", *base[2:]),
        (*base[:2], "ValueError", base[3]),
        (*base[:3], "column 'total' missing"),
    ]
    prints = {fingerprint(*parts) for parts in (base, *others)}
    assert len(prints) == 5
    assert all(p.startswith("v1:") and len(p) == 15 for p in prints)


def test_own_frames_leave_out_ours_and_the_library():
    traceback = (
        "Traceback (most recent call last):\n"
        '  File "/x/filemill/engine/worker.py", line 1, in run\n'
        '  File "/home/u/steps.py", line 31, in add_vat\n'
        '  File "/usr/lib/python3.11/json/__init__.py", line 2, in loads\n'
        '  File "/v/site-packages/polars/frame.py", line 9, in select\n'
    )
    assert own_frames(traceback) == ("steps.py:add_vat",)
    moved = traceback.replace("line 31", "line 44")
    assert fingerprint("p", "s", "E", "m", traceback) == fingerprint("p", "s", "E", "m", moved)
    assert fingerprint("p", "s", "E", "m", traceback) != fingerprint("p", "s", "E", "m")


def test_a_message_without_end_is_cut():
    assert len(mask("x" * 10_000)) == 500
