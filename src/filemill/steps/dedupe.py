"""dedupe: of records with the same key, the first one of a file stays."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from filemill.model.errors import PermanentError
from filemill.ports.step import Scope, StepContext, StepSpec, Uses
from filemill.steps.seen import WIDTH, Seen
from filemill.steps.tagging import ElseTag

if TYPE_CHECKING:
    from filemill.records.batch import Batch

_PART = b"\0"


class DedupeOptions(BaseModel):
    """Options of `dedupe`."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    keys: list[str] = Field(
        min_length=1,
        description="Columns that together tell records apart, compared as text (`007` is not `7`). A record in which "
        "one of them is empty, null or missing is never a repeat.",
    )
    keep: Literal["first"] = Field(default="first", description="Which of several records stays.")
    else_tag: ElseTag = Field(
        default=None,
        description="Give repeats this tag and let them go on; without it they are dropped, and counted as filtered.",
    )
    max_keys: int = Field(
        default=50_000_000,
        ge=1,
        description="Keys one file may have. Each takes 24 to 48 bytes of the worker's memory while the file is read; "
        "with more of them the run fails.",
    )

    @field_validator("keys")
    @classmethod
    def _are_distinct(cls, keys: list[str]) -> list[str]:
        if len(set(keys)) < len(keys):
            raise ValueError("a column is there twice")
        return keys


class Dedupe:
    """Drops or tags repeats within a file; sees the whole file in order.

    Of each key only 16 bytes of its hash are kept, so two different keys are taken for one with a chance of about
    n^2 / 2^129 in a file of n keys: 1 in 10^23 for a hundred million.
    """

    spec: ClassVar[StepSpec] = StepSpec(
        name="dedupe",
        summary="Keep the first of a file's records with the same key.",
        example="- dedupe: [order_id]",
        scope=Scope.FILE,
        makes_tags=True,
        shorthand="keys",
        notes="The file is read from its beginning to its end, a piece at a time. Of each key 16 bytes of a hash are "
        "kept: that two different keys are taken for one has a chance of about n^2 / 2^129 in a file of n keys.",
    )
    Options: ClassVar[type[BaseModel]] = DedupeOptions

    def __init__(self, context: StepContext) -> None:
        self.context = context
        self.options: DedupeOptions = context.options
        self._file: int | None = None
        self._seen = Seen()

    @classmethod
    def uses(cls, options: DedupeOptions) -> Uses:
        """Its tag."""
        return Uses(tags=(options.else_tag,) if options.else_tag else ())

    def state(self) -> bytes:
        """What `restore` needs to go on with the file at hand: 16 bytes a key, in no order that means anything."""
        return self._seen.dump()

    def restore(self, state: bytes, order: int = 0) -> None:
        """Go on where another step of the same options stood, in the file of this order index."""
        self._file, self._seen = order, Seen.load(state)

    def apply(self, batch: Batch) -> Batch:
        """The batch without its repeats, or with a tag on them.

        Raises:
            PermanentError: a key column is absent from a csv file (did-you-mean), or a file has too many keys.
        """
        import polars as pl  # noqa: PLC0415 -- keeps Polars out of `check`

        keys = _keys(batch, self.options.keys)
        repeats: list[bool] = []
        for file, start, stop in batch.split_files():
            if file != self._file:
                self._file, self._seen = file, Seen()
            seen = self._seen
            repeats += [key is not None and not seen.add(key) for key in keys[start:stop]]
            if len(seen) > self.options.max_keys:
                raise PermanentError(
                    f"the file has more than {self.options.max_keys:,} different keys",
                    help="raise `max_keys` of this `dedupe` if the machine has the memory",
                )
        mask = pl.Series(repeats, dtype=pl.Boolean)
        tag = self.options.else_tag
        if tag is not None:
            return batch.with_tag(tag, mask)
        return batch if not any(repeats) else batch.where(~mask)

    def close(self) -> Batch | None:
        """Nothing is held back."""
        return None


def _keys(batch: Batch, names: list[str]) -> list[bytes | None]:
    """The hash of each record's key; None for a record that lacks part of it."""
    made: list[bytes | None] = []
    if len(names) == 1:
        return [_digest(text.encode()) if text else None for (text,) in _texts(batch, names)]
    for parts in _texts(batch, names):
        if all(parts):
            whole = _PART.join([f"{len(part or '')}:{part}".encode() for part in parts])
            made.append(_digest(whole))
        else:
            made.append(None)
    return made


def _digest(key: bytes) -> bytes:
    return hashlib.blake2b(key, digest_size=WIDTH).digest()


def _texts(batch: Batch, names: list[str]) -> Iterator[tuple[str | None, ...]]:
    from filemill.records.values import texts  # noqa: PLC0415 -- keeps Polars out of `check`

    return zip(*(column.to_list() for column in texts(batch, names)), strict=True)
