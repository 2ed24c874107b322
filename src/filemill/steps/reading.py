"""What the reading steps share: the request their format's reader gets, and the words for column types."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from filemill.formats.terms import ReadRequest
    from filemill.ports.step import StepContext

ColumnType = Literal["integer", "float", "boolean", "text"]
TYPES_HELP = (
    "Column to type (`integer`, `float`, `boolean`, `text`). A value that does not fit makes its record bad. "
    "Other columns have the types that a `check` directly behind declares; the rest is inferred: numbers only where "
    "every value keeps its text."
)


def request_of(context: StepContext, types: Mapping[str, str] | None = None) -> ReadRequest:
    """What this step asks of its format's reader."""
    from filemill.formats.terms import ReadRequest  # noqa: PLC0415 -- keeps Polars out of `check`

    own = types or {}
    return ReadRequest(
        step=context.plan.id,
        orders=context.orders,
        report_bad=context.report_bad,
        count_blank=context.count_blank,
        count_records=context.count_records,
        note_layout=context.note_layout,
        note_range=context.note_range,
        needs=context.needs,
        named=context.named,
        required=context.required,
        types={**context.types, **own},
        lenient=frozenset(context.types) - frozenset(own),
        hints=context.hints,
        open=context.open,
        chunk_size=context.chunk_size,
        max_record=context.max_record,
    )
