"""Whether the configuration on the disk is the one that runs, and if not, why not."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec

from filemill.cli.session import Session
from filemill.model.errors import PermanentError, UsageError
from filemill.telemetry.wording import age, printable

if TYPE_CHECKING:
    from filemill.queries import Queries

_MANY = 3


class Standing(msgspec.Struct, frozen=True):
    """How the configuration on the disk stands to the one that came into force last."""

    revision: int
    """0: none ever did."""
    pid: int | None
    """The server's; None when none runs."""
    changes: dict[str, str]
    """Files that are others on the disk: name, and `changed`, `added` or `removed`."""
    refused: str = ""
    """Why the server did not take what lay there when it was last asked."""
    refused_ns: int = 0

    def lines(self, now_ns: int) -> Iterator[str]:
        """What a person should know of it; nothing where all is well."""
        if self.refused and self.pid is not None:
            ago = age(now_ns - self.refused_ns)
            yield f"configuration on disk is not the one that runs (rev {self.revision}); refused {ago} ago:"
            yield from (f"  {printable(line)}" for line in self.refused.splitlines())
        elif self.changes and self.pid is not None:
            few = [f"{name} {word}" for name, word in list(self.changes.items())[:_MANY]]
            if len(self.changes) > _MANY:
                few.append(f"{len(self.changes) - _MANY} more")
            words = printable(", ".join(few))
            yield (
                f"configuration on disk is not the one that runs (rev {self.revision}): {words}"
                "  (filemill config diff, filemill reload)"
            )


def standing_of(session: Session, queries: Queries) -> Standing:
    """Find it out; the configuration itself is not judged."""
    from filemill.config.stored import changes_on_disk, read_stored
    from filemill.service.reading import server_of

    current = next((each for each in queries.revisions() if each.current), None)
    if session.address() is not None:  # what lies on its disk a server does not tell
        return Standing(current.number if current else 0, None, {})
    pid = server_of(session.data())
    if current is None:
        return Standing(0, pid, {})
    refusal = queries.refusal()
    try:
        root = os.path.dirname(session.config())
        changes = changes_on_disk(read_stored(current.text), root)
    except (UsageError, PermanentError):  # no configuration here, or one that another version wrote
        changes = {}
    if refusal is None:
        return Standing(current.number, pid, changes)
    return Standing(current.number, pid, changes, refusal.why, refusal.at_ns)
