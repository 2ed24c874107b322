"""Inspection: everything about a file that needs its bytes, for a group of files, in a worker.

Each file is opened once. Its first MiB serves the media type, the header and content patterns; all of it goes
through sha256 in one pass, in bounded memory. A file that cannot be read, or whose tagger fails, says so in its
own `Facts.error`, and its neighbours are not affected.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Sequence

import msgspec

from filemill.encryption.age import Writes
from filemill.model.files import Facts, FileRef, TagHit
from filemill.model.plan import Plan
from filemill.routing.patterns import CONTENT, contains
from filemill.routing.rules import Rule, Subject, subject
from filemill.routing.sniffing import HEAD, Sniffed, sniff
from filemill.routing.taggers import TaggedFile, TaggerError, call_tagger

_PIECE = 1 << 20
Pour = Callable[[bytes, Writes], None]
"""Writes the plain bytes of the file at a path."""
_HELD = 32 << 20
"""Bytes of content kept at once for patterns; a group with more is inspected in parts."""
SOURCE = "source"
"""The rule of tags that a source gave."""


class Judged(msgspec.Struct, frozen=True):
    """One rule's answer on one file, in the plan's order of rules."""

    tag: str
    holds: bool
    why: str
    further: tuple[str, ...] = ()
    """Tags that a tagger gave beside the rule's own."""


class Inspected(msgspec.Struct, frozen=True):
    """One file's facts, and what each rule said of it (only where that was asked for)."""

    facts: Facts
    judged: tuple[Judged, ...] = ()


class _Seen:
    """One opened file on its way through inspection."""

    __slots__ = (
        "descriptor",
        "digest",
        "error",
        "file",
        "head",
        "hits",
        "size",
        "sniffed",
        "subject",
    )

    def __init__(self, file: FileRef) -> None:
        self.file = file
        self.descriptor = -1
        self.digest = ""
        self.error = ""
        self.head = b""
        self.size = 0
        self.sniffed = Sniffed("")
        self.subject: Subject | None = None
        self.hits: list[Judged] = []


class _Taking:
    """Takes a file's bytes as they are poured, as reading it would."""

    def __init__(self, seen: _Seen) -> None:
        self._seen = seen
        self._head = bytearray()
        self._digest = hashlib.sha256()

    def write(self, data: bytes, /) -> int:
        self._head += data[: _PIECE - len(self._head)]
        self._digest.update(data)
        self._seen.size += len(data)
        return len(data)

    def flush(self) -> None:
        """Nothing waits here."""

    def seen(self) -> _Seen:
        """The file, all of which was poured."""
        self._seen.head = bytes(self._head)
        self._seen.digest = self._digest.hexdigest()
        return self._seen


