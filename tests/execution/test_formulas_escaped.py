"""`formulas: escape` through whole pipelines: what no step touched, what steps made, every chunk size, every reader."""

from __future__ import annotations

import csv
import io
import random

import pytest
from chunk_world import ChunkWorld, story
from milling import Mill, step

from filemill.sinks.formulas import is_formula

VALUES = [
    "=1+1",
    "-5",
    "+cmd",
    "plain",
    "@x",
    '"=q"',
    '"-1,2"',
    '"a,=b"',
    "",
    "-",
    '"\t=t"',
    '"=""x"""',
]


def data_of(rows: int, seed: int) -> bytes:
    chance = random.Random(seed)
    lines = ["id,=head,note"]
    lines += [f"{n},{chance.choice(VALUES)},{chance.choice(VALUES)}" for n in range(rows)]
    return ("\n".join(lines) + "\n").encode()


def cells_of(data: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(data.decode(), newline="")))


@pytest.mark.parametrize("chunk_size", [120, 700, 1 << 20])
@pytest.mark.parametrize("derived", [False, True])
def test_the_same_at_every_chunk_size(mill: Mill, chunk_size: int, derived: bool) -> None:
    data = data_of(200, seed=7)
    steps = [step("read_csv", types={"id": "integer"})]
    if derived:
        steps.append(step("derive", columns={"made": "CONCAT('=', id)", "less": "0 - id"}))
    steps += [step("write", to="out"), step("write", id="write2", to="rest")]
    world = ChunkWorld(
        mill, steps, data, chunk_size=chunk_size, sinks={"out": {"formulas": "escape"}, "rest": {}}
    )
    if chunk_size < len(data):
        ended = world.chunked(workers=2)
        assert ended is not None
        assert ended.result is not None
        told = story(mill, ended.result)
    else:
        told = story(mill, world.whole())
    world.close()
    outputs = {
        key[0] if isinstance(key, tuple) else key: value for key, value in told["outputs"].items()
    }
    escaped = next(v for k, v in outputs.items() if "out" in str(k))
    plain = next(v for k, v in outputs.items() if "rest" in str(k))
    expected = [[f"'{c}" if is_formula(c) else c for c in row] for row in cells_of(plain)]
    assert cells_of(escaped) == expected
    assert expected[0][1] == "'=head"
    if derived:
        assert expected[5][3:] == ["'=4", "-4"]
    else:
        assert plain == data, "a sink without the option writes what came"
