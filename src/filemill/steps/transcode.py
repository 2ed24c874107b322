"""transcode: a text file of any encoding as UTF-8."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import msgspec
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from filemill.ports.step import Form, Grain, Scope, StepContext, StepSpec, Uses

if TYPE_CHECKING:
    from filemill.model.runs import RunOrder


def _encoding(name: str) -> str:
    from filemill.envelopes.charset import canonical  # noqa: PLC0415 -- only where the step is used

    return canonical(name)


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Encoding = Annotated[str, AfterValidator(_encoding)]


class TranscodeOptions(BaseModel):
    """Options of `transcode`."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, validate_by_name=True, validate_by_alias=True
    )
    from_: Encoding | None = Field(
        None,
        alias="from",
        description="The encoding of the files, such as cp1252; unless set, it is found from their bytes.",
    )
    candidates: Annotated[list[Encoding], BeforeValidator(_as_list)] = Field(
        default_factory=list,
        description="Encodings to try, in order, on a file that is neither marked nor UTF-8; "
        "the first in which all of it can be read. Without one the encoding is guessed.",
    )

    @model_validator(mode="after")
    def _one_way(self) -> TranscodeOptions:
        if self.from_ is not None and self.candidates:
            raise ValueError("`from` says what the files are: remove `candidates`")
        return self


class Transcode:
    """Puts the same text in UTF-8, without a byte order mark, in place of the file."""

    grain: ClassVar[Grain] = Grain.FILE
    spec: ClassVar[StepSpec] = StepSpec(
        name="transcode",
        summary="Turn text of a declared or detected encoding into UTF-8, strictly.",
        example="- transcode: {from: cp1252}",
        takes=Form.FILE,
        gives=Form.FILE,
        grain=Grain.FILE,
        scope=Scope.FILE,
        shorthand="from",
    )
    Options: ClassVar[type[BaseModel]] = TranscodeOptions

    def __init__(self, context: StepContext) -> None:
        self.context = context
        self.options: TranscodeOptions = context.options

    @classmethod
    def uses(cls, options: TranscodeOptions) -> Uses:  # noqa: ARG003
        """Nothing that a configuration could name."""
        return Uses()

    def change(self, number: int, folder: str) -> RunOrder:
        """The order with the file in UTF-8; the order itself where it is that already.

        Raises:
            Undecodable: a byte does not decode, or nobody can tell the encoding.
        """
        from filemill.envelopes import charset  # noqa: PLC0415 -- workers only

        order = self.context.orders[number]
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
        source = os.open(order.file.path, flags)
        try:
            head = os.pread(source, charset.SAMPLE, 0)

            def pieces() -> Iterator[bytes]:
                at = 0
                while piece := os.pread(source, charset.PIECE, at):
                    at += len(piece)
                    yield piece

            if self.options.from_ is not None:
                encoding, skip = charset.settle(self.options.from_, head)
            else:
                encoding, skip = charset.find(pieces, head, self.options.candidates)
            same = encoding == "utf-8" and not skip
            if same and self.options.from_ is None:
                return order  # proven while it was looked for
            target = os.fsencode(os.path.join(folder, "text"))
            size = 0
            with open(target, "xb") as out:
                for text in charset.decode(pieces, encoding, skip):
                    size += out.write(text)
        finally:
            os.close(source)
        return msgspec.structs.replace(order, file=order.file.replaced(target, size))
