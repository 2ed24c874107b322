"""hold: have a run wait for a person."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import BaseModel, ConfigDict, Field, field_validator

from filemill.model.tags import TagSyntaxError, check_tag
from filemill.ports.step import Form, StepContext, StepSpec, Uses

if TYPE_CHECKING:
    from filemill.records.batch import Batch


CHOICE = "choice:"
"""Begins the tag that a person's choice becomes."""


class HoldOptions(BaseModel):
    """Options of `hold`."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    message: str = Field(
        min_length=1,
        max_length=1_000,
        description="What the person is told who decides.",
    )
    choices: list[str] = Field(
        default_factory=list,
        description="The answers there are, for the person to choose from. The one chosen becomes the tag "
        "`choice:ANSWER`, for a later `if:` or `route`.",
    )

    @field_validator("choices")
    @classmethod
    def _become_tags(cls, choices: list[str]) -> list[str]:
        for number, choice in enumerate(choices):
            if choice in choices[:number]:
                raise ValueError(f"`{choice}` is there twice")
            if ":" in choice:
                raise ValueError(f"`{choice}` becomes part of a tag: leave the `:` out")
            try:
                check_tag(CHOICE + choice)
            except TagSyntaxError as error:
                raise ValueError(f"`{choice}` becomes part of a tag: {error.message}") from error
        return choices


class Hold:
    """Holds the run when any record reaches it, or, where no step has read the file, when the file does.

    Once a person has let the run pass, it hands on what reaches it, with their choice as a tag.

    A held file goes no further. Of records the rest of the file is still worked on, so that a person sees all there is
    to see; nothing of it is published either way. Usually under `if:`.
    """

    spec: ClassVar[StepSpec] = StepSpec(
        name="hold",
        summary="Have the run wait for a person; nothing of it is published.",
        example='- hold: "amounts over a million: is this right?"\n  if: huge',
        takes=Form.ANY,
        gives=Form.ANY,
        shorthand="message",
        notes="A file that is held before it is read goes no further. Where a record asks for it, the rest of the file "
        "is still worked on, so that a person sees all there is to see, and functions of your own are called for it. "
        "Nothing of the run is published either way. `filemill held release` lets the run go on from here; with "
        "`choices:`, what goes on has the tag `choice:ANSWER`.",
    )
    Options: ClassVar[type[BaseModel]] = HoldOptions

    def __init__(self, context: StepContext) -> None:
        self.context = context
        self.options: HoldOptions = context.options

    @classmethod
    def uses(cls, options: HoldOptions) -> Uses:
        """The tags that its choices become."""
        return Uses(answers=tuple(CHOICE + choice for choice in options.choices))

    def deliver(self, batch: Batch) -> Batch | None:
        """Hold the runs of these records that nobody has let pass, and pass all of them on, the choices as tags."""
        chosen: dict[str, list[int]] = {}
        lines = batch.frame.get_column("_line")
        for file, start, _ in batch.split_files():
            answer = self._answer(file)
            if answer is None:
                self._hold(file, int(lines[start]))
            elif answer:
                chosen.setdefault(answer, []).append(file)
        files = batch.frame.get_column("_file")
        for answer, some in chosen.items():
            batch = batch.with_tag(CHOICE + answer, files.is_in(some))
        return batch

    def deliver_file(self, run: str) -> None:
        """Hold this run, or give its file the tag of the choice with which a person let it pass."""
        at = next(at for at, order in enumerate(self.context.orders) if order.run == run)
        answer = self._answer(at)
        if answer is None:
            self._hold(at, 0)
        elif answer:
            self.context.tag_file(at, CHOICE + answer)

    def _answer(self, order: int) -> str | None:
        """With which choice, if any, the run was let pass; None: a choice that there is not any more is none."""
        answer = self.context.answer(order)
        return answer if not answer or answer in self.options.choices else None

    def _hold(self, order: int, line: int) -> None:
        options = self.options
        self.context.hold(order, options.message, choices=options.choices, line=line)
