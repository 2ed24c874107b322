from __future__ import annotations

import textwrap

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filemill.config.positions import List, Map, Text, follow, plain
from filemill.config.problems import Problems
from filemill.config.reading import MAX_BYTES, MAX_NODES, read
from filemill.config.rendering import render_problem


def reading(text: str | bytes):
    problems = Problems()
    data = text if isinstance(text, bytes) else text.encode()
    return read(data, "f.yaml", problems), problems.all()


def said(text: str) -> str:
    _, problems = reading(text)
    return "\n".join(map(render_problem, problems))


TRAPS = [
    "on", "off", "yes", "no", "y", "N", "true", "True", "null", "~", "1.10", "1e3", "12:30:00", "0o17", "017", "0x1f",
    "1_000", "+1", ".5", "2026-11-23", "2026-11-23 20:00:00", ".inf", ".NaN", "NO", "=", "007", "-0", "<10", "a:b",
    "http://x/y", "a, b", "1,5", "50%", "a#b", "(a or b)", "x && y", "C:\\x", "\u00fc\u4e2d",
]  # fmt: skip


@pytest.mark.parametrize("text", TRAPS)
def test_what_other_readers_convert_stays_text(text):
    tree, problems = reading(f"key: {text}\n{text!s}x: 1\n")
    assert not problems
    assert plain(tree)["key"] == text


@pytest.mark.parametrize("text", [text for text in TRAPS if "," not in text])
def test_traps_stay_text_in_lists_and_as_keys(text):
    tree, problems = reading(f"list: [{text}]\n? {text}\n: on\n")
    assert not problems
    assert plain(tree) == {"list": [text], text: "on"}


def test_nothing_behind_a_colon_is_nothing_and_quotes_are_a_text():
    assert plain(reading("a:\nb: ''\nc: \"\"\n")[0]) == {"a": None, "b": "", "c": ""}


def test_every_node_knows_its_place():
    tree, _ = reading("a:\n  - {b: cc, d: [e]}\n  - 'f g'\n")
    node, key, rest = follow(tree, ("a", 0, "b"))
    assert isinstance(node, Text)
    assert (node.place.line, node.place.column, node.place.length) == (2, 9, 2)
    assert key is not None
    assert (key.place.line, key.place.column) == (2, 6)
    assert rest == ()
    node, _, _ = follow(tree, ("a", 1))
    assert (node.place.line, node.place.column, node.place.length) == (3, 5, 5)
    assert isinstance(node, Text)
    assert node.at(2).column == 8  # inside the quotes


def test_columns_count_characters_not_bytes():
    tree, _ = reading("\u00e4\u00f6: {\u00fc: x}\n")
    node, _, _ = follow(tree, ("\u00e4\u00f6", "\u00fc"))
    assert node.place.column == 9


def test_the_two_parsers_agree_on_places(monkeypatch):
    import yaml

    from filemill.config import reading as module

    text = "a: {b: [c, 'd', \"e\"], f: g}\nh:\n  - i: j k\n    l: |\n      m\n  - n   # o\n"

    def flat(node):
        if isinstance(node, Text):
            return (node.text, node.place, node.style, node.raw)
        if isinstance(node, List):
            return [flat(item) for item in node.items], node.place
        assert isinstance(node, Map)
        return {k: (e.key.place, flat(e.value)) for k, e in node.entries.items()}, node.place

    fast = flat(reading(text)[0])
    monkeypatch.setattr(module, "_PlainLoader", yaml.BaseLoader)
    assert flat(reading(text)[0]) == fast


