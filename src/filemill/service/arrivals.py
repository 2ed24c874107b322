"""Which files came since the start: a one-shot run tells of each at its end."""

from __future__ import annotations

from collections.abc import Sequence

from filemill.model.events import Event, FileIngested, RunFailed, RunFinished, RunHeld
from filemill.model.files import FileRef


class Arrivals:
    """Files acknowledged since the start, the rejected too. Empty while a server watches: nobody counts them there."""

    def __init__(self) -> None:
        self.counted = False
        self.files: dict[str, None] = {}
        """Their ids, in the order they came."""
        self.parents: dict[str, str] = {}
        """Of these, the ones that were emitted, each with its parent, which stands before it."""
        self.ended: dict[str, None] = {}
        """Files of which a run came to an end since the start, those that came before it too."""

    def note(self, files: Sequence[FileRef]) -> None:
        """These were acknowledged."""
        if self.counted:
            self.files |= dict.fromkeys(file.file for file in files)

    def hear_end(self, event: Event) -> None:
        """What the engine says: whose runs are done, dead or held."""
        if self.counted and (
            isinstance(event, RunFinished | RunHeld)
            or (isinstance(event, RunFailed) and event.state == "dead")
        ):
            self.ended[event.file] = None

    def hear(self, event: Event) -> None:
        """What intake says: of a rejected file, and of whose child one is, only its events tell."""
        if self.counted and isinstance(event, FileIngested):
            self.files[event.file] = None
            if event.parent:
                self.parents[event.file] = event.parent
