"""What a folder sink's half in a worker needs to know of the sink."""

from __future__ import annotations

import msgspec

from filemill.encryption.age import Sealer
from filemill.sinks.compressing import Compression
from filemill.sinks.naming import NameTemplate
from filemill.sinks.permitting import Permissions


class Staging(msgspec.Struct, frozen=True):
    """What a stager needs to know of its sink."""

    sink: str
    folder: bytes
    """The staging folder, absolute."""
    template: NameTemplate
    format: str | None
    """`csv`, `jsonl`, `json`, `lines`, `parquet`, `raw`; None: as it was read."""
    received: bool
    """`as: received`."""
    write_empty: bool
    collision: str
    permissions: Permissions
    compress: Compression | None = None
    """Of the whole output; in parquet, of its pages."""
    sealer: Sealer | None = None
    """Encrypts each output."""
    said: bool = False
    """With a sealer: the names of outputs say so."""
    formulas: bool = True
    """False: in csv, what a spreadsheet may take for a formula is escaped."""
