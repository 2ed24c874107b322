"""From the bytes of one YAML file to a tree of texts with places.

Refused, each with its own words: tags (`!!python/...` and any other), `<<`, a key that is there twice, aliases
that grow the document out of proportion, and values that YAML takes apart although they look whole (a comma
or `{` in an unquoted text). The C parser reads when it is there; what it refuses is read again by the Python one, whose
errors say more and the same everywhere.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from filemill.config.mistakes import explain, quoted, value_on
from filemill.config.positions import Entry, List, Map, Node, Place, Text
from filemill.config.problems import Problems

MAX_BYTES = 1 << 20
"""Bytes of one file."""
MAX_NODES = 50_000
"""Values of one file, aliases written out."""
MAX_DEPTH = 60
"""Levels of lists and maps within each other."""
_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
_DEFAULT_TAGS = frozenset({"", *(f"tag:yaml.org,2002:{kind}" for kind in ("str", "seq", "map"))})
_UNUSABLE = re.compile("[\0\ud800-\udfff]")
"""Escapes of double quotes can make these: no path, name or UTF-8 text may hold them."""
_TAG = re.compile(r"!\S*")
MEANT = "!"
"""Style of a text that stands for something YAML took apart."""
_SURELY_FLAT = 400
"""Opening brackets plus the longest line: below, no document can be deep enough to matter."""
_NOT_PRINTABLE: re.Pattern[str] = yaml.reader.Reader.NON_PRINTABLE
_PlainLoader: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)


def read(data: bytes, file: str, problems: Problems) -> Map | None:
    """The tree of one file; None, with the reason among `problems`, when it cannot be read."""
    if len(data) > MAX_BYTES:
        problems.error("too-big", f"{file} has {len(data)} bytes; at most {MAX_BYTES} are read")
        return None
    text = _decoded(data, file, problems)
    if text is None:
        return None
    problems.lines[file] = lines = _BREAK.split(text)
    root = _composed(text, file, lines, problems)
    if root is None:
        return None
    reader = _Reader(file, lines, problems)
    tree = reader.convert(root, 0)
    if isinstance(tree, Map):
        return tree
    if not reader.spoilt:
        what = "a list" if isinstance(tree, List) else "a text"
        advice = "begin with keys, such as `pipelines:`; filemill init makes an example"
        problems.error("not-a-map", f"a configuration is a map, not {what}", tree.place, advice)
    return None


def read_value(text: str, file: str, problems: Problems) -> Node:
    """One value out of an environment variable: a list in brackets, a secret, or just text."""
    place = Place(file)
    if _UNUSABLE.search(text):
        problems.error("encoding", f"{file} is not UTF-8", place)
        return Text("", place, MEANT)
    if not (text.startswith("[") or re.match(r"\{\s*secret\s*:", text)):
        return Text(text, place, style='"')
    try:
        root = yaml.compose(text, Loader=yaml.BaseLoader)
    except yaml.YAMLError:
        problems.error("yaml", f"{file} cannot be read: `{text}`", place, "write a list as [a, b]")
        return Text(text, place, style='"')
    scratch = Problems()
    tree = _Reader("", [text], scratch).convert(root, 0)
    for problem in scratch.all():
        problems.error(problem.code, problem.message, place, problem.help)
    return _moved(tree, place)


def _moved(node: Node, place: Place) -> Node:
    if isinstance(node, Text):
        return Text(node.text, place, node.style)
    if isinstance(node, List):
        return List([_moved(item, place) for item in node.items], place, flow=True)
    return Map(
        {
            name: Entry(Text(name, place), _moved(entry.value, place))
            for name, entry in node.entries.items()
        },
        place,
        flow=True,
    )


def _decoded(data: bytes, file: str, problems: Problems) -> str | None:
    data = data.removeprefix(b"\xef\xbb\xbf")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8", "replace")
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        problems.lines[file] = _BREAK.split(data.decode("utf-8", "replace"))
        place = Place(file, line, column)
        problems.error("encoding", "this byte is not UTF-8", place, "save the file as UTF-8")
        return None
    if not _NOT_PRINTABLE.search(text):
        return text
    lines = problems.lines[file] = _BREAK.split(text)
    for number, written in enumerate(lines, 1):
        if found := _NOT_PRINTABLE.search(written):
            place = Place(file, number, found.start() + 1)
            message = f"an invisible character (U+{ord(found[0]):04X}) stands here"
            problems.error("encoding", message, place, "remove it")
            return None
    return text


def _composed(text: str, file: str, lines: list[str], problems: Problems) -> Any:
    """The parser's own tree, or None with the reason among the problems."""
    deep = _too_deep(text, lines)
    if deep is not None:
        place = Place(file, deep.line + 1, deep.column + 1)
        message = f"lists and maps within each other end at {MAX_DEPTH} levels"
        problems.error("too-deep", message, place, "write it flatter")
        return None
    try:
        root = yaml.compose(text, Loader=_PlainLoader)
    except yaml.YAMLError:
        try:
            root = yaml.compose(text, Loader=yaml.BaseLoader)
        except yaml.MarkedYAMLError as error:
            problems.error(*explain(error, file, lines))
            return None
    if root is None:
        advice = "filemill init makes an example"
        problems.error("empty", "the configuration is empty", Place(file, 1, 1), advice)
    return root


