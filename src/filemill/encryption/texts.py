"""Texts that may quote content (error messages, what steps print), sealed before they come to the ledger.

A sealed text stands where the text would: `sealed:`, the key, and the age file in base64. Who shows texts gives
them to `shown`, which opens them with the identity at hand and says in general words what is there without it.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from filemill.encryption.age import Corrupt, Opener, Sealer, WrongKey
from filemill.model.files import Facts
from filemill.model.runs import BadRecord, Captured, Failure, RecordForm, RunResult

MARK = "sealed:"
GENERAL = "(encrypted: the identity is needed to read it)"
DAMAGED = "(encrypted, and damaged)"
_Struct = TypeVar("_Struct", bound=msgspec.Struct)


def seal_text(text: str, sealer: Sealer) -> str:
    """The text, sealed; empty stays empty, and what is sealed stays as it is."""
    if not text or text.startswith(MARK):
        return text
    sealed = sealer.data(text.encode("utf-8", "surrogatepass"))
    return f"{MARK}{sealer.key}:{base64.b64encode(sealed).decode('ascii')}"


def reseal(text: str, sealer: Sealer, opener: Opener) -> str:
    """The text, sealed by this sealer, whatever it was; one that does not open stays as it is."""
    if not text.startswith(MARK):
        return seal_text(text, sealer)
    if text.startswith(f"{MARK}{sealer.key}:"):
        return text
    plain = shown(text, opener)
    return text if plain in {GENERAL, DAMAGED} else seal_text(plain, sealer)


def shown(text: str, opener: Opener | None) -> str:
    """The text for a person: opened if it can be, else general words."""
    if not text.startswith(MARK):
        return text
    if opener is None:
        return GENERAL
    try:
        sealed = base64.b64decode(text[len(MARK) :].partition(":")[2], validate=True)
        return opener.data(sealed, ours=False).decode("utf-8", "surrogatepass")
    except WrongKey:
        return GENERAL
    except (Corrupt, binascii.Error, UnicodeDecodeError):
        return DAMAGED


def is_closed(text: str) -> bool:
    """Say whether this stands for a text that was not opened."""
    return text in {GENERAL, DAMAGED}


def in_words(value: _Struct, words: Callable[[str], str]) -> _Struct:
    """The struct with what `words` says of every sealed text in it."""
    changed: dict[str, Any] = {}
    for name in value.__struct_fields__:
        found = getattr(value, name)
        if isinstance(found, str):
            if found.startswith(MARK):
                changed[name] = words(found)
        elif isinstance(found, msgspec.Struct):
            changed[name] = in_words(found, words)
    return msgspec.structs.replace(value, **changed) if changed else value


def in_general_words(value: _Struct) -> _Struct:
    """The struct with general words for every sealed text in it."""
    return in_words(value, lambda text: shown(text, None))


def seal_result(result: RunResult, sealer: Sealer) -> RunResult:
    """What a worker reports of a run, with every text sealed that may quote content."""
    if result.failure is None and not result.bad and not result.hold:
        return result
    return msgspec.structs.replace(
        result,
        failure=result.failure and seal_failure(result.failure, sealer),
        bad=tuple(_seal_bad(result.bad, sealer)),
        hold=seal_text(result.hold, sealer),
        form=result.form and _seal_form(result.form, sealer),
    )


def _seal_form(form: RecordForm, sealer: Sealer) -> RecordForm:
    """A header is a line of the file, and of some files a record."""
    opens, closes = seal_text(form.opens, sealer), seal_text(form.closes, sealer)
    return msgspec.structs.replace(form, opens=opens, closes=closes)


def seal_failure(failure: Failure, sealer: Sealer) -> Failure:
    """Its class, its step and its group stay readable, and all of it where it is the machine's."""
    if failure.kind == "system":
        return failure
    return msgspec.structs.replace(
        failure,
        message=seal_text(failure.message, sealer),
        help=seal_text(failure.help, sealer),
        traceback=seal_text(failure.traceback, sealer),
        output=seal_text(failure.output, sealer),
        gave_up=failure.gave_up,
    )


def seal_captured(captured: Captured, sealer: Sealer) -> Captured:
    """Why nothing is kept may quote what a step raised."""
    return msgspec.structs.replace(captured, why=seal_text(captured.why, sealer))


def seal_facts(facts: Facts, sealer: Sealer) -> Facts:
    """Why a file cannot be looked at may quote what a tagger raised."""
    if not facts.error:
        return facts
    return msgspec.structs.replace(facts, error=seal_text(facts.error, sealer))


def _seal_bad(bad: tuple[BadRecord, ...], sealer: Sealer) -> list[BadRecord]:
    """Records often fail in the same words, which are sealed once."""
    known: dict[str, str] = {}
    sealed = []
    for each in bad:
        if each.message not in known:
            known[each.message] = seal_text(each.message, sealer)
        sealed.append(msgspec.structs.replace(each, message=known[each.message]))
    return sealed
