"""Packed columns and the shapes of JSON answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from filemill.model.errors import FailureKind
from filemill.model.files import Facts, TagHit
from filemill.model.runs import Failure, RecordForm, RunResult, StepCount

_TOP = 1 << 63
_ALL = 1 << 64


def signed(number: int) -> int:
    """A device or inode number as the signed twin of its 64 bits, which is what SQLite holds."""
    return number if number < _TOP else number - _ALL


def unsigned(number: int) -> int:
    """The inverse of `signed`."""
    return number if number >= 0 else number + _ALL


def plain(text: str) -> str:
    """Text that UTF-8 can hold: what cannot be encoded (bytes of a file's name) is shown as escapes."""
    if text.isascii():
        return text
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


class PackedFacts(msgspec.Struct, array_like=True, frozen=True):
    """What inspection found, as a file's row keeps it: (tag, rule, why) of each tag, and the header."""

    tags: tuple[tuple[str, str, str], ...] = ()
    header: tuple[str, ...] = ()


class PackedAttempt(msgspec.Struct, array_like=True, frozen=True):
    """What one attempt did. `steps` holds (step, taken, given, added, filtered, bad, took_ns) each."""

    steps: tuple[tuple[str, int, int, int, int, int, int], ...] = ()
    records: int = 0
    blank: int = 0
    bad: int = 0
    took_ns: int = 0
    hold: str = ""
    hold_step: str = ""
    choices: tuple[str, ...] = ()
    form: RecordForm | None = None
    began_at: str = ""
    kept: tuple[str, int, int] | None = None
    """Step, bytes and records of the kept input."""
    unkept: str = ""
    fell_back: str = ""


class PackedCheckpoint(msgspec.Struct, array_like=True, frozen=True):
    """What a chunk's row keeps: paths of the outputs as far as they are joined, and the engine's own state."""

    staged: tuple[bytes, ...]
    state: bytes


_encode = msgspec.msgpack.Encoder().encode
_FACTS = msgspec.msgpack.Decoder(PackedFacts)
_ATTEMPT = msgspec.msgpack.Decoder(PackedAttempt)
_FAILURE = msgspec.msgpack.Decoder(Failure)
_CHECKPOINT = msgspec.msgpack.Decoder(PackedCheckpoint)
_tuple = msgspec.structs.astuple


def pack_facts(facts: Facts) -> bytes:
    """Tags and why, and the header."""
    return _pack(PackedFacts(tuple(_tuple(hit) for hit in facts.tags), facts.header))


def unpack_facts(packed: bytes | None) -> tuple[tuple[TagHit, ...], tuple[str, ...]]:
    """Tags and why, and the header; both empty before inspection."""
    if not packed:
        return (), ()
    facts = _FACTS.decode(packed)
    return tuple(TagHit(*hit) for hit in facts.tags), facts.header


def pack_attempt(result: RunResult) -> bytes:
    """Steps, times and counts of an attempt."""
    return _pack(
        PackedAttempt(
            tuple(_tuple(step) for step in result.steps),
            result.records,
            result.blank,
            result.bad_total,
            result.took_ns,
            result.hold,
            result.hold_step,
            result.choices,
            result.form,
            result.began_at,
            _tuple(result.kept) if result.kept is not None else None,
            result.unkept,
            result.fell_back,
        )
    )


def unpack_attempt(packed: bytes) -> tuple[PackedAttempt, tuple[StepCount, ...]]:
    """An attempt's counts, and those of its steps."""
    attempt = _ATTEMPT.decode(packed)
    return attempt, tuple(StepCount(*step) for step in attempt.steps)


def pack_checkpoint(staged: tuple[bytes, ...], state: bytes) -> bytes:
    """A chunk's checkpoint."""
    return _encode(PackedCheckpoint(staged, state))


def unpack_checkpoint(packed: bytes) -> PackedCheckpoint:
    """The inverse of `pack_checkpoint`."""
    return _CHECKPOINT.decode(packed)


def pack_failure(failure: Failure | None) -> bytes | None:
    """A failure; None stays None."""
    return None if failure is None else _pack(failure)


def unpack_failure(packed: bytes | None) -> Failure | None:
    """The inverse of `pack_failure`."""
    return None if packed is None else _FAILURE.decode(packed)


def reworded_failure(packed: bytes | None, words: Callable[[str], str]) -> bytes | None:
    """The same failure, what it says in other words; but for what the machine is blamed for."""
    failure = unpack_failure(packed)
    if failure is None or failure.kind is FailureKind.SYSTEM:
        return packed
    texts = {name: getattr(failure, name) for name in ("message", "help", "traceback", "output")}
    said = {name: words(text) for name, text in texts.items() if text}
    return pack_failure(msgspec.structs.replace(failure, **said))


def reworded_attempt(packed: bytes, words: Callable[[str], str]) -> bytes:
    """The same attempt, what its hold says in other words, and why nothing is kept."""
    attempt = _ATTEMPT.decode(packed)
    texts = {"hold": attempt.hold, "unkept": attempt.unkept}
    said = {name: words(text) for name, text in texts.items() if text}
    return _pack(msgspec.structs.replace(attempt, **said)) if said else packed


def _pack(value: Any) -> bytes:
    try:
        return _encode(value)
    except UnicodeEncodeError:
        return _encode(_scrub(msgspec.to_builtins(value, str_keys=True)))


def _scrub(value: Any) -> Any:
    """The same builtins with every text made plain."""
    if isinstance(value, str):
        return plain(value)
    if isinstance(value, dict):
        return {plain(key): _scrub(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_scrub(each) for each in value]
    return value
