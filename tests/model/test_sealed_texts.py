"""Texts that may quote content, sealed for the ledger and opened for people; content that does not open."""

import io
import tempfile

import pyrage
import pytest

from filemill.encryption.age import (
    Corrupt,
    Opener,
    Sealer,
    WrongKey,
    key_in,
    sealed_name,
    sealed_size,
)
from filemill.encryption.texts import GENERAL, in_general_words, reseal, seal_text, shown
from filemill.model.errors import UsageError
from filemill.model.runs import Failure


def pair():
    """What seals, and what opens that."""
    identity = pyrage.x25519.Identity.generate()
    return Sealer([str(identity.to_public())]), Opener(f"# a comment\n{identity}\n")


def opened(opener, data, *, ours=True):
    out = io.BytesIO()
    opener.stream(io.BytesIO(data), out, ours=ours)
    return out.getvalue()


@pytest.mark.parametrize("size", [0, 1, 65535, 65536, 65537, 300_000])
def test_what_is_sealed_opens_and_has_the_size_it_should(size):
    sealer, opener = pair()
    out = io.BytesIO()
    assert sealer.stream(io.BytesIO(b"x" * size), out) == size
    assert opened(opener, out.getvalue()) == b"x" * size
    with tempfile.TemporaryFile() as file:
        file.write(out.getvalue())
        file.flush()
        assert sealed_size(file, size) == len(out.getvalue())


@pytest.mark.parametrize("size", [10, 200_000])
def test_whatever_byte_is_changed_or_cut_off_it_is_corrupt(size):
    sealer, opener = pair()
    sealed = sealer.data(b"x" * size)
    for at in range(0, len(sealed), max(1, len(sealed) // 40)):
        changed = sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :]
        with pytest.raises(Corrupt):
            opened(opener, changed)
        with pytest.raises(Corrupt):
            opened(opener, sealed[:at])


def test_what_is_sealed_for_others_is_no_damage():
    (sealer, _), (_, opener) = pair(), pair()
    with pytest.raises(WrongKey):
        opened(opener, sealer.data(b"x"), ours=False)


def test_an_error_of_a_stream_stays_one():
    class Full(io.RawIOBase):
        def write(self, data):
            raise OSError(28, "No space left on device")

    sealer, opener = pair()
    with pytest.raises(OSError, match="No space left") as full:
        sealer.stream(io.BytesIO(b"x"), Full())
    assert full.value.errno == 28
    with pytest.raises(OSError, match="No space left") as full:
        opener.stream(io.BytesIO(sealer.data(b"x")), Full(), ours=True)
    assert full.value.errno == 28


def test_texts_are_opened_with_the_identity_and_general_words_without():
    sealer, opener = pair()
    other = pair()[1]
    sealed = seal_text("row CANARY", sealer)
    assert "CANARY" not in sealed
    assert seal_text(sealed, sealer) == sealed
    assert shown(sealed, opener) == "row CANARY"
    assert shown(sealed, None) == shown(sealed, other) == GENERAL
    assert shown("plain", None) == "plain"
    assert seal_text("", sealer) == ""
    failure = Failure("permanent", "s", "E", sealed)
    assert in_general_words(failure).message == GENERAL


def test_a_text_gets_another_key_once():
    (first, opens), (second, then) = pair(), pair()
    sealed = reseal(seal_text("row", first), second, opens)
    assert shown(sealed, then) == "row"
    assert reseal(sealed, second, opens) == sealed
    assert shown(reseal("plain", second, opens), then) == "plain"


def test_names_say_for_whom():
    sealer, _ = pair()
    name = sealed_name("bucket/id", sealer.key)
    assert key_in(name) == sealer.key
    assert key_in("bucket/id") == key_in("partner.csv.age") == ""


@pytest.mark.parametrize("text", ["", "# nothing\n", "secret words", "age1abc"])
def test_what_is_no_identity_is_said_without_quoting_it(text):
    with pytest.raises(UsageError) as refused:
        Opener(text)
    assert not text.strip("# \n") or text.strip() not in f"{refused.value} {refused.value.help}"
