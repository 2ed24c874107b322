"""redact: values that nobody may see behind this step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, model_validator

from filemill.ports.step import PatternUse, StepContext, StepSpec, Uses

if TYPE_CHECKING:
    from filemill.records.batch import Batch
    from filemill.records.redacting import Redactor

MASK = "***"


class Redaction(BaseModel):
    """What becomes of one column's values: exactly one of these, `mask` unless another is set."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    mask: str | None = Field(default=None, description="This text in place of every value.")
    keep_last: int | None = Field(
        default=None,
        ge=1,
        le=16,
        description="`***` and the last so many characters; of a value with fewer than twice as many, `***` alone.",
    )
    hash: SecretStr | None = Field(
        default=None,
        description="HMAC-SHA-256 of the value under this key, in hex: equal values stay equal, so records can still "
        "be joined. `{secret: NAME}`.",
    )
    pattern: str | None = Field(
        default=None,
        min_length=1,
        description="Replace what this regular expression (Rust's syntax) matches, and keep the rest of the text.",
    )
    by: str | None = Field(
        default=None, description="What `pattern` puts in the place of a match; `***` unless set."
    )

    @model_validator(mode="after")
    def _is_one(self) -> Redaction:
        set_ = [n for n in ("mask", "keep_last", "hash", "pattern") if getattr(self, n) is not None]
        if len(set_) > 1:
            raise ValueError(f"`{set_[0]}` and `{set_[1]}` exclude each other: remove one")
        if self.by is not None and self.pattern is None:
            raise ValueError("`by` is what `pattern` puts in: use `mask` for a text of your own")
        if self.hash is not None and len(self.hash.get_secret_value()) < 16:
            raise ValueError(
                "the key of `hash` is shorter than 16 characters, so it can be guessed"
            )
        return self


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class RedactOptions(BaseModel):
    """Options of `redact`."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    columns: Annotated[
        list[str] | dict[str, Literal["mask"] | Redaction], BeforeValidator(_as_list)
    ] = Field(
        min_length=1,
        description="Columns whose every value becomes `***`, as a list; or column to what becomes of its values: "
        "`mask`, `{mask: TEXT}`, `{keep_last: 4}`, `{hash: {secret: NAME}}`, `{pattern: REGEX, by: TEXT}`. Empty "
        "cells, null and what is missing stay as they are.",
    )


class Redact:
    """Replaces values of whole columns; the record as it came in does not leave the pipeline behind it."""

    spec: ClassVar[StepSpec] = StepSpec(
        name="redact",
        summary="Mask, shorten or hash the values of columns.",
        example="- redact: [email, phone]\n"
        "- redact: {columns: {card: {keep_last: 4}, customer: {hash: {secret: PEPPER}}}}",
        shorthand="columns",
        notes="Behind it no step, no message and no output has the old values; sinks with `as: received` are refused "
        "there. A csv file that lacks one of the columns ends the run. In JSON a value that is no text is judged by "
        "what is written, and what replaces it is a text.",
    )
    Options: ClassVar[type[BaseModel]] = RedactOptions

    def __init__(self, context: StepContext) -> None:
        self.context = context
        columns = _columns(context.options)
        self.redactors = [(name, _redactor(how)) for name, how in columns.items()]

    @classmethod
    def uses(cls, options: RedactOptions) -> Uses:
        """Its patterns, and what it hides."""
        columns = _columns(options)
        return Uses(
            patterns=tuple(
                PatternUse(("columns", name, "pattern"), how.pattern)
                for name, how in columns.items()
                if how.pattern is not None
            ),
            hides=tuple(columns),
        )

    def apply(self, batch: Batch) -> Batch:
        """The batch without those values.

        Raises:
            PermanentError: a column is absent from a csv file (did-you-mean): better no output than an unmasked one.
        """
        from filemill.records.redacting import redacted  # noqa: PLC0415 -- keeps Polars out of `check`

        for name, redactor in self.redactors:
            batch = redacted(batch, name, redactor)
        return batch

    def close(self) -> Batch | None:
        """Nothing is held back."""
        return None


def _columns(options: RedactOptions) -> dict[str, Redaction]:
    plain = Redaction()
    columns = options.columns
    if isinstance(columns, list):
        return dict.fromkeys(columns, plain)
    return {name: plain if how == "mask" else how for name, how in columns.items()}


def _redactor(how: Redaction) -> Redactor:
    from filemill.records import redacting  # noqa: PLC0415 -- keeps Polars out of `check`

    if how.keep_last is not None:
        return redacting.Tail(how.keep_last, MASK)
    if how.hash is not None:
        return redacting.Keyed(how.hash.get_secret_value())
    if how.pattern is not None:
        return redacting.Replaced(how.pattern, MASK if how.by is None else how.by)
    return redacting.Masked(MASK if how.mask is None else how.mask)
