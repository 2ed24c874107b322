"""What a folder sink's half in a worker needs to know of the sink."""

from __future__ import annotations

import msgspec

from filemill.encryption.age import Sealer
from filemill.sinks.compressing import Compression
from filemill.sinks.naming import NameTemplate
from filemill.sinks.permitting import Permissions
from filemill.sinks.sealing import Encrypt


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
    keeper: Sealer | None = None
    """With `said`: seals the parts of outputs, which wait to be joined."""
    formulas: bool = True
    """False: in csv, what a spreadsheet may take for a formula is escaped."""

    @property
    def encrypt(self) -> Encrypt | None:
        """How an output is encrypted: for who reads it elsewhere as one age file, else as content is."""
        if self.sealer is None:
            return None
        return self.sealer.stream if self.said else self.sealer.content