MISTAKES = {
    "a glob": (
        "name: *.csv",
        """\
        error[unquoted]: `*.csv` is read as a YAML alias, not as text
          --> f.yaml:1:7
        1 | name: *.csv
          |       ^^^^^
        help: quote it: "*.csv"
        """,
    ),
    "a glob in a list": (
        "name: [*.csv, b]",
        """\
        error[unquoted]: `*.csv` is read as a YAML alias, not as text
          --> f.yaml:1:8
        1 | name: [*.csv, b]
          |        ^^^^^
        help: quote it: "*.csv"
        """,
    ),
    "a placeholder first": (
        "name: {date}-x",
        """\
        error[unquoted]: `{date}-x` is read as a map with text behind it
          --> f.yaml:1:7
        1 | name: {date}-x
          |       ^^^^^^^^
        help: quote it: "{date}-x"
        """,
    ),
    "a placeholder alone": (
        "name: {date}",
        """\
        error[unquoted]: `{date}` is read as a map, not as text
          --> f.yaml:1:7
        1 | name: {date}
          |       ^^^^^^
        help: quote it: "{date}"
        """,
    ),
    "placeholders in a map": (
        "s: {folder: out, name: {date}-{name}}",
        """\
        error[unquoted]: `{date}-{name}` is not one value
          --> f.yaml:1:24
        1 | s: {folder: out, name: {date}-{name}}
          |                        ^^^^^^^^^^^^^
        help: quote it: "{date}-{name}"
        """,
    ),
    "an exclamation mark": (
        "when: !bad",
        """\
        error[unquoted]: `!bad` is read as a YAML tag, not as text
          --> f.yaml:1:7
        1 | when: !bad
          |       ^^^^
        help: quote it: "!bad"
        """,
    ),
    "an exclamation mark in a map": (
        "tags: {a: {name: !bad}}",
        """\
        error[unquoted]: `!bad` is read as a YAML tag, not as text
          --> f.yaml:1:18
        1 | tags: {a: {name: !bad}}
          |                  ^^^^
        help: quote it: "!bad"
        """,
    ),
    "an exclamation mark in a list": (
        "tags: [!bad, b]",
        """\
        error[unquoted]: `!bad` is read as a YAML tag, not as text
          --> f.yaml:1:8
        1 | tags: [!bad, b]
          |        ^^^^
        help: quote it: "!bad"
        """,
    ),
    "a python tag": (
        "a: !!python/object/apply:os.system [ls]",
        """\
        error[yaml-tag]: the YAML tag `!!python/object/apply:os.system` is refused
          --> f.yaml:1:4
        1 | a: !!python/object/apply:os.system [ls]
          |    ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
        help: write texts, lists and maps; a configuration runs nothing
        """,
    ),
    "a tag with a placeholder": (
        "tags: [partner:{dir}]",
        """\
        error[unquoted]: `partner:{dir}` is read as a map, not as text
          --> f.yaml:1:8
        1 | tags: [partner:{dir}]
          |        ^^^^^^^^^^^^^
        help: quote it: "partner:{dir}"
        """,
    ),
    "a comma in braces": (
        "{derive: {a: COALESCE(x, 0)}}",
        """\
        error[unquoted]: a comma ends this value: `COALESCE(x`
          --> f.yaml:1:14
        1 | {derive: {a: COALESCE(x, 0)}}
          |              ^^^^^^^^^^^^^^
        help: quote it: "COALESCE(x, 0)"
        """,
    ),
    "a comma in brackets": (
        "select: [COALESCE(x, 0), b]",
        """\
        error[unquoted]: a comma ends this value: `COALESCE(x`
          --> f.yaml:1:10
        1 | select: [COALESCE(x, 0), b]
          |          ^^^^^^^^^^^^^^
        help: quote it: "COALESCE(x, 0)"
        """,
    ),
    "a comment in a text": (
        "filter: name = 'a #1'",
        """\
        error[unquoted]: text after ` #` is a comment: the value ends at `name = 'a`
          --> f.yaml:1:19
        1 | filter: name = 'a #1'
          |                   ^^^
        help: quote the value: "name = 'a #1'"
        """,
    ),
    "a comment without a space": (
        "name: order #12",
        """\
        warning[comment]: text after ` #` is a comment: the value is `order`
          --> f.yaml:1:13
        1 | name: order #12
          |             ^^^
        help: quote the value: "order #12", or put a space behind the `#`
        """,
    ),
    "a comment that eats the brace": (
        "a: {b: x #1}\nc: d",
        """\
        error[unquoted]: text after ` #` is a comment
          --> f.yaml:1:10
        1 | a: {b: x #1}
          |          ^^^
        help: quote the value that has the `#`
        """,
    ),
    "a colon in a value": (
        "    when: orders and: not test",
        """\
        error[yaml]: mapping values are not allowed here
          --> f.yaml:1:21
        1 |     when: orders and: not test
          |                     ^
        help: quote the value or remove the colon
        """,
    ),
    "a condition as a key": (
        "steps:\n  - filter: country: 'DE'",
        """\
        error[yaml]: mapping values are not allowed here
          --> f.yaml:2:20
        2 |   - filter: country: 'DE'
          |                    ^
        help: for a condition write "country = 'DE'"
        """,
    ),
    "a condition as a key in braces": (
        "steps: [{filter: country: 'DE'}]",
        """\
        error[unquoted]: a second colon in one value
          --> f.yaml:1:25
        1 | steps: [{filter: country: 'DE'}]
          |                         ^
        help: for a condition write "country = 'DE'"
        """,
    ),
    "if below a step without a colon": (
        "steps:\n  - steps.add\n    if: bad",
        """\
        error[yaml]: mapping values are not allowed here
          --> f.yaml:3:5
        3 |     if: bad
          |     ^^^
        help: write `- steps.add:` above, and `if:` in the column of `steps.add`
        """,
    ),
    "a forgotten dash below a bare step": (
        "steps:\n  - read_csv\n    filter: a > 0",
        """\
        error[yaml]: mapping values are not allowed here
          --> f.yaml:3:5
        3 |     filter: a > 0
          |     ^^^^^^^
        help: a step of its own? put `- ` before `filter`. An option? write `- read_csv:` above, and `filter:` in \
the column of `read_csv`
        """,
    ),
    "a size comparison": (
        "size: >10MB",
        """\
        error[unquoted]: `>10MB` is not text: `>` begins a block of lines
          --> f.yaml:1:7
        1 | size: >10MB
          |       ^^^^^
        help: quote it: ">10MB"
        """,
    ),
    "a per cent sign first": (
        "content: %PDF",
        """\
        error[unquoted]: `%PDF` cannot begin with `%`
          --> f.yaml:1:10
        1 | content: %PDF
          |          ^^^^
        help: quote it: "%PDF"
        """,
    ),
    "a quote with text behind it": (
        "filter: 'DE' = country",
        """\
        error[unquoted]: `'DE' = country` is read as a quoted text with text behind it
          --> f.yaml:1:9
        1 | filter: 'DE' = country
          |         ^^^^^^^^^^^^^^
        help: quote it: "'DE' = country"
        """,
    ),
    "a key twice": (
        "a: 1\nb: 2\na: 3",
        """\
        error[duplicate-key]: key `a` is there twice, first at f.yaml:1:1
          --> f.yaml:3:1
        3 | a: 3
          | ^
        help: remove one, or rename it
        """,
    ),
    "a merge key": (
        "x: {<<: {y: z}}",
        """\
        error[yaml-merge]: `<<` (merge) is not part of the language
          --> f.yaml:1:5
        1 | x: {<<: {y: z}}
          |     ^^
        help: write the keys out, or use `defaults:`
        """,
    ),
    "an alias that contains itself": (
        "a: &a [*a]",
        """\
        error[alias-bomb]: this alias contains itself
          --> f.yaml:1:4
        1 | a: &a [*a]
          |    ^^^^^^^
        help: write the values out
        """,
    ),
    "a tab": (
        "a:\n\tb: 1",
        """\
        error[yaml]: a tab cannot indent
          --> f.yaml:2:1
        2 |  b: 1
          | ^
        help: use spaces, the same number for each key of a map
        """,
    ),
    "an open quote": (
        'a: "x\nb: y',
        """\
        error[yaml]: this quote is never closed
          --> f.yaml:1:4
        1 | a: "x
          |    ^
        help: close it on the same line
        """,
    ),
    "an open bracket": (
        "a: [b\nc: d",
        """\
        error[yaml]: this `[` is never closed
          --> f.yaml:1:4
        1 | a: [b
          |    ^
        help: close it with `]`
        """,
    ),
    "a list behind its key": (
        "steps: - read_csv",
        """\
        error[yaml]: a list cannot begin on the line of its key
          --> f.yaml:1:8
        1 | steps: - read_csv
          |        ^
        help: begin it on the next line, or write [a, b]
        """,
    ),
    "a missing colon": (
        "k: v\nk2 v2\nk3: v",
        """\
        error[yaml]: a `:` is missing behind this key
          --> f.yaml:2:1
        2 | k2 v2
          | ^^^^^
        help: write `key: value`
        """,
    ),
    "a backslash in double quotes": (
        'a: "\\d+"',
        """\
        error[yaml]: unknown escape character 'd'
          --> f.yaml:1:6
        1 | a: "\\d+"
          |      ^
        help: use single quotes, or write the backslash twice
        """,
    ),
    "two documents": (
        "a: 1\n---\nb: 2",
        """\
        error[yaml]: a second document begins here
          --> f.yaml:2:1
        2 | ---
          | ^^^
        help: a file holds one document: remove the `---`
        """,
    ),
    "keys out of line": (
        "a:\n  b: 1\n c: 2",
        """\
        error[yaml]: this does not fit the indentation above
          --> f.yaml:3:2
        3 |  c: 2
          |  ^
        help: the keys of one map, and the `-` of one list, share a column
        """,
    ),
    "a list at the top": (
        "- a",
        """\
        error[not-a-map]: a configuration is a map, not a list
          --> f.yaml:1:1
        1 | - a
          | ^
        help: begin with keys, such as `pipelines:`; filemill init makes an example
        """,
    ),
    "nothing": (
        "# only a comment",
        """\
        error[empty]: the configuration is empty
          --> f.yaml:1:1
        1 | # only a comment
          | ^
        help: filemill init makes an example
        """,
    ),
}


