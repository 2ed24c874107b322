"""Big files worked on in chunks: columns that JSON in a cell brings, and compressed outputs joined from parts."""

from __future__ import annotations

import gzip
import os
from typing import Any

import pytest
from backports import zstd
from chunk_world import ChunkWorld, story
from milling import Mill, step

from filemill.model.runs import RunResult

UNPACK = {"gz": gzip.decompress, "zst": zstd.decompress}


def both(made: ChunkWorld) -> tuple[RunResult, dict[str, Any], dict[str, Any]]:
    """The same file in chunks, and as a whole."""
    ended = made.chunked(workers=3)
    assert ended is not None
    assert ended.result is not None
    told = story(made.mill, ended.result)
    for output in ended.result.outputs:
        os.unlink(output.staged)
    whole = story(made.mill, made.whole())
    made.close()
    return ended.result, told, whole


@pytest.mark.parametrize("reader", ["read_csv", "read_jsonl", "read_lines"])
def test_keys_that_appear_late_are_columns_from_the_start(mill: Mill, reader: str) -> None:
    payloads = [f'{{"n": {i}' + (', "late": "x"}' if i > 80 else "}") for i in range(120)]
    column = "p"
    if reader == "read_csv":
        cells = ['"' + payload.replace('"', '""') + '"' for payload in payloads]
        data = "id,p\n" + "".join(f"{i},{cell}\n" for i, cell in enumerate(cells))
    elif reader == "read_jsonl":
        data = "".join(f'{{"id":{i},"p":{payload}}}\n' for i, payload in enumerate(payloads))
    else:
        column, data = "line", "".join(f"{payload}\n" for payload in payloads)
    steps = [step(reader), step("parse_json", column=column), step("write", to="out")]
    result, told, whole = both(ChunkWorld(mill, steps, data.encode(), chunk_size=500))
    assert told == whole
    assert result.chunks > 3
    (out,) = told["outputs"].values()
    assert out.count(b"\n") == 120 + (reader == "read_csv")


@pytest.mark.parametrize("kind", ["gz", "zst"])
def test_compressed_parts_are_one_output_and_the_same_at_every_attempt(
    mill: Mill, kind: str
) -> None:
    data = b"n,t\n" + b"".join(b"%d,%s\n" % (i, b"x" * (i % 50)) for i in range(400))
    steps = [step("read_csv"), step("write", to="out")]

    def world() -> ChunkWorld:
        return ChunkWorld(mill, steps, data, chunk_size=1_000, sinks={"out": {"compress": kind}})

    first, told, whole = both(world())
    assert first.chunks > 5
    assert UNPACK[kind](told["outputs"]["out"]) == data
    assert UNPACK[kind](whole["outputs"]["out"]) == data
    assert both(world())[1]["outputs"] == told["outputs"]
    assert told["names"] == {"out": b"f." + kind.encode()}


@pytest.mark.parametrize("form", ["json", "parquet"])
def test_outputs_with_an_end_are_worked_on_whole(mill: Mill, form: str) -> None:
    steps = [step("read_csv"), step("write", to="out")]
    made = ChunkWorld(
        mill, steps, b"n\n" + b"1\n" * 2_000, chunk_size=500, sinks={"out": {"format": form}}
    )
    assert made.chunked() is None
    result = made.whole()
    made.close()
    assert result.outputs[0].records == 2_000
