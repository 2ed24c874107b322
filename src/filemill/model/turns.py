"""A queue that lets those who wait have their turn."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable
from typing import Generic, TypeVar

T = TypeVar("T")


class Turns(Generic[T]):
    """Items by priority and by whose they are: the highest priority first, within it one of each owner in turn.

    One owner's items of one priority keep their order. Each move costs the same, however many wait.
    """

    def __init__(self) -> None:
        self._levels: dict[int, OrderedDict[str, deque[T]]] = {}
        self._count = 0

    def __len__(self) -> int:
        """How many wait."""
        return self._count

    def put(self, owner: str, items: Iterable[T], priority: int = 0) -> None:
        """Add items behind those that this owner has waiting."""
        level = self._levels.setdefault(priority, OrderedDict())
        mine = level.setdefault(owner, deque())
        before = len(mine)
        mine.extend(items)
        self._count += len(mine) - before
        if not mine:
            self._drop(priority, owner)

    def pop(self) -> T:
        """The next item.

        Raises:
            IndexError: none waits.
        """
        if not self._levels:
            raise IndexError("nobody waits")
        priority = max(self._levels)
        level = self._levels[priority]
        owner, mine = next(iter(level.items()))
        item = mine.popleft()
        self._count -= 1
        if mine:
            level.move_to_end(owner)
        else:
            self._drop(priority, owner)
        return item

    def take(self, limit: int) -> list[T]:
        """The next items, at most so many."""
        return [self.pop() for _ in range(min(limit, self._count))]

    def _drop(self, priority: int, owner: str) -> None:
        level = self._levels[priority]
        del level[owner]
        if not level:
            del self._levels[priority]