@pytest.mark.parametrize(("text", "expected"), MISTAKES.values(), ids=MISTAKES.keys())
def test_each_mistake_gets_its_own_words(text, expected):
    assert said(text) == textwrap.dedent(expected).rstrip("\n")


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("a: {date}", "{date}"),
        ("a: !bad", "!bad"),
        ("a: COALESCE(x, 0)", "COALESCE(x, 0)"),
    ],
)
def test_what_was_taken_apart_goes_on_as_what_was_meant(text, meant):
    tree, _ = reading(text)
    assert plain(tree) == {"a": meant}


def test_comments_and_apostrophes_are_left_alone():
    _, problems = reading("a: 2s  # slow\nb: don't worry\nc: x  #--- y\n#d\ne: [f] #g\n")
    assert not problems


@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "[ "])
def test_depth_is_bounded(opening):
    text = "a: " + opening * 100_000 if opening != "- " else "- " * 5_000 + "a"
    tree, problems = reading(text)
    assert tree is None or problems
    assert problems
    assert problems[0].severity == "error"


def test_aliases_cannot_blow_up():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 10)]
    _, problems = reading("\n".join(lines))
    assert [p.code for p in problems] == ["alias-bomb"]
    assert str(MAX_NODES) in problems[0].message


def test_aliases_may_repeat_a_value():
    assert plain(reading("a: &x {b: c}\nd: *x\n")[0]) == {"a": {"b": "c"}, "d": {"b": "c"}}


def test_size_and_encoding_are_judged():
    assert reading(b"a: " + b"x" * MAX_BYTES)[1][0].code == "too-big"
    tree, problems = reading("a: 1\nb: \xff".encode("latin-1"))
    assert tree is None
    assert (problems[0].code, problems[0].line, problems[0].column) == ("encoding", 2, 4)
    assert reading("a: \x07")[1][0].message == "an invisible character (U+0007) stands here"
    assert plain(reading(b"\xef\xbb\xbfa: 1\r\nb: 2\r\n")[0]) == {"a": "1", "b": "2"}


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet=st.sampled_from(list("ab:-{}[]*&!|>'\"%@`# \n\t,?\\<=0")), max_size=40))
def test_no_text_breaks_the_reader(text):
    tree, problems = reading(text)
    assert tree is not None or problems
    for problem in problems:
        render_problem(problem)
