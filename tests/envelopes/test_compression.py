"""Compressed files: every byte of every member, or an error that says where."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
import re
import struct
import zlib
from collections.abc import Callable

import pytest
from backports import zstd
from hypothesis import given, settings
from hypothesis import strategies as st

from filemill.envelopes.compression import (
    HEAD,
    PIECE,
    Budget,
    Damaged,
    OverBudget,
    expand,
    kind_of,
)

MAKE: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "zst": lambda data: zstd.compress(data, options={zstd.CompressionParameter.checksum_flag: 1}),
    "bz2": bz2.compress,
    "xz": lzma.compress,
}
NOISE = random.Random(7).randbytes(3_000)
KINDS = pytest.mark.parametrize("kind", list(MAKE))


def expanded(data: bytes, kind: str, most: int = 1 << 30, ratio: float = 10_000) -> bytes:
    return b"".join(expand(io.BytesIO(data).read, kind, Budget(most, ratio)))


@KINDS
def test_all_members_are_read_and_the_format_is_seen(kind: str) -> None:
    parts = [NOISE, b"", b"x" * 100_000, random.Random(8).randbytes(PIECE), NOISE]
    packed = [MAKE[kind](part) for part in parts]
    assert {kind_of(each[:HEAD]) for each in packed} == {kind}
    assert expanded(b"".join(packed), kind) == b"".join(parts)
    assert len(b"".join(packed)) > PIECE


@KINDS
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_a_cut_file_is_always_an_error(kind: str, data: st.DataObject) -> None:
    first, second = MAKE[kind](NOISE), MAKE[kind](NOISE * 2)
    whole = first + second
    at = data.draw(st.integers(HEAD, len(whole) - 1).filter(lambda at: at != len(first)))
    with pytest.raises(Damaged, match=r"ends early, at byte|no \w+ data follow"):
        expanded(whole[:at], kind)


@KINDS
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_a_flipped_bit_gives_the_same_bytes_or_an_error(kind: str, data: st.DataObject) -> None:
    whole = bytearray(MAKE[kind](NOISE))
    bit = data.draw(st.integers(0, 8 * len(whole) - 1))
    whole[bit // 8] ^= 1 << bit % 8
    try:
        made = expanded(bytes(whole), kind)
    except (Damaged, OverBudget):
        return
    # Some bits of a header say nothing of the content (gzip's time stamp, its operating system).
    assert made == NOISE


@KINDS
def test_what_follows_the_last_member_and_is_none_is_named(kind: str) -> None:
    whole = MAKE[kind](NOISE)
    for rest in (b"garbage, and more than ten bytes of it", b"\0\0\0\0\0\0\0\0x"):
        with pytest.raises(Damaged) as caught:
            expanded(whole + rest, kind)
        place = int(re.search(r"from byte ([\d,]+)", caught.value.message)[1].replace(",", ""))
        first = len(rest) - len(rest.lstrip(b"\0")) if kind in ("gz", "xz") else 0
        assert place == len(whole) + first
        assert caught.value.help


def test_padding_is_no_garbage() -> None:
    assert expanded(MAKE["gz"](NOISE) + bytes(511), "gz") == NOISE
    assert expanded(MAKE["xz"](NOISE) + bytes(8), "xz") == NOISE
    with pytest.raises(Damaged):
        expanded(MAKE["xz"](NOISE) + bytes(7), "xz")


def test_gzip_headers_of_any_shape_at_any_place() -> None:
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    body = deflate.compress(NOISE) + deflate.flush()
    tail = struct.pack("<II", zlib.crc32(NOISE), len(NOISE))
    members = []
    for flags in range(32):
        header = b"\x1f\x8b\x08" + bytes([flags]) + bytes(6)
        header += struct.pack("<H", 60_000) + b"e" * 60_000 if flags & 4 else b""
        header += b"n" * 70_000 + b"\0" if flags & 8 else b""
        header += b"c" * 70_000 + b"\0" if flags & 16 else b""
        header += struct.pack("<H", zlib.crc32(header) & 0xFFFF) if flags & 2 else b""
        members.append(header + body + tail)
    assert expanded(b"".join(members), "gz") == NOISE * 32
    with pytest.raises(Damaged, match="flags"):
        expanded(b"\x1f\x8b\x08\x20" + bytes(6) + body + tail, "gz")


def test_a_frame_that_zstd_says_to_skip_is_skipped() -> None:
    skipped = b"\x53\x2a\x4d\x18" + struct.pack("<I", 5) + b"hello"
    packed = MAKE["zst"](NOISE)
    assert kind_of(skipped) == "zst"
    assert expanded(skipped + packed + skipped + packed, "zst") == NOISE * 2


@KINDS
def test_a_bomb_ends_at_its_budget_and_not_at_its_end(kind: str) -> None:
    zeros = MAKE[kind](bytes(8 << 20)) * 9
    made: list[int] = []
    pieces = expand(io.BytesIO(zeros).read, kind, Budget(1 << 40, 200))
    with pytest.raises(OverBudget, match="times its size"):
        made.extend(map(len, pieces))
    assert 0 < sum(made) <= 64 << 20, "nothing was handed on beyond the budget"
    with pytest.raises(OverBudget, match="more than 1MiB"):
        expanded(zeros, kind, most=1 << 20)


def test_what_wants_too_much_memory_is_no_damage() -> None:
    wide = [{"id": lzma.FILTER_LZMA2, "dict_size": 512 << 20}]
    # The dictionary is only announced here: one byte of the block's header.
    packed = bytearray(lzma.compress(b"small", filters=[wide[0] | {"dict_size": 1 << 20}]))
    at = packed.index(b"\x21\x01") + 2
    packed[at] = 36  # 1 GiB
    header = packed[12 : 12 + (packed[12] + 1) * 4 - 4]
    packed[12 + len(header) : 16 + len(header)] = struct.pack("<I", zlib.crc32(header))
    with pytest.raises(OverBudget, match="memory"):
        expanded(bytes(packed), "xz")


@KINDS
def test_another_format_than_declared(kind: str) -> None:
    with pytest.raises(Damaged, match="byte 0"):
        expanded(b"a,b\n1,2\n3,4\n5,6\n", kind)
