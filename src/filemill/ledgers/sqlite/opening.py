"""Opening a ledger file: what is refused, how connections are set, and migrations."""

from __future__ import annotations

import ctypes
import os
import re
from importlib import resources

import apsw

from filemill.durable import Durable
from filemill.ledgers.sqlite.auditing import teach
from filemill.ledgers.sqlite.soundness import (
    RESTORE,
    frames_in,
    refuse_damage,
    refuse_orphans,
)
from filemill.model.errors import NotFound, SystemFault, UsageError

MEMORY = ":memory:"
DISK_FULL = (
    "free some space on the data directory's disk; nothing was lost and work goes on by itself"
)
_LEAST_ROOM = 256 << 10
_BUSY_MS = 5_000
_CACHE_KIB = 32_768
_LOG_BYTES = 64 << 20
"""The log's file is cut to this length when it begins anew."""
_NETWORK = {
    0x6969: "NFS",
    0x517B: "SMB",
    0xFF534D42: "CIFS",
    0xFE534D42: "SMB2",
    0x01021997: "9P",
    0x00C36400: "Ceph",
    0x0BD00BD0: "Lustre",
    0x5346414F: "AFS",
    0x73757245: "Coda",
    0x47504653: "GPFS",
    0x7461636F: "OCFS2",
}
"""Magic numbers of statfs(2) whose file systems do not share memory or locks between machines as a
write-ahead log needs it (sqlite.org/wal.html, "All processes using a database must be on the same host")."""
_FILE = re.compile(r"(\d{4})_\w+\.sql")


class LedgerDiskFull(SystemFault):
    """The ledger cannot be opened because its disk is full."""


def library_version() -> tuple[str, str]:
    """Versions of SQLite and of apsw, which carries it along."""
    return apsw.sqlite_lib_version(), apsw.apsw_version()


def refuse_network_filesystem(folder: str, magic: int | None = None) -> None:
    """Raise UsageError, with help, when `folder` is on a network file system."""
    if magic is None:
        magic = _filesystem_magic(folder)
    if magic in _NETWORK:
        raise UsageError(
            f"the data directory {folder} is on a network file system ({_NETWORK[magic]})",
            help="the ledger needs a local disk: set `data:` or FILEMILL_DATA_DIR to a local folder; "
            "sources and sinks may stay where they are",
        )


def open_writer(path: str, durable: Durable, at_ns: int) -> apsw.Connection:
    """The one writing connection, its file made (0600) and migrated.

    Raises:
        UsageError: a network file system, or a ledger of a newer version, with help.
        LedgerDiskFull: there is no room for its log.
        SystemFault: the file cannot be opened, or is no ledger, with help.
    """
    if path != MEMORY:
        folder = os.path.dirname(os.path.abspath(path))
        refuse_network_filesystem(folder)
        refuse_orphans(path)
        _create(path, folder, durable)
    try:
        log = frames_in(path) if path != MEMORY and durable.sync else ()
        db = apsw.Connection(path, statementcachesize=256)
        db.set_busy_timeout(_BUSY_MS)
        if path != MEMORY:
            # Whoever is refused leaves file and log as they are: what can be saved is in them.
            db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            db.pragma("journal_mode", "wal")
            refuse_damage(db, path, log)
            db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0)
        db.pragma("synchronous", "full" if durable.sync else "normal")
        db.pragma("foreign_keys", True)
        db.pragma("cache_size", -_CACHE_KIB)
        db.pragma("temp_store", "memory")
        db.wal_autocheckpoint(0)
        db.pragma("journal_size_limit", _LOG_BYTES)
        migrate(db, at_ns)
    except apsw.Error as error:
        if path != MEMORY and _is_full(folder):
            raise LedgerDiskFull(
                f"the disk of the ledger {path} is full", help=DISK_FULL
            ) from error
        raise SystemFault(f"the ledger {path} cannot be opened: {error}", help=RESTORE) from error
    return db


def _is_full(folder: str) -> bool:
    """Say whether next to nothing can be written in a folder: SQLite calls that an I/O error as often as not."""
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize < _LEAST_ROOM or (disk.f_files > 0 and disk.f_favail == 0)


