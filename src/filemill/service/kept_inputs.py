"""What a failed step was given, as a file that people and programs can read.

What is kept of a run is Arrow with its books behind it (`engine/inputs.py`), for another attempt to begin with. Here
the same records are written as a folder sink without `format:` would write them, and a kept file as it is.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from filemill.durable import Durable, Failpoints
from filemill.model.files import FileRef
from filemill.model.runs import RunOrder
from filemill.ports.registry import Registry
from filemill.ports.sink import SinkContext
from filemill.sinks.naming import STAGING

if TYPE_CHECKING:
    from filemill.engine.inputs import InputReader

_RUN = "keptinput0000"
"""In place of a run's id: what is written here is nobody's publication."""


@contextmanager
def opened(path: bytes, scratch: str | None = None) -> Iterator[tuple[BinaryIO, int]]:
    """The kept input at `path` as an open file, and how many bytes of it count.

    `scratch` is where records are written for it; None: where the system has its temporary files.

    Raises:
        PermanentError: it is gone or damaged.
        OSError: it cannot be read, or the temporary folder is full.
    """
    from filemill.engine.inputs import InputReader  # noqa: PLC0415 -- loads Polars

    reader = InputReader(path)
    if reader.told.pieces is None:
        with open(path, "rb") as kept:
            yield kept, reader.told.size
        return
    with tempfile.TemporaryDirectory(prefix="filemill-input-", dir=scratch) as folder:
        written = _write(reader, folder)
        if written is None:
            with tempfile.TemporaryFile(dir=folder) as nothing:
                yield nothing, 0
            return
        with open(written, "rb") as made:
            yield made, os.fstat(made.fileno()).st_size


def _write(reader: InputReader, folder: str) -> bytes | None:
    """The records in a file below `folder`; None where there are none."""
    told = reader.told
    sink = Registry().get("sinks", "folder")
    options = sink.Options(folder=folder)
    durable = Durable(Failpoints("input"), sync=False)
    file = FileRef(_RUN, b"", told.relative, told.size, "", 0, tags=told.tags)
    order = RunOrder(_RUN, file, "", 0, attempt=1, fence=1)
    os.mkdir(os.path.join(folder, os.fsdecode(STAGING)), 0o700)
    stager = sink(SinkContext("input", options, "UTC", durable, sync=False)).stager([order])
    layouts = [piece.layout for piece in told.pieces or ()]
    if layouts and layouts[0].format != "jsonl":
        columns = dict.fromkeys(name for layout in layouts for name in layout.columns)
        layout = msgspec.structs.replace(layouts[0], columns=tuple(columns))
        stager.expect(0, layout, more=False)
    for batches, _ in reader.groups([frozenset(told.tags)]):
        for batch in batches:
            stager.write(batch)
    outputs = stager.finish().get(_RUN)
    return outputs[0].staged if outputs else None
