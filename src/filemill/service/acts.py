"""What a command that changes something asks of filemill: values that go through the control socket.

One request is one `Act`; what is answered stands in `replies`.
"""

from __future__ import annotations

import msgspec

from filemill.model.deeds import Chosen, Redrive, Release, Replay
from filemill.model.keys import Access

MOST = 500
"""Items of one act: bounds a request, and how long one transaction may hold up the server."""


class Act(msgspec.Struct, frozen=True, tag_field="act", tag=True, kw_only=True):
    """Base of all acts. `reason` is what the person says about it; it goes into the audit."""

    reason: str = ""


class RedriveRuns(Act, frozen=True):
    """Try dead runs again."""

    runs: tuple[Redrive, ...]


class ReleaseRuns(Act, frozen=True):
    """Let held runs go on."""

    runs: tuple[Release, ...]


class ReadmitFiles(Act, frozen=True):
    """Inspect and route held files again; with `unsafe` quarantined ones too, and none of them is scanned."""

    files: tuple[str, ...]
    unsafe: bool = False


class DiscardRuns(Act, frozen=True):
    """Give dead or held runs up."""

    runs: tuple[Chosen, ...]


class DiscardFiles(Act, frozen=True):
    """Give held, rejected or quarantined files up."""

    files: tuple[str, ...]


class CancelRuns(Act, frozen=True):
    """Call runs back that are not at an end."""

    runs: tuple[Chosen, ...]


class ReplayRuns(Act, frozen=True):
    """Do ended runs once more, by new runs."""

    runs: tuple[Replay, ...]


class PausePipelines(Act, frozen=True):
    """Begin no runs of these pipelines any more."""

    pipelines: tuple[str, ...]


class ResumePipelines(Act, frozen=True):
    """Begin runs of these pipelines again."""

    pipelines: tuple[str, ...]


class Reload(Act, frozen=True):
    """Take the configuration that lies on the disk."""


class Drain(Act, frozen=True):
    """Finish what runs, then end."""


class ResolveCauses(Act, frozen=True):
    """Remember that what these groups of dead letters died of is mended."""

    fingerprints: tuple[str, ...]


class MendFile(Act, frozen=True):
    """Put a file that a person made in the place of dead runs of one file, or of a done run's bad records.

    Its bytes are staged, synced, in the folder of children under `staged`, a plain name.
    """

    runs: tuple[Chosen, ...]
    child: str
    """Id of the new file."""
    staged: str
    relative: bytes
    """Its path below the source; the original's."""
    again: bool = False
    size: int = -1
    """Its bytes, where what is staged is encrypted."""


class TakePaths(Act, frozen=True):
    """Copy these files in, as `run --once` does, with their source's tags; what is known already is not taken again."""

    paths: tuple[bytes, ...]


class CreateKey(Act, frozen=True):
    """Make a key; answered by `KeyMade`."""

    name: str
    roles: tuple[str, ...]
    sources: tuple[str, ...] = ()
    pipelines: tuple[str, ...] = ()
    expires_ns: int | None = None


class RevokeKeys(Act, frozen=True):
    """Put keys out of force at once, each by its id or its name."""

    keys: tuple[str, ...]


class NoteUse(Act, frozen=True):
    """When keys and sessions (by id) were used last; asked now and then for many. No deed."""

    uses: dict[str, int]
    sessions: dict[str, int] = {}


class MakeLink(Act, frozen=True):
    """Make a link with which whoever asks logs a browser in, once and soon; answered by `LinkMade`."""


class OpenSession(Act, frozen=True):
    """Log a browser in; answered by `SessionOpened`. With `link`, as whoever asked for that link."""

    hash: bytes
    """Of its cookie."""
    how: str
    link: str = ""
    principal: str = ""
    roles: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    pipelines: tuple[str, ...] = ()
    key: str = ""
    trust: str = ""
    address: str = ""


class EndSessions(Act, frozen=True):
    """Log browsers out at once, each by the id of its session."""

    sessions: tuple[str, ...]


class NoteAccess(Act, frozen=True):
    """Write into the audit who came, was denied, or took bytes away; asked now and then for many."""

    accesses: tuple[Access, ...]


class TakeUpload(Act, frozen=True):
    """Take a file in that was sent: its bytes lie, whole, in the folder of uploads (`intake.uploaded.staged_name`)."""

    file: str
    source: str
    relative: bytes
    size: int
    stored: int = -1
    """Bytes that lie there, where they are encrypted."""
    tags: tuple[str, ...] = ()
    """Beside those that its source gives."""


class OpenUpload(Act, frozen=True):
    """Remember an upload that comes in parts."""

    file: str
    source: str
    relative: bytes
    tags: tuple[str, ...] = ()
    key: str = ""
    length: int | None = None
    digest: str = ""


class NoteOffset(Act, frozen=True):
    """Note that the bytes of an upload up to `offset` are synced; the offset was `before`."""

    file: str
    before: int
    offset: int
    length: int | None = None


class EndUpload(Act, frozen=True):
    """Note that an upload was taken, `length` bytes in all, or remove it. `lost` says why its bytes are gone."""

    file: str
    taken: bool = False
    length: int | None = None
    lost: str = ""


class ApplyRetention(Act, frozen=True):
    """Apply `retention:` now. The first request begins a pass, those with `begin` False ask how far it is."""

    older_than: float | None = None
    """Seconds; takes the place of `content` and `ledger`."""
    begin: bool = True


class EraseFiles(Act, frozen=True):
    """Remove all that is kept and known of these files; what is at work, or was made into something known, stays."""

    files: tuple[str, ...]


class MoveContent(Act, frozen=True):
    """Contents are encrypted anew: (old reference, new one) of each, whose bytes are there and durable.

    Answered False for one that somebody has in hand now, or that is given up. `done` of `of` are moved so far.
    """

    moves: tuple[tuple[str, str], ...]
    server: int
    """Pid of the server that ran when these bytes were written; another one may take them for left over."""
    done: int = 0
    of: int = 0
    over: bool = False
    """Nothing more comes."""


class Reword(Act, frozen=True):
    """Texts of files and runs numbered so are encrypted anew: what stands in the place of each."""

    words: dict[str, str]
    after: int
    last: int
    server: int


class Look(msgspec.Struct, frozen=True, tag_field="act", tag=True):
    """Say what is going on; nothing is done. Only a running server can be asked."""


class HandOut(msgspec.Struct, frozen=True, tag_field="act", tag=True):
    """Have encrypted bytes opened; answered by `HandedOut`. Only the web child asks: for a download, or to go on."""

    content: str = ""
    """The reference of a content."""
    upload: str = ""
    """Or the id of an upload in parts."""


class Measure(msgspec.Struct, frozen=True, tag_field="act", tag=True):
    """Say what was counted and how all parts stand; nothing is done. Only what answers HTTP asks."""


Request = (
    RedriveRuns
    | ReleaseRuns
    | ReadmitFiles
    | DiscardRuns
    | DiscardFiles
    | CancelRuns
    | ReplayRuns
    | PausePipelines
    | ResumePipelines
    | ResolveCauses
    | MendFile
    | TakePaths
    | CreateKey
    | RevokeKeys
    | NoteUse
    | MakeLink
    | OpenSession
    | EndSessions
    | NoteAccess
    | TakeUpload
    | OpenUpload
    | NoteOffset
    | EndUpload
    | ApplyRetention
    | EraseFiles
    | MoveContent
    | Reword
    | Reload
    | Drain
)
"""What is done, by a server or without one."""