def open_reader(path: str) -> apsw.Connection:
    """A read-only connection that works beside a server and without one, and never checkpoints.

    Raises:
        NotFound: there is no ledger yet, with help.
        UsageError: it belongs to another version of filemill, with help.
        SystemFault: it cannot be read.
    """
    if not os.path.exists(path):
        raise NotFound(
            f"there is no ledger at {path}",
            help="nothing has run here yet: start with `filemill run`, or name the right data directory "
            "with `data:` or FILEMILL_DATA_DIR",
        )
    try:
        db = apsw.Connection(path, flags=apsw.SQLITE_OPEN_READONLY, statementcachesize=64)
        db.set_busy_timeout(_BUSY_MS)
        db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        db.wal_autocheckpoint(0)
        db.pragma("query_only", True)
        db.pragma("cache_size", -_CACHE_KIB)
        db.pragma("temp_store", "memory")
        version = _version(db)
    except apsw.Error as error:
        help_ = RESTORE if isinstance(error, (apsw.CorruptError, apsw.NotADBError)) else ""
        raise SystemFault(f"the ledger {path} cannot be read: {error}", help=help_) from error
    newest = max(number for number, _ in migrations())
    if version != newest:
        db.close()
        refuse_newer(version, newest)
        raise UsageError(
            f"the ledger {path} has version {version}, this filemill reads version {newest}",
            help="start `filemill run` once: it brings the ledger up to date",
        )
    return db


def migrations() -> list[tuple[int, str]]:
    """(number, SQL) of every migration, in order."""
    folder = resources.files(__package__).joinpath("migrations")
    found = [(_FILE.fullmatch(entry.name), entry) for entry in folder.iterdir()]
    return sorted((int(m[1]), entry.read_text("utf-8")) for m, entry in found if m is not None)


def migrate(
    db: apsw.Connection, at_ns: int, steps: list[tuple[int, str]] | None = None
) -> list[int]:
    """Apply the migrations that are missing, each in one transaction with its row in `version`.

    Answers with the numbers applied.

    Raises:
        UsageError: the ledger was made by a newer version.
    """
    steps = migrations() if steps is None else steps
    applied: list[int] = []
    teach(db)
    refuse_newer(_version(db), max(number for number, _ in steps))
    for number, text in steps:
        db.execute("BEGIN IMMEDIATE")
        try:
            if number > _version(db):
                db.execute(
                    "CREATE TABLE IF NOT EXISTS version "
                    "(number INTEGER PRIMARY KEY, applied_ns INTEGER NOT NULL) STRICT"
                )
                db.execute(text)
                db.execute("INSERT INTO version VALUES (?, ?)", (number, at_ns))
                applied.append(number)
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise
    return applied


def refuse_newer(version: int, newest: int) -> None:
    """Raise UsageError, with help, when a ledger's version is above the newest known."""
    if version > newest:
        raise UsageError(
            f"the ledger has version {version}, this filemill knows versions up to {newest}",
            help="it was written by a newer filemill: upgrade with `pip install -U filemill`",
        )


def _version(db: apsw.Connection) -> int:
    if not db.table_exists("main", "version"):
        return 0
    return int(db.execute("SELECT coalesce(max(number), 0) FROM version").get)


def _create(path: str, folder: str, durable: Durable) -> None:
    """Make the file with mode 0600, its name durable, before SQLite opens it with the umask's."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return
    except OSError as error:
        raise SystemFault(
            f"the ledger {path} cannot be made: {error.strerror}",
            help="the data directory must exist and be writable",
        ) from error
    os.close(descriptor)
    durable.sync_directory(os.fsencode(folder))


def _filesystem_magic(folder: str) -> int:
    """`f_type` of statfs(2), the first word of its answer; 0 where there is no such call."""
    libc = ctypes.CDLL(None, use_errno=True)
    answer = ctypes.create_string_buffer(512)
    if not hasattr(libc, "statfs") or libc.statfs(os.fsencode(folder), answer) != 0:
        return 0
    return ctypes.c_ulong.from_buffer(answer).value & 0xFFFFFFFF
