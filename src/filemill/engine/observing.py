"""What an attempt tells an observer, if it has one: which records and files stand after each step.

Only `try` observes. Nothing is asked of the observer but whether reading should go on, so what an observed attempt
makes of a file is what any other makes of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from filemill.engine.attempt import Attempt
    from filemill.engine.chain import Node
    from filemill.model.runs import RunOrder
    from filemill.records.batch import Batch


class Observer(Protocol):
    """Looks on. Called by the thread of the attempt, between steps; whatever it raises fails the attempt."""

    def begin(self, attempt: Attempt) -> None:
        """A new attempt: what an earlier one showed counts no more (it read with wrong types or headers)."""
        ...

    def read(self, node: Node, batch: Batch) -> bool:
        """A reader gave a batch; False ends the reading after it."""
        ...

    def changed(self, node: Node, before: Batch | None, after: Sequence[Batch]) -> None:
        """A step made `after` of a batch; `before` is None for what it had held back to the end."""
        ...

    def branched(self, node: Node, number: int, batch: Batch) -> None:
        """A route sends these records down a branch."""
        ...

    def sent(self, node: Node, sinks: Sequence[str], batch: Batch) -> None:
        """A step sends these records to sinks, or to none."""
        ...

    def file(self, node: Node, before: RunOrder, after: RunOrder) -> None:
        """A step worked on the whole file."""
        ...