def _too_deep(text: str, lines: list[str]) -> Any:
    """The mark at which a document goes too deep, or None. Asked first: composers recurse, and the C one crashes."""
    if text.count("[") + text.count("{") + max(map(len, lines)) < _SURELY_FLAT:
        return None
    depth = 0
    try:
        for event in yaml.parse(text, Loader=_PlainLoader):
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
                if depth > MAX_DEPTH:
                    return event.start_mark
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
    except yaml.YAMLError:
        return None  # composing stumbles over the same, no deeper than this came
    return None


class _Reader:
    """Converts a parser's tree, collecting what is wrong with it on the way."""

    def __init__(self, file: str, lines: list[str], problems: Problems) -> None:
        self.file = file
        self.lines = lines
        self.problems = problems
        self.nodes = 0
        self.open: set[int] = set()
        self.spoilt = False

    def convert(self, node: Any, depth: int) -> Node:
        self.nodes += 1
        if self.nodes > MAX_NODES or depth > MAX_DEPTH or id(node) in self.open:
            if not self.spoilt:
                message = (
                    "this alias contains itself"
                    if id(node) in self.open
                    else f"too much: at most {MAX_NODES} values, {MAX_DEPTH} levels deep"
                )
                self.spoil("alias-bomb", message, self.place(node), "write the values out")
            return Text("", self.place(node), MEANT)
        if node.tag not in _DEFAULT_TAGS:
            return self.tagged(node)
        if isinstance(node, yaml.ScalarNode):
            return self.scalar(node)
        self.open.add(id(node))
        try:
            if isinstance(node, yaml.SequenceNode):
                return self.items(node, depth)
            return self.pairs(node, depth)
        finally:
            self.open.discard(id(node))

    def spoil(self, code: str, message: str, place: Place, advice: str, meant: str = "") -> Text:
        """Note what was taken apart, and answer with what was meant, so that nothing more is said of it."""
        self.spoilt = True
        self.problems.error(code, message, place, advice)
        self.problems.shadow(place)
        return Text(meant, place, MEANT)

    def raw(self, start: Any, end: Any) -> str:
        """What is written between two marks; empty unless it is on one line."""
        if start.line != end.line or start.line >= len(self.lines):
            return ""
        written: str = self.lines[start.line][start.column : end.column]
        return written.rstrip()

    def between(self, start: Any, end: Any) -> Place:
        written = self.raw(start, end)
        if not written and start.line < len(self.lines):
            written = self.lines[start.line][start.column :].rstrip()
            if start.line == end.line:
                written = ""
        return Place(self.file, start.line + 1, start.column + 1, max(len(written), 1))

    def place(self, node: Any) -> Place:
        if isinstance(node, yaml.ScalarNode) or node.flow_style:
            return self.between(node.start_mark, node.end_mark)
        return Place(self.file, node.start_mark.line + 1, node.start_mark.column + 1)

    def scalar(self, node: Any) -> Text:
        style = node.style or ""
        text = Text(node.value, self.place(node), style, self.raw(node.start_mark, node.end_mark))
        if not style and node.value:
            self.look_for_comment(node, text)
        elif style == '"' and (odd := _UNUSABLE.search(node.value)):
            message = f"the character U+{ord(odd[0]):04X} cannot stand in a configuration"
            return self.spoil("encoding", message, text.place, "remove the escape")
        return text

    def look_for_comment(self, node: Any, text: Text) -> None:
        """` #` ends an unquoted value: an error when it cuts quotes or brackets, else worth a word."""
        end = node.end_mark
        if end.line >= len(self.lines):
            return
        behind = self.lines[end.line][end.column :]
        comment = behind.lstrip()
        if not comment.startswith("#") or behind == comment:
            return
        value, start = self.lines[end.line][text.place.column - 1 :].rstrip(), end.column + 1
        start += len(behind) - len(comment)
        place = Place(self.file, end.line + 1, start, len(comment.rstrip()))
        advice = f"quote the value: {quoted(value)}"
        if open_ends(text.text):
            message = f"text after ` #` is a comment: the value ends at `{text.text}`"
            self.problems.error("unquoted", message, place, advice)
        elif comment[1:2] not in ("", " ", "\t", "#", "!", "-", "="):
            message = f"text after ` #` is a comment: the value is `{text.text}`"
            self.problems.warn(
                "comment", message, place, f"{advice}, or put a space behind the `#`"
            )

    def tagged(self, node: Any) -> Node:
        start = node.start_mark
        line = self.lines[start.line] if start.line < len(self.lines) else ""
        tag = _TAG.search(line, max(line.rfind("!", 0, start.column + 1) - 1, 0))
        place = Place(self.file, start.line + 1, start.column + 1)
        if tag is not None:
            place = Place(self.file, start.line + 1, tag.start() + 1, len(tag[0].rstrip(",]}")))
        if tag is None or tag[0].startswith("!!") or not isinstance(node, yaml.ScalarNode):
            shown = tag[0] if tag else node.tag
            advice = "write texts, lists and maps; a configuration runs nothing"
            return self.spoil("yaml-tag", f"the YAML tag `{shown}` is refused", place, advice)
        value, begin = value_on(line)
        if not value.startswith("!"):
            value, begin = tag[0].rstrip(",]}"), tag.start()
        place = Place(self.file, start.line + 1, begin + 1, len(value))
        message = f"`{value}` is read as a YAML tag, not as text"
        return self.spoil("unquoted", message, place, f"quote it: {quoted(value)}", value)

    def items(self, node: Any, depth: int) -> List:
        flow = bool(node.flow_style)
        items: list[Node] = []
        at = 0
        while at < len(node.value):
            end = self.cut_by_comma(node.value, at) if flow else at
            if end > at:
                items.append(self.comma(node.value[at], node.value[end]))
            else:
                items.append(self.convert(node.value[at], depth + 1))
            at = end + 1
        raw = self.raw(node.start_mark, node.end_mark) if flow else ""
        return List(items, self.place(node), flow=flow, raw=raw)

    def cut_by_comma(self, nodes: list[Any], at: int) -> int:
        """`[COALESCE(x, 0), b]`: the last of the items that are really one text with that at `at`."""
        if not _is_plain(nodes[at]) or not _opens(nodes[at].value):
            return at
        for end in range(at + 1, len(nodes)):
            if not _is_plain(nodes[end]):
                break
            whole = self.raw(nodes[at].start_mark, nodes[end].end_mark)
            if whole and not open_ends(whole):
                return end
        return at

    def comma(self, first: Any, last: Any) -> Text:
        start = first.start_mark
        whole = self.raw(start, last.end_mark)
        place = Place(self.file, start.line + 1, start.column + 1, len(whole))
        message = f"a comma ends this value: `{first.value}`"
        return self.spoil("unquoted", message, place, f"quote it: {quoted(whole)}", whole)

    def pairs(self, node: Any, depth: int) -> Node:
        entries: dict[str, Entry] = {}
        flow = bool(node.flow_style)
        cut: tuple[str, Any] | None = None
        for key_node, value_node in node.value:
            if flow and _is_bare(key_node, value_node):
                if cut is None:
                    return self.taken_apart(node.start_mark, node.end_mark)
                whole = self.raw(cut[1].start_mark, key_node.end_mark)
                if whole and not open_ends(whole):
                    entries[cut[0]].value = self.comma(cut[1], key_node)
                continue
            if flow and _is_glued(key_node, value_node):
                return self.taken_apart(key_node.start_mark, value_node.end_mark)
            if not isinstance(key_node, yaml.ScalarNode):
                self.odd_key(key_node)
                continue
            key = self.convert(key_node, depth + 1)
            if not isinstance(key, Text) or self.spoilt_key(key, entries):
                continue
            entries[key.text] = Entry(key, self.convert(value_node, depth + 1))
            opens = _is_plain(value_node) and _opens(value_node.value)
            cut = (key.text, value_node) if opens else None
        raw = self.raw(node.start_mark, node.end_mark) if flow else ""
        return Map(entries, self.place(node), flow=flow, raw=raw)

    def taken_apart(self, start: Any, end: Any) -> Text:
        """`{date}`, `{b:c}` or `partner:{dir}`: a text that YAML reads as a map."""
        place = self.between(start, end)
        whole = self.raw(start, end) or self.lines[start.line][start.column :].rstrip()
        message = f"`{whole}` is read as a map, not as text"
        return self.spoil("unquoted", message, place, f"quote it: {quoted(whole)}", whole)

    def odd_key(self, node: Any) -> None:
        whole = self.raw(node.start_mark, node.end_mark)
        message = f"`{whole}` cannot be a key" if whole else "a list or map cannot be a key"
        advice = f"quote it: {quoted(whole)}" if whole else "write a text before the `:`"
        self.spoil("unquoted", message, self.place(node), advice)

    def spoilt_key(self, key: Text, entries: dict[str, Entry]) -> bool:
        if key.style == MEANT:
            return True
        if key.text == "<<" and not key.style:
            message = "`<<` (merge) is not part of the language"
            self.spoil("yaml-merge", message, key.place, "write the keys out, or use `defaults:`")
            return True
        if key.text in entries:
            first = entries[key.text].key.place
            message = f"key `{key.text}` is there twice, first at {first}"
            self.problems.error("duplicate-key", message, key.place, "remove one, or rename it")
            return True
        return False


def _is_plain(node: Any) -> bool:
    return isinstance(node, yaml.ScalarNode) and not node.style


def _is_bare(key: Any, value: Any) -> bool:
    """Say whether a key within `{}` has no colon behind it."""
    return _is_plain(value) and not value.value and value.start_mark.index == key.end_mark.index


def _is_glued(key: Any, value: Any) -> bool:
    """Say whether `{` or `[` follows a key's colon without a space: `partner:{dir}`."""
    return (
        isinstance(key, yaml.ScalarNode)
        and not key.style
        and not isinstance(value, yaml.ScalarNode)
        and value.start_mark.index == key.end_mark.index + 1
    )


def _opens(text: str) -> bool:
    return text.count("(") > text.count(")") or text.count("'") % 2 == 1


def open_ends(text: str) -> bool:
    """Say whether quotes or parentheses in a text lack their partner."""
    return (
        text.count("(") != text.count(")") or text.count("'") % 2 == 1 or text.count('"') % 2 == 1
    )
