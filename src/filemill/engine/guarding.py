"""Guards (`if:` of a step): which records of a batch a step gets, and how the others come back to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from filemill.model.tags import TagExpression, has_tag
from filemill.records.batch import Batch
from filemill.records.merging import align, merge
from filemill.records.text import TAG


class Guards:
    """The guards of one attempt, each asked once where the files' own tags decide it."""

    def __init__(self) -> None:
        self._same: dict[str, bool | None] = {}

    def inside(self, guard: TagExpression, batch: Batch) -> Any:
        """The guard's mask; True or False where it is the same for all, as file tags alone make it."""
        own = [name.removeprefix(TAG) for name in batch.frame.columns if name.startswith(TAG)]
        if not any(has_tag(pattern, own) for pattern in guard.names()):
            if guard.text not in self._same:
                found = {guard.matches(tags) for tags in batch.file_tags}
                self._same[guard.text] = found.pop() if len(found) == 1 else None
            same = self._same[guard.text]
            if same is not None:
                return same
        mask = batch.mask(guard)
        if mask.all():
            return True
        return mask if mask.any() else False


def rejoined(parts: Sequence[Batch], outside: Batch) -> list[Batch]:
    """The parts with those records of their own files that a guard kept outside; then the files it kept out whole."""
    joined = []
    for part in parts:
        mine = outside.frame.get_column("_file").is_in(part.frame.get_column("_file").unique())
        if mine.any():
            own = outside.where(mine)
            joined.append(merge([align(own, part.layout.columns), part]) if len(part) else own)
            outside = outside.where(~mine)
        else:
            joined.append(part)
    return [*joined, outside] if len(outside) else joined
