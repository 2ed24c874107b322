"""What is sealed piece by piece opens as a whole, can be gone on with, and shows whatever was done to it."""

import io
import random

import pyrage
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from filemill.encryption.age import Corrupt, Opener, Sealer, WrongKey, sealed_size
from filemill.encryption.pieces import FRAME, MAGIC, PIECE, Pieces, standing, walked

IDENTITY = pyrage.x25519.Identity.generate()
SEALER, OPENER = Sealer([str(IDENTITY.to_public())]), Opener(str(IDENTITY))


def sealed(*parts):
    """These parts as pieces, the last one as the end."""
    pieces = Pieces(SEALER.data)
    return b"".join([*map(pieces.add, parts[:-1]), pieces.end(parts[-1])])


def opened(data, *, ours=True, opener=OPENER):
    out = io.BytesIO()
    opener.stream(io.BytesIO(data), out, ours=ours)
    return out.getvalue()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.binary(max_size=300), min_size=1, max_size=8))
def test_any_parts_open_as_a_whole(parts):
    assert opened(sealed(*parts)) == b"".join(parts)


def test_what_is_no_more_than_a_piece_is_an_age_file():
    for plain in (b"", b"x", b"x" * PIECE):
        assert pyrage.decrypt(sealed(plain), [IDENTITY]) == plain
    assert sealed(b"x" * (PIECE + 1)).startswith(MAGIC)
    assert opened(sealed(b"x" * (2 * PIECE + 1))) == b"x" * (2 * PIECE + 1)


def test_whatever_byte_is_changed_or_cut_off_it_is_corrupt():
    whole = sealed(b"first", b"second", b"", b"last")
    for at in range(len(whole)):
        with pytest.raises(Corrupt):
            opened(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(Corrupt):
            opened(whole[:at])
    with pytest.raises(Corrupt):
        opened(whole + b"x")


def test_pieces_that_are_exchanged_or_left_out_are_found_out():
    pieces = Pieces(SEALER.data)
    first, second, third = pieces.add(b"1111"), pieces.add(b"2222"), pieces.end(b"3333")
    head, first = first[: len(MAGIC)], first[len(MAGIC) :]
    assert opened(head + first + second + third) == b"111122223333"
    for wrong in (second + first + third, first + third, first + second + second + third):
        with pytest.raises(Corrupt):
            opened(head + wrong)


def test_a_piece_for_others_is_no_damage():
    other = Opener(str(pyrage.x25519.Identity.generate()))
    with pytest.raises(WrongKey):
        opened(sealed(b"1", b"2"), ours=False, opener=other)


def test_a_length_that_nobody_wrote_takes_no_memory():
    with pytest.raises(Corrupt):
        opened(MAGIC + FRAME.pack(0, 1, (1 << 32) - 1) + b"x" * 100)


def test_it_is_gone_on_with_behind_any_whole_piece(tmp_path):
    chance = random.Random(7)
    pieces = Pieces(SEALER.data)
    path, plain = tmp_path / "f", b""
    with path.open("w+b", buffering=0) as file:
        for _ in range(12):
            part = chance.randbytes(chance.randrange(1, 400))
            file.write(pieces.add(part))
            plain += part
            end = file.tell()
            file.write(pieces.add(b"torn")[: chance.randrange(40)])
            assert standing(file.fileno(), len(plain)) == end
            assert standing(file.fileno(), len(plain) + 1) == -1
            file.truncate(end)
            file.seek(end)
            pieces = Pieces(SEALER.data, len(plain))
        assert sealed_size(file, len(plain)) == -1
        file.write(pieces.end(b"end"))
        assert opened(path.read_bytes()) == plain + b"end"
        assert sealed_size(file, len(plain) + 3) == path.stat().st_size
        assert sealed_size(file, len(plain)) == -1
        assert len(list(walked(file.fileno()))) == 14


def by_place(path, data, *, ours=True, opener=OPENER):
    path.write_bytes(data)
    return opener.by_place(bytes(path), ours=ours)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(st.binary(min_size=1, max_size=60), min_size=2, max_size=7),
    st.lists(st.tuples(st.integers(0, 200), st.integers(0, 300)), max_size=20),
)
def test_from_any_place_it_reads_as_the_plain_file_does(tmp_path, parts, asked):
    plain = b"".join(parts)
    opened = by_place(tmp_path / "f", sealed(*parts))
    for size, at in asked:
        assert opened.pread(size, at) == plain[at : at + size]
    again = OPENER.by_place(bytes(tmp_path / "f"), ours=True, known=opened.index)
    assert again.pread(len(plain), 0) == plain
    opened.close()
    again.close()


def test_only_the_pieces_that_are_asked_for_are_opened(tmp_path):
    parts = [bytes([n]) * 100 for n in range(9)]
    data = bytearray(sealed(*parts))
    data[-FRAME.size - 1] ^= 1  # in the last piece
    opened = by_place(tmp_path / "f", bytes(data))
    assert opened.pread(800, 0) == b"".join(parts[:8])
    for at in (800, 899):
        with pytest.raises(Corrupt):
            opened.pread(1, at)
    opened.close()


def test_what_is_cut_is_corrupt_before_any_of_it_is_read(tmp_path):
    whole = sealed(b"1" * 10, b"2" * 10)
    for data in (whole[:-1], whole[: -FRAME.size], whole + b"x", whole[: len(MAGIC) + 30]):
        with pytest.raises(Corrupt):
            by_place(tmp_path / "f", data)


def test_what_is_of_another_identity_is_no_damage(tmp_path):
    other = Opener(str(pyrage.x25519.Identity.generate()))
    opened = by_place(tmp_path / "f", sealed(b"1", b"2"), ours=False, opener=other)
    with pytest.raises(WrongKey):
        opened.pread(1, 0)


def test_content_is_in_pieces_as_soon_as_it_is_more_than_one(tmp_path):
    for size in (0, 1, PIECE, PIECE + 1, 3 * PIECE, 3 * PIECE + 5):
        plain = random.Random(size).randbytes(size)
        out = io.BytesIO()
        assert SEALER.content(io.BytesIO(plain), out) == size
        assert opened(out.getvalue()) == plain
        found = by_place(tmp_path / "f", out.getvalue())
        assert (found is not None) == (size > PIECE)
        if found is not None:
            assert found.pread(10, size - 4) == plain[-4:]
            found.close()
        else:
            assert pyrage.decrypt(out.getvalue(), [IDENTITY]) == plain
