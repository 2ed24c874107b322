"""Encoded records of many files in one buffer, cut into each file's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from filemill.sinks.sheets import Stretch
from filemill.sinks.staged_file import StagedFile

_END = memoryview(b"\n")
_NEXT = memoryview(b",\n")
"""Between two elements of a JSON array."""


def cut(
    texts: pl.Series,
    stretches: Sequence[Stretch],
    outputs: Mapping[int, StagedFile],
    *,
    in_array: bool = False,
) -> None:
    """Give each file's output its stretch of the encoded records: one buffer for all, cut by byte offsets.

    Stretches are of rows of `texts`; `in_array`: the records are elements of a JSON array.
    """
    between = _NEXT if in_array else _END
    joined = memoryview(texts.str.join(str(between, "ascii")).cast(pl.Binary).item())
    if len(stretches) == 1 and stretches[0][1:] == (0, len(texts)):
        ends = {0: 0, len(texts): len(joined) + len(between)}
    else:
        edges = sorted({edge for _, start, end in stretches for edge in (start, end) if edge})
        sizes = texts.str.len_bytes().cast(pl.Int64) + len(between)
        at = sizes.cum_sum().gather([edge - 1 for edge in edges])
        ends = dict(zip(edges, at.to_list(), strict=True)) | {0: 0}
    for index, start, end in stretches:
        output = outputs[index]
        if in_array:
            if output.records:
                output.add(_NEXT, 0)
            output.add(joined[ends[start] : ends[end] - len(_NEXT)], end - start)
            continue
        output.add(joined[ends[start] : ends[end]], end - start)
        if end == len(texts):
            # A piece of its own: joining it would copy all the others once more.
            output.add(_END, 0)
