"""A key lets in whom it was made for, and nothing that is like it does."""

import os
import re
import stat
import subprocess
import sys

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filemill.durable import Durable, Failpoints
from filemill.identity import keys, pepper
from filemill.model.access import ROLES, Right
from filemill.model.errors import SystemFault
from filemill.model.keys import StoredKey

PEPPER = b"p" * 32
NOW = 1_000


def stored(made, **more):
    return StoredKey(
        id=made.id,
        name="acme",
        roles=("uploader",),
        hash=made.hash,
        created_ns=1,
        created_by="ana",
        **more,
    )


def test_a_key_lets_its_principal_in():
    made = keys.make(PEPPER)
    asked = []
    principal = keys.recognise(
        made.text, PEPPER, lambda key: asked.append(key) or stored(made, sources=("inbox",)), NOW
    )
    assert asked == [made.id]
    assert principal is not None
    assert (principal.name, principal.key, principal.sources) == ("key:acme", made.id, ("inbox",))
    assert principal.rights == {Right.UPLOAD}
    assert re.fullmatch(keys.PATTERN, made.text)
    assert made.text.isascii()
    assert made.text == made.text.lower()
    secret = made.text.split("_")[2].encode()
    assert secret not in msgspec.json.encode(stored(made)), "the ledger gets no secret"


@pytest.mark.parametrize(
    "why", ["expired", "revoked", "unknown", "another pepper", "another's secret"]
)
def test_a_key_that_is_over_or_nobodys_lets_nobody_in(why):
    made, other = keys.make(PEPPER), keys.make(PEPPER)
    kept = {
        "expired": stored(made, expires_ns=NOW),
        "revoked": stored(made, revoked_ns=1),
        "unknown": None,
        "another's secret": stored(other),
    }.get(why, stored(made))
    secret = b"q" * 32 if why == "another pepper" else PEPPER
    assert keys.recognise(made.text, secret, lambda _: kept, NOW) is None
    assert keys.recognise(made.text, PEPPER, lambda _: stored(made), NOW), "the control"


def test_each_letter_counts_and_the_check_tells_without_asking():
    made = keys.make(PEPPER)
    for place, letter in enumerate(made.text):
        wrong = made.text[:place] + ("a" if letter != "a" else "b") + made.text[place + 1 :]
        assert keys.parse(wrong) is None, wrong
    for text in ("", "fm_", made.text + "a", made.text[:-1], made.text.upper(), f" {made.text}"):
        assert keys.parse(text) is None

    def never(_):
        raise AssertionError("the ledger is not asked about what cannot be a key")

    assert keys.recognise(made.text[:-1] + "0", PEPPER, never, NOW) is None


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200) | st.from_regex(r"fm_[a-z2-7]{8}_[a-z2-7]{58}", fullmatch=True))
def test_any_text_may_be_asked(text):
    assert keys.parse(text) is None or re.fullmatch(keys.PATTERN, text)


def test_keys_are_all_different_and_look_random():
    made = [keys.make(PEPPER) for _ in range(500)]
    assert len({each.text for each in made}) == 500
    assert len({each.text.split("_")[2][:8] for each in made}) == 500


def test_the_pepper_is_made_once_private_and_whole(tmp_path):
    data, durable = str(tmp_path), Durable(Failpoints("test"))
    assert pepper.read(data) is None
    first = pepper.ensure(data, durable)
    assert pepper.ensure(data, durable) == first == pepper.read(data)
    assert len(first) == 32
    assert len(set(first)) > 8
    path = tmp_path / "pepper"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.write_bytes(b"short")
    with pytest.raises(SystemFault, match="32 bytes"):
        pepper.ensure(data, durable)


KILLED = """
import sys
from filemill.durable import Durable, Failpoints
from filemill.identity import pepper
pepper.ensure(sys.argv[1], Durable(Failpoints.from_environment("command")))
"""


def test_killed_at_any_action_the_pepper_is_whole_or_not_there(tmp_path):
    data = str(tmp_path)
    killed = 0
    for action in range(1, 20):
        environ = os.environ | {"FILEMILL_FAIL": f"command.*:{action}:kill"}
        done = subprocess.run([sys.executable, "-c", KILLED, data], env=environ, check=False)
        found = pepper.read(data)
        if done.returncode == 0:
            break
        killed += 1
        assert found is None or len(found) == 32
    assert killed >= 3
    assert pepper.ensure(data, Durable(Failpoints("test"))) == found


def test_no_role_is_without_a_right_and_admin_has_all():
    assert all(ROLES.values())
    assert ROLES["admin"] == set(Right)
