"""What people ask of files and runs: values of the human moves, each of which leaves a row in the audit.

A person acts on what they saw: a run is named with the fence it had then, so that of two people who act at once one is
told that the run has moved on.
"""

from __future__ import annotations

import msgspec

from filemill.model.runs import StagedChild


class Deed(msgspec.Struct, frozen=True):
    """Who did it, when (wall nanoseconds), why, in their own words, and from where, if it was asked over HTTP."""

    principal: str
    at_ns: int
    reason: str = ""
    address: str = ""


class Redrive(msgspec.Struct, frozen=True):
    """A dead run is to be tried again, with all its attempts.

    A run that died at `publish:<sink>` only publishes what is missing, from the bytes that are staged, whatever the
    other members say.
    """

    run: str
    fence: int
    from_input: bool = False
    """From the failed step's kept input; else from the file's beginning."""
    insists: bool = False
    """With `from_input`: from there or not at all. Else it begins with the file where nothing fits that is kept."""
    revision: int = 0
    """Stay with this revision; 0: the one that is current when it begins."""


class Release(msgspec.Struct, frozen=True):
    """A held run may go on. `choice` answers the question of the `hold` step that holds it; empty where it has none."""

    run: str
    fence: int
    choice: str = ""


class Chosen(msgspec.Struct, frozen=True):
    """A run as the person saw it."""

    run: str
    fence: int


class Mend(msgspec.Struct, frozen=True):
    """A file that a person made in the place of another, or of a run's bad records: it becomes that one's child."""

    runs: tuple[Chosen, ...]
    """Runs of one file. Those that are dead are given up with it; one that is done has its bad records sent anew."""
    child: StagedChild
    content: str
    """The content reference that its bytes will have."""
    again: bool = False
    """Also where the bad records were sent anew before."""


class Replay(msgspec.Struct, frozen=True):
    """An ended run is to be done once more, by a new run of the same file and pipeline."""

    of: str
    run: str
    """Id of the new one."""
    revision: int
    pinned: bool = False
    """Stay with `revision`, though another is current when it begins."""
    supersede: bool = False
    """Its outputs take the places of those of the earlier run."""
    priority: int = 0