class Inspector:
    """Finds the facts and tags of files under one plan.

    Raises:
        UsageError: a content pattern does not compile, or a tagger cannot be imported.
    """

    def __init__(self, plan: Plan, pour: Pour | None = None) -> None:
        """`pour` opens encrypted content: with it no file need be plain anywhere, unless a tagger wants to read it."""
        self._rules = [Rule(rule) for rule in plan.tags]
        self._source_whys = {
            source.name: tuple(pattern for pattern in source.tags if "{dir}" in pattern)
            for source in plan.sources
        }
        self._source_tags = {source.name: frozenset(source.tags) for source in plan.sources}
        self._noted: frozenset[str] | None = None
        if plan.encryption is not None:
            self._noted = frozenset(name for rule in plan.tags for name in rule.header)
        self._wants_content = any(rule.content for rule in self._rules)
        self.asks_taggers = any(rule.tagger for rule in self._rules)
        """Users' taggers are asked: nothing else that inspects a file is others' code."""
        self.pours = pour is not None and not self.asks_taggers
        """Files are given as they lie, encrypted or not."""
        self._pour = pour

    def inspect(self, files: Sequence[FileRef]) -> list[Facts]:
        """The facts of each file, in order. Raises nothing but what `pour` does: see `Facts.error`."""
        return [each.facts for each in self.examine(files)]

    def examine(self, files: Sequence[FileRef], *, explain: bool = False) -> list[Inspected]:
        """Facts of each file and, with `explain`, the answer of every rule that does not hold, too."""
        answers: list[Inspected] = []
        part: list[_Seen] = []
        held = 0
        try:
            for file in files:
                seen = self._read(file)
                part.append(seen)
                held += len(seen.head)
                if held > _HELD:
                    answers += self._judge(part, explain=explain)
                    part, held = [], 0
            answers += self._judge(part, explain=explain)
        finally:
            _close(part)
        return answers

    def _read(self, file: FileRef) -> _Seen:
        seen = _Seen(file)
        try:
            if self._pour is not None and self.pours:
                taking = _Taking(seen)
                self._pour(file.path, taking)
                return self._sniffed(taking.seen())
            descriptor = os.open(file.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                self._digest(seen, descriptor)
                if self.asks_taggers:
                    seen.descriptor, descriptor = descriptor, -1
            finally:
                if descriptor >= 0:
                    os.close(descriptor)
        except OSError as error:
            seen.error = f"reading failed: {type(error).__name__}: {error.strerror or error}"
            return seen
        return self._sniffed(seen)

    def _sniffed(self, seen: _Seen) -> _Seen:
        file = seen.file
        if seen.size != file.size:
            seen.error = f"its content is {seen.size} bytes, {file.size} were claimed"
            return seen
        seen.sniffed = sniff(seen.head, file.name)
        if self._rules:
            seen.subject = subject(file, seen.sniffed, seen.size)
        if not self._wants_content:
            seen.head = seen.head[:HEAD] if self.asks_taggers else b""
        return seen

    @staticmethod
    def _digest(seen: _Seen, descriptor: int) -> None:
        # One byte more than it should have: a file of the size we know is read, end included, in one call.
        wanted = min(seen.file.size + 1, _PIECE)
        seen.head = os.read(descriptor, wanted)
        seen.size = len(seen.head)
        if seen.size < wanted:
            seen.digest = hashlib.sha256(seen.head).hexdigest()
            return
        running = hashlib.sha256(seen.head)
        buffer = bytearray(_PIECE)
        view = memoryview(buffer)
        while count := os.readv(descriptor, [buffer]):
            running.update(view[:count])
            seen.size += count
        seen.digest = running.hexdigest()

    def _judge(self, part: list[_Seen], *, explain: bool) -> list[Inspected]:
        alive = [seen for seen in part if seen.subject is not None]
        for rule in self._rules:
            self._apply(rule, alive, explain=explain)
        _close(part)
        return [Inspected(self._facts(seen), tuple(seen.hits) if explain else ()) for seen in part]

    def _apply(self, rule: Rule, alive: list[_Seen], *, explain: bool) -> None:
        """One rule on all files of a part, so that a content pattern is one call for all of them."""
        pending: list[tuple[_Seen, list[str]]] = []
        for seen in alive:
            assert seen.subject is not None  # noqa: S101 -- for the type checker
            whys = rule.judge(seen.subject)
            if whys is not None:
                pending.append((seen, whys))
            elif explain:
                seen.hits.append(Judged(rule.tag, holds=False, why=rule.refusal(seen.subject)))
        if rule.content and pending:
            pending = _with_content(rule, pending, explain=explain)
        for seen, whys in pending:
            if rule.tagger is None:
                seen.hits.append(Judged(rule.tag, holds=True, why=", ".join(whys)))
            else:
                _ask_tagger(rule, seen, whys, explain=explain)

    def _facts(self, seen: _Seen) -> Facts:
        file = seen.file
        hits: dict[str, TagHit] = {}
        for tag in file.tags:
            hits.setdefault(tag, TagHit(tag, SOURCE, self._given_why(file, tag)))
        if seen.error:
            return Facts(file.file, tags=tuple(hits.values()), error=seen.error)
        for judged in seen.hits:
            if judged.holds:
                for tag in (judged.tag, *judged.further):
                    hits.setdefault(tag, TagHit(tag, judged.tag, judged.why))
        attributes = dict(file.attributes)
        if seen.sniffed.mismatch:
            attributes["mismatch"] = seen.sniffed.mismatch
        if seen.sniffed.charset:
            attributes["charset"] = seen.sniffed.charset
        return Facts(
            file=file.file,
            digest=seen.digest,
            media=seen.sniffed.media,
            header=self._header_of(seen),
            tags=tuple(hits.values()),
            attributes=attributes,
        )

    def _header_of(self, seen: _Seen) -> tuple[str, ...]:
        """What is noted of its header: with encryption only what rules name, since some files begin with a record."""
        header = seen.sniffed.header
        return header if self._noted is None else tuple(c for c in header if c in self._noted)

    def _given_why(self, file: FileRef, tag: str) -> str:
        """Why a tag was there before any rule was asked: its source's, or of the step that emitted the file."""
        why = self.source_why(file.source, tag)
        own = self._source_tags.get(file.source)
        if not file.depth or own is None or tag in own or why.endswith("(dir)"):
            return why
        return "the step that emitted it"

    def source_why(self, source: str, tag: str) -> str:
        """Why a source gave a tag: `source partners (dir)` when the tag names the folder."""
        patterns = self._source_whys.get(source)
        if patterns is None:
            return f"source {source}" if source else "given on the command line"
        for pattern in patterns:
            before, _, after = pattern.partition("{dir}")
            if tag.startswith(before) and tag.endswith(after):
                return f"source {source} (dir)"
        return f"source {source}"


def _with_content(
    rule: Rule, pending: list[tuple[_Seen, list[str]]], *, explain: bool
) -> list[tuple[_Seen, list[str]]]:
    texts = [_searched(seen).decode("utf-8", "replace") for seen, _ in pending]
    matched = [""] * len(texts)
    for pattern in rule.content:
        for index, found in enumerate(contains(pattern, texts)):
            if found and not matched[index]:
                matched[index] = pattern
    left = []
    for (seen, whys), pattern in zip(pending, matched, strict=True):
        if pattern:
            left.append((seen, [*whys, f"content matches {pattern}"]))
        elif explain:
            why = f"content does not match {' or '.join(rule.content)}"
            if seen.size > CONTENT:
                why += " (in its first MiB)"
            seen.hits.append(Judged(rule.tag, holds=False, why=why))
    return left


def _searched(seen: _Seen) -> bytes:
    """The content that patterns see; of a longer file whole lines only, so that `$` is a line's real end."""
    if seen.size <= CONTENT:
        return seen.head
    return seen.head[: seen.head.rfind(b"\n", 0, CONTENT) + 1 or CONTENT]


def _ask_tagger(rule: Rule, seen: _Seen, whys: list[str], *, explain: bool) -> None:
    assert rule.tagger is not None  # noqa: S101 -- for the type checker
    sniffed = seen.sniffed
    view = TaggedFile(seen.file, sniffed.media, sniffed.header, seen.head[:HEAD], seen.descriptor)
    try:
        holds, tags = call_tagger(rule.tagger_path, rule.tagger, view)
    except TaggerError as error:
        seen.error = seen.error or str(error)
        return
    if holds:
        why = ", ".join([*whys, f"tagger {rule.tagger_path}"])
        seen.hits.append(Judged(rule.tag, holds=True, why=why, further=tuple(tags)))
    elif explain:
        why = f"tagger {rule.tagger_path} gave nothing"
        seen.hits.append(Judged(rule.tag, holds=False, why=why))


def _close(part: list[_Seen]) -> None:
    for seen in part:
        if seen.descriptor >= 0:
            with contextlib.suppress(OSError):
                os.close(seen.descriptor)
            seen.descriptor = -1
