"""Tags and tag expressions: the language of `when:`, `if:` and `route`.

A tag is parts of `[a-z0-9_.%-]+` joined by `:`. An expression is tags joined by `and`, `or`, `not` and
parentheses, with `*` allowed at a tag's end.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator

import msgspec

TAG = re.compile(r"[a-z0-9_.%-]+(?::[a-z0-9_.%-]+)*\Z")
RESERVED = frozenset({"and", "or", "not", "else"})
_TOKEN = re.compile(r"\s*(?:(?P<open>\()|(?P<close>\))|(?P<word>[^\s()]+))")


class TagSyntaxError(ValueError):
    """A tag or expression that does not parse; `offset` is the character it stumbles over."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset


class HasTag(msgspec.Struct, frozen=True, tag="tag"):
    """True when the tag is there; `name` may end in `*`."""

    name: str


class Not(msgspec.Struct, frozen=True, tag="not"):
    """True when `term` is false."""

    term: TagTerm


class All(msgspec.Struct, frozen=True, tag="and"):
    """True when every term is."""

    terms: tuple[TagTerm, ...]


class AnyOf(msgspec.Struct, frozen=True, tag="or"):
    """True when at least one term is."""

    terms: tuple[TagTerm, ...]


TagTerm = HasTag | Not | All | AnyOf


class TagExpression(msgspec.Struct, frozen=True):
    """One parsed expression and the text it came from."""

    text: str
    term: TagTerm

    def matches(self, tags: Collection[str]) -> bool:
        """Say whether a file or record with exactly these tags satisfies the expression."""
        return _evaluate(self.term, lambda name: has_tag(name, tags))

    def names(self) -> Iterator[str]:
        """Every tag or tag pattern the expression names, in reading order."""
        yield from _names(self.term)


def has_tag(pattern: str, tags: Collection[str]) -> bool:
    """Say whether `pattern`, a tag or a prefix ending in `*`, is among `tags`."""
    if pattern.endswith("*"):
        prefix = pattern[:-1]
        return any(tag.startswith(prefix) for tag in tags)
    return pattern in tags


def quote_tag_part(text: str | bytes) -> str:
    """Make any name a tag part: letters lower-cased, other bytes outside the alphabet percent-encoded."""
    raw = text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")
    return "".join(
        chr(byte).lower()
        if (byte < 0x80 and (chr(byte).isalnum() or chr(byte) in "_.-"))
        else f"%{byte:02x}"
        for byte in raw
    )


def check_tag(tag: str) -> str:
    """Return `tag` if it is well formed.

    Raises:
        TagSyntaxError: it is empty, reserved, or holds a character no tag may have.
    """
    if tag in RESERVED:
        raise TagSyntaxError(f"`{tag}` is a reserved word and cannot be a tag", 0)
    if not TAG.match(tag):
        bad = next((i for i, c in enumerate(tag) if not re.match(r"[a-z0-9_.%:-]", c)), 0)
        raise TagSyntaxError(
            f"`{tag}` is not a tag: use lower-case letters, digits, `_.%-`, parts joined by `:`",
            bad,
        )
    return tag


def parse_tag_expression(text: str) -> TagExpression:
    """Parse a tag expression; `not` binds tighter than `and`, `and` tighter than `or`.

    Raises:
        TagSyntaxError: with the offset of the first character that does not fit.
    """
    tokens: list[tuple[str, int]] = []
    position = 0
    while position < len(text) and text[position:].strip():
        match = _TOKEN.match(text, position)
        if match is None:  # pragma: no cover -- the token pattern takes any non-space
            raise TagSyntaxError("unreadable", position)
        kind = match.lastgroup or "word"
        tokens.append((match.group(kind), match.start(kind)))
        position = match.end()
    parser = _Parser(tokens, len(text))
    term = parser.either()
    parser.end()
    return TagExpression(text.strip(), term)


class _Parser:
    def __init__(self, tokens: list[tuple[str, int]], length: int) -> None:
        self.tokens = tokens
        self.at = 0
        self.length = length

    def peek(self) -> str | None:
        return self.tokens[self.at][0] if self.at < len(self.tokens) else None

    def offset(self) -> int:
        return self.tokens[self.at][1] if self.at < len(self.tokens) else self.length

    def either(self) -> TagTerm:
        terms = [self.both()]
        while self.peek() == "or":
            self.at += 1
            terms.append(self.both())
        return terms[0] if len(terms) == 1 else AnyOf(tuple(terms))

    def both(self) -> TagTerm:
        terms = [self.single()]
        while self.peek() == "and":
            self.at += 1
            terms.append(self.single())
        return terms[0] if len(terms) == 1 else All(tuple(terms))

    def single(self) -> TagTerm:
        token, offset = self.peek(), self.offset()
        if token is None:
            raise TagSyntaxError("a tag is missing here", offset)
        self.at += 1
        if token == "not":  # noqa: S105 -- a word of the language
            return Not(self.single())
        if token == "(":  # noqa: S105
            inner = self.either()
            if self.peek() != ")":
                raise TagSyntaxError("a `)` is missing here", self.offset())
            self.at += 1
            return inner
        if token == ")" or token in RESERVED:  # noqa: S105 -- a word of the language
            raise TagSyntaxError(f"a tag is expected here, not `{token}`", offset)
        body = token.removesuffix("*").removesuffix(":") if token.endswith("*") else token
        if token != "*":  # noqa: S105
            try:
                check_tag(body)
            except TagSyntaxError as error:
                raise TagSyntaxError(error.message, offset + error.offset) from None
        return HasTag(token)

    def end(self) -> None:
        if (token := self.peek()) is not None:
            raise TagSyntaxError(f"`and` or `or` is expected before `{token}`", self.offset())


def _evaluate(term: TagTerm, has: Callable[[str], bool]) -> bool:
    match term:
        case HasTag(name):
            return has(name)
        case Not(inner):
            return not _evaluate(inner, has)
        case All(terms):
            return all(_evaluate(each, has) for each in terms)
        case AnyOf(terms):
            return any(_evaluate(each, has) for each in terms)


def _names(term: TagTerm) -> Iterator[str]:
    match term:
        case HasTag(name):
            yield name
        case Not(inner):
            yield from _names(inner)
        case All(terms) | AnyOf(terms):
            yield from _each_name(terms)


def _each_name(terms: Iterable[TagTerm]) -> Iterator[str]:
    for term in terms:
        yield from _names(term)
