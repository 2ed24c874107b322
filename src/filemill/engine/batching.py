"""Which leased runs travel together in one job."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from filemill.model.runs import RunOrder

GROUP_BYTES = 32 << 20
"""A job's files together: what a worker may hold in memory at once when it computes them as one batch."""


def batches(
    orders: Iterable[RunOrder], big: int = GROUP_BYTES, current: int | None = None
) -> Iterator[tuple[RunOrder, ...]]:
    """Cut leased runs into jobs: one pipeline each, at most 32 MiB; alone go solo runs and big files.

    A file is big if it has more bytes than `big`. Alone go those of another revision than `current`, too: what is big
    to them is not known here.
    """
    group: list[RunOrder] = []
    size = 0
    for order in orders:
        fits = (
            group
            and not order.solo
            and not group[0].solo
            and max(order.file.size, group[0].file.size) <= big
            and group[0].pipeline == order.pipeline
            and group[0].revision == order.revision
            and current in (None, order.revision)
            and size + order.file.size <= GROUP_BYTES
        )
        if group and not fits:
            yield tuple(group)
            group, size = [], 0
        group.append(order)
        size += order.file.size
    if group:
        yield tuple(group)
