"""unpack: every file inside an archive becomes a file of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from filemill.model.errors import PermanentError
from filemill.model.runs import MAX_DEPTH
from filemill.ports.step import Form, Grain, Scope, StepContext, StepSpec, Uses
from filemill.ports.units import Size
from filemill.steps.children import TAGS_HELP, ChildTags

if TYPE_CHECKING:
    from filemill.model.runs import RunOrder


class UnpackOptions(BaseModel):
    """Options of `unpack`."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    tags: ChildTags = Field(default_factory=list, description=TAGS_HELP)
    max_size: Size = Field(
        10 << 30, ge=1, description="Most bytes of all entries together; more is a dead letter."
    )
    max_ratio: float = Field(
        200,
        gt=1,
        description="Most times the archive's size that its entries may have, looked at from 64 MiB on.",
    )
    max_entries: int = Field(10_000, ge=1, le=1_000_000, description="Most entries.")
    max_depth: int = Field(
        3, ge=1, le=MAX_DEPTH, description="Most archives within archives, the first one counted."
    )


class Unpack:
    """Emits each file of a zip or (compressed) tar archive as a child, all of them or none; passes the archive on."""

    grain: ClassVar[Grain] = Grain.FILE
    spec: ClassVar[StepSpec] = StepSpec(
        name="unpack",
        summary="Make a file of its own of each entry of a zip, tar, tar.gz, tar.zst, tar.bz2 or tar.xz.",
        example="- unpack: {tags: [unpacked]}",
        takes=Form.FILE,
        gives=Form.FILE,
        grain=Grain.FILE,
        scope=Scope.FILE,
    )
    Options: ClassVar[type[BaseModel]] = UnpackOptions

    def __init__(self, context: StepContext) -> None:
        self.context = context
        self.options: UnpackOptions = context.options

    @classmethod
    def uses(cls, options: UnpackOptions) -> Uses:
        """The tags of its children."""
        return Uses(children=tuple(dict.fromkeys(options.tags)))

    def change(self, number: int, folder: str) -> RunOrder:
        """Emit every entry; the order as it was.

        Raises:
            Damaged: the archive is cut or damaged.
            Refused: it is none, or holds a link, a device, an encrypted entry or a path that is never taken.
            OverBudget: it is more than the options allow.
        """
        from filemill.envelopes.entries import Limits  # noqa: PLC0415 -- workers only
        from filemill.envelopes.unpacking import unpack  # noqa: PLC0415 -- workers only

        order, options = self.context.orders[number], self.options
        if order.file.depth >= options.max_depth:
            raise PermanentError(
                f"this archive is within {order.file.depth} others, `max_depth` is {options.max_depth}",
                help="raise `max_depth` of this step, if archives really are packed so deep",
            )
        limits = Limits(options.max_size, options.max_ratio, options.max_entries)
        for at, (path, name) in enumerate(unpack(order.file.path, folder, limits)):
            self.context.emit(number, path, b"%d" % at, name, options.tags)
        return order
