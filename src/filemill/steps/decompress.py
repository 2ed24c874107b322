"""decompress: the plain file inside a compressed one."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, ClassVar, Literal

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from filemill.ports.step import Form, Grain, Scope, StepContext, StepSpec, Uses
from filemill.ports.units import Size

if TYPE_CHECKING:
    from filemill.model.runs import RunOrder

SUFFIXES = {
    "gz": (b".gz", b".gzip"),
    "zst": (b".zst", b".zstd"),
    "bz2": (b".bz2",),
    "xz": (b".xz",),
}
_TARS = {"gz": b".tgz", "zst": b".tzst", "bz2": b".tbz2", "xz": b".txz"}


class DecompressOptions(BaseModel):
    """Options of `decompress`."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    format: Literal["gz", "zst", "bz2", "xz"] | None = Field(
        None,
        description="What the file must be. Unless set that is seen from its bytes, and a plain file passes as it is.",
    )
    max_size: Size = Field(
        10 << 30, ge=1, description="Most bytes that may come out; more is a dead letter."
    )
    max_ratio: float = Field(
        200,
        gt=1,
        description="Most times its size that a file may become, looked at from 64 MiB on; more is a dead letter.",
    )


class Decompress:
    """Puts the plain bytes in place of a gz, zst, bz2 or xz file: all of them, checked, or an error."""

    grain: ClassVar[Grain] = Grain.FILE
    spec: ClassVar[StepSpec] = StepSpec(
        name="decompress",
        summary="Decompress gz, zst, bz2 and xz; a plain file passes as it is.",
        example="- decompress",
        takes=Form.FILE,
        gives=Form.FILE,
        grain=Grain.FILE,
        scope=Scope.FILE,
        shorthand="format",
    )
    Options: ClassVar[type[BaseModel]] = DecompressOptions

    def __init__(self, context: StepContext) -> None:
        self.context = context
        self.options: DecompressOptions = context.options

    @classmethod
    def uses(cls, options: DecompressOptions) -> Uses:  # noqa: ARG003
        """Nothing that a configuration could name."""
        return Uses()

    def change(self, number: int, folder: str) -> RunOrder:
        """The order with the decompressed file, whose name has lost its suffix.

        Raises:
            Damaged: the file is cut, damaged, followed by something else, or not of the declared format.
            OverBudget: more comes out than the options allow.
        """
        from filemill.envelopes import compression  # noqa: PLC0415 -- workers only

        order = self.context.orders[number]
        target = os.fsencode(os.path.join(folder, "plain"))
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
        with open(os.open(order.file.path, flags), "rb", buffering=0) as source:
            head = os.pread(source.fileno(), compression.HEAD, 0)
            kind = self.options.format or compression.kind_of(head)
            if not kind:
                _not_cut(head, order.file.name)
                return order
            budget = compression.Budget(self.options.max_size, self.options.max_ratio)
            with open(target, "xb", buffering=0) as out:
                for piece in compression.expand(source.read, kind, budget):
                    _write(out.fileno(), piece)
        name = plain_name(order.file.name, kind)
        changed = order.file.replaced(target, budget.made, name)
        return msgspec.structs.replace(order, file=changed)


def plain_name(name: bytes, kind: str) -> bytes:
    """`a.csv.gz` -> `a.csv`, `a.tgz` -> `a.tar`; a name without the format's suffix stays."""
    lower = name.lower()
    for suffix in SUFFIXES[kind]:
        if lower.endswith(suffix) and len(name) > len(suffix):
            return name[: -len(suffix)]
    if lower.endswith(_TARS[kind]) and len(name) > len(_TARS[kind]):
        return name[: -len(_TARS[kind])] + b".tar"
    return name


def _not_cut(head: bytes, name: bytes) -> None:
    """A file called `.gz` that ends within the first bytes of one is no plain file: it was cut.

    Raises:
        Damaged: it is so.
    """
    from filemill.envelopes.compression import HEAD, MAGIC, NAMES, Damaged  # noqa: PLC0415 -- as above

    if len(head) >= HEAD:
        return
    for kind, suffixes in SUFFIXES.items():
        named = name.lower().endswith((*suffixes, _TARS[kind]))
        if named and any(magic.startswith(head) for magic in MAGIC[kind]):
            raise Damaged(
                f"the {NAMES[kind]} data ends early, at byte {len(head)}",
                help="it was cut on its way: have it sent again",
            )


def _write(out: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(out, view) :]
