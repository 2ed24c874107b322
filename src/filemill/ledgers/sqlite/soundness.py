"""Refusing to start on a ledger that is not what was written, where that can be told without reading all of it.

Reading the whole file (`PRAGMA quick_check`) takes 11 s with a million files (1 GB, in memory, on a busy machine), too
long for every start. So at a start:

- the ledger is gone, and content is there: refused. A new ledger would know of none of it.
- the log holds commits behind the place where it stops being readable: refused. SQLite takes the first frame whose
  checksum is wrong for the end of the log, as a power cut leaves it. But a power cut can only leave *one* commit
  half written, for each is synced before the next; more of them behind that place were there, and are damaged.
- a server met damage (`suspect` left a note): the whole file is read, once, and refused if it is damaged.

`filemill verify` reads all of it at any time.
"""

from __future__ import annotations

import contextlib
import os
import struct

import apsw

from filemill.model.errors import LedgerDamaged, SystemFault

RESTORE = (
    "do not delete it, it is what knows which files are done. Look at the disk's health (dmesg), then: "
    "filemill restore BACKUP --force (what is there is moved aside); without a backup, docs/operations.md says "
    "what can be saved"
)
_HEADER = struct.Struct(">8I")
_FRAME = struct.Struct(">4I")
_MAGIC = (0x377F0682, 0x377F0683)
_COMMITS = 2
"""So many commits behind the end of the log are no trace of a power cut."""


def refuse_orphans(path: str) -> None:
    """Raise SystemFault, with help, when there is content beside the place of a ledger, and no ledger."""
    with contextlib.suppress(FileNotFoundError):
        if os.path.getsize(path):
            return
    content = os.path.join(os.path.dirname(os.path.abspath(path)), "content")
    with contextlib.suppress(FileNotFoundError):
        for bucket in os.scandir(content):
            if bucket.is_dir(follow_symlinks=False) and os.listdir(bucket.path):
                raise SystemFault(
                    f"there is content in {content}, but its ledger is gone",
                    help="put the ledger back (filemill restore BACKUP --force moves what is there aside); or, to "
                    "begin anew, move `content` away and drop its files again: they are the originals",
                )


def frames_in(path: str) -> tuple[int, ...]:
    """Of the log beside a ledger: the number (from 1) of each frame that ends a commit of its current round.

    Raises:
        LedgerDamaged: the log's beginning was written over.
    """
    try:
        log = open(f"{path}-wal", "rb", buffering=0)  # noqa: SIM115 -- closed below; its absence is an answer
    except FileNotFoundError:
        return ()
    with log:
        size = os.fstat(log.fileno()).st_size
        head = log.read(_HEADER.size)
        if len(head) < _HEADER.size or not any(head):
            return ()
        magic, _, page, _, *salts, _, _ = _HEADER.unpack(head)
        if magic not in _MAGIC or page < 512 or page > 65_536:
            raise LedgerDamaged(f"the ledger's log {path}-wal was written over", help=RESTORE)
        ends: list[int] = []
        length = page + 24
        for number in range(1, (size - _HEADER.size) // length + 1):
            frame = os.pread(log.fileno(), _FRAME.size, _HEADER.size + (number - 1) * length)
            _, commit, *mine = _FRAME.unpack(frame)
            if mine == salts and commit:
                ends.append(number)
    return tuple(ends)


def refuse_damage(db: apsw.Connection, path: str, ends: tuple[int, ...]) -> None:
    """Raise LedgerDamaged, with help, where damage shows; `ends` are the `frames_in` before it was opened."""
    if ends:
        db.execute("SELECT count(*) FROM sqlite_schema").fetchall()
        frames, _ = db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_NOOP)
        lost = sum(end > frames for end in ends)
        if lost >= _COMMITS:
            raise LedgerDamaged(
                f"the ledger's log {path}-wal is damaged: {lost} commits in it cannot be read",
                help=RESTORE,
            )
    note = f"{path}.suspect"
    if not os.path.exists(note):
        return
    found = str(db.execute("PRAGMA quick_check(1)").get)
    if found != "ok":
        raise LedgerDamaged(f"the ledger {path} is damaged: {found}", help=RESTORE)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(note)  # noqa: TID251 -- if it comes back, the file is read once more


def suspect(path: str) -> None:
    """Leave a note that the ledger at `path` is to be read whole before it is used again."""
    if path:
        with contextlib.suppress(OSError):  # the next start meets the damage as this one did
            os.close(os.open(f"{path}.suspect", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
