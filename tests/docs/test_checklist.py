"""docs/security-checklist.md: a row for each point, and the tests that it names are there."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
POINTS = 44


def rows():
    text = (ROOT / "docs" / "security-checklist.md").read_text()
    for line in text.splitlines():
        if re.match(r"\| \d+ \|", line):
            cells = [each.strip() for each in line.strip("|").split(" | ")]
            assert len(cells) == 4, line
            yield cells


def test_every_point_has_a_row():
    assert [int(number) for number, *_ in rows()] == list(range(1, POINTS + 1))


def test_every_answer_is_held_by_a_test_or_says_that_it_is_not():
    for number, _, answer, held in rows():
        named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", held)
        assert answer, number
        assert named or re.match(r"none yet: \w", held), number
        assert held.count("tests/") == len(named), held
        for path, name in named:
            assert (ROOT / path).exists(), path
            assert re.search(rf"^(async )?def {name}\(", (ROOT / path).read_text(), re.MULTILINE), (
                f"{path}::{name}"
            )


def test_the_guide_leads_to_it():
    assert "(security-checklist.md)" in (ROOT / "docs" / "security.md").read_text()
