"""Backups: the ledger at one moment, the content it names, and a manifest with their digests. Beside a server or not.

Ledger first, then content: content is immutable and goes only after the ledger said so, so whatever the snapshot names
is still there, or was given up since; that is noted as not in the backup. The manifest comes last: a folder without one
is no backup. Bytes are linked where the backup lies on the same file system, else copied.

    BACKUP/ledger.db            BACKUP/contents.jsonl   one line each: reference, size, sha256
    BACKUP/content/...          BACKUP/manifest.json    digests of these two, and what is told of them
    BACKUP/revision.yaml        the configuration that ran last
    BACKUP/pepper               what keys are hashed with, if there are any: a backup is as secret as the data directory
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Iterator

import msgspec

from filemill.durable import Durable
from filemill.encryption.age import key_in
from filemill.identity import pepper
from filemill.ledgers.sqlite.health import Health, Stored, snapshot
from filemill.ledgers.sqlite.lock import references_stay
from filemill.model.errors import SystemFault, UsageError
from filemill.ports.clock import Clock
from filemill.service.collecting import ledger_of, must_exist

SCHEMA = "filemill.backup/1"
_GROUP = 500
_PIECE = 1 << 20
Told = Callable[[str, str, int, int], None]
"""Hears what is being done (`copying`, `page`), how far it is, and how much there is (0: nobody knows)."""


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of `contents.jsonl`."""

    reference: str
    size: int = 0
    sha256: str = ""
    missing: bool = False
    """It was given up after the snapshot was taken."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """`manifest.json`."""

    schema: str
    filemill: str
    made_ns: int
    data: str
    revision: int
    ledger_sha256: str
    contents_sha256: str
    files: int
    bytes: int
    missing: int
    live: int
    """Files that were not at an end: a server on the restored ledger goes on with them."""
    pepper_sha256: str = ""
    """Empty: it had no pepper."""


def _nobody(_what: str, _unit: str, _done: int, _total: int) -> None:
    pass


def make(
    data: str,
    target: str,
    *,
    durable: Durable,
    clock: Clock,
    version: str,
    copies: bool = False,
    told: Told = _nobody,
) -> Manifest:
    """Make a backup of a data directory in the new or empty folder `target`. `copies`: never links.

    Raises:
        UsageError: there is no ledger, or `target` is not empty.
        Busy: content is being encrypted anew, so that what a snapshot names would go.
        SystemFault: something cannot be read or written; what was made so far has no manifest.
    """
    must_exist(data)
    if os.path.isdir(target) and os.listdir(target):
        raise UsageError(f"{target} is not empty", help="name a new folder for each backup")
    if os.path.lexists(target) and not os.path.isdir(target):
        raise UsageError(f"{target} is no folder", help="a backup is a folder")
    if os.path.realpath(target).startswith(os.path.realpath(data) + "/"):
        raise UsageError(
            "a backup inside the data directory goes with it", help="name another place"
        )
    with references_stay(data):
        return _make(data, target, durable, clock.wall_ns(), version, copies=copies, told=told)


def _make(
    data: str,
    target: str,
    durable: Durable,
    made_ns: int,
    version: str,
    *,
    copies: bool,
    told: Told,
) -> Manifest:
    try:
        durable.make_directory(os.fsencode(target), 0o700)
        ledger = ledger_of(target)
        snapshot(
            ledger_of(data),
            ledger,
            durable,
            lambda done, of: told("copying the ledger", "page", done, of),
        )
        with Health.open(ledger) as health:
            return _fill(
                health,
                data,
                target,
                durable,
                made_ns=made_ns,
                version=version,
                copies=copies,
                told=told,
            )
    except OSError as error:
        raise SystemFault(
            f"the backup in {target} cannot be finished: {error}",
            help="remove that folder, make room, and begin again",
        ) from error


def _fill(
    health: Health,
    data: str,
    target: str,
    durable: Durable,
    *,
    made_ns: int,
    version: str,
    copies: bool,
    told: Told,
) -> Manifest:
    count, _ = health.stored_count()
    number, _, text = health.revision()
    taker = Taker(data, target, durable, copies=copies)
    total = missing = size = 0
    listing = os.path.join(target, "contents.jsonl")
    encode = msgspec.json.Encoder().encode
    with open(listing, "wb") as out:
        for stored in health.stored():
            entry = taker.take(stored)
            if entry is None:
                continue
            out.write(encode(entry) + b"\n")
            total += not entry.missing
            missing += entry.missing
            size += entry.size
            told("backing up", "file", total + missing, count)
        taker.sync()
        out.flush()
        durable.sync_file(out.fileno())
    _write(os.path.join(target, "revision.yaml"), text.encode(), durable)
    secret = pepper.read(data)
    if secret is not None:
        _write(os.path.join(target, pepper.NAME), secret, durable)
    manifest = Manifest(
        schema=SCHEMA,
        filemill=version,
        made_ns=made_ns,
        data=data,
        revision=number,
        ledger_sha256=digest_of(ledger_of(target)),
        contents_sha256=digest_of(listing),
        files=total,
        bytes=size,
        missing=missing,
        live=health.live(),
        pepper_sha256=hashlib.sha256(secret).hexdigest() if secret is not None else "",
    )
    _write(os.path.join(target, "manifest.json"), msgspec.json.format(encode(manifest)), durable)
    durable.sync_directory(os.fsencode(target))
    return manifest


class Taker:
    """Takes bytes into a backup (or out of one), by link or by copy."""

    def __init__(self, source: str, target: str, durable: Durable, *, copies: bool) -> None:
        self._source = os.path.join(os.fsencode(source), b"content")
        self._target = os.path.join(os.fsencode(target), b"content")
        self._durable = durable
        self._links = not copies
        self._made: set[bytes] = set()
        self._fresh: list[bytes] = []
        durable.make_directory(self._target, 0o700)

    def take(self, stored: Stored) -> Entry | None:
        """The line about these bytes; None for a claim that is not acknowledged, which is no file yet."""
        if stored.state == "claiming" and not stored.staged:
            return None
        path = os.path.join(self._target, stored.reference.encode())
        for source in (os.path.join(self._source, stored.reference.encode()), stored.staged):
            if source and self.put(source, path):
                size = os.stat(path).st_size
                # The digest is of what lies there: of what is encrypted the ledger knows another.
                known = "" if key_in(stored.reference) else stored.digest
                return Entry(stored.reference, size, known or digest_of(path))
        return Entry(stored.reference, missing=True)

    def put(self, source: bytes, path: bytes) -> bool:
        """Link or copy; False when `source` is gone."""
        folder = os.path.dirname(path)
        if folder not in self._made:
            self._durable.make_directory(folder, 0o700)
            self._made.add(folder)
        if self._links:
            try:
                self._durable.link(source, path)
            except FileNotFoundError:
                return False
            except FileExistsError:
                return True
            except OSError:
                self._links = False  # another file system, or one without links
        if not self._links and not _copy(source, path):
            return False
        self._fresh.append(path)
        if len(self._fresh) >= _GROUP:
            self.sync()
        return True

    def sync(self) -> None:
        """Make what was taken durable."""
        if self._fresh:
            self._durable.sync_group(self._fresh, {os.path.dirname(path) for path in self._fresh})
            self._fresh = []


def read_manifest(backup: str) -> Manifest:
    """The manifest of a backup.

    Raises:
        UsageError: there is none, or it is none.
    """
    path = os.path.join(backup, "manifest.json")
    try:
        with open(path, "rb") as file:
            manifest = msgspec.json.decode(file.read(), type=Manifest)
    except FileNotFoundError as error:
        raise UsageError(
            f"{backup} is no backup: it has no manifest.json",
            help="a backup that was interrupted has none; take another one",
        ) from error
    except (msgspec.DecodeError, OSError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from error
    if manifest.schema != SCHEMA:
        raise UsageError(f"{path} is of another version: {manifest.schema}")
    return manifest


def entries(backup: str) -> Iterator[Entry]:
    """The lines of `contents.jsonl`."""
    decode = msgspec.json.Decoder(Entry).decode
    with open(os.path.join(backup, "contents.jsonl"), "rb") as lines:
        for line in lines:
            yield decode(line)


def problems_of(backup: str, manifest: Manifest, told: Told = _nobody) -> list[str]:
    """What of a backup is not as its manifest says; reads all of it. Empty: it is whole."""
    found: list[str] = []
    for name, digest in (
        ("ledger.db", manifest.ledger_sha256),
        ("contents.jsonl", manifest.contents_sha256),
    ):
        try:
            if digest_of(os.path.join(backup, name)) != digest:
                found.append(f"{name} is not what it was")
        except OSError as error:
            found.append(f"{name}: {error.strerror}")
    if found:
        return found
    found += _pepper_problems(backup, manifest)
    with Health.open_any(ledger_of(backup)) as health:
        found += health.problems()
    for done, entry in enumerate(entries(backup)):
        told("reading back", "file", done, manifest.files)
        if entry.missing:
            continue
        path = os.path.join(backup, "content", entry.reference)
        try:
            if digest_of(path) != entry.sha256:
                found.append(f"content/{entry.reference} is not what it was")
        except OSError as error:
            found.append(f"content/{entry.reference}: {error.strerror}")
    return found


def _pepper_problems(backup: str, manifest: Manifest) -> list[str]:
    if not manifest.pepper_sha256:
        return []
    try:
        same = digest_of(os.path.join(backup, pepper.NAME)) == manifest.pepper_sha256
    except OSError as error:
        return [f"{pepper.NAME}: {error.strerror}"]
    return [] if same else [f"{pepper.NAME} is not what it was"]


def digest_of(path: str | bytes) -> str:
    """sha256 of a file, in hex."""
    digest = hashlib.sha256()
    with open(path, "rb", buffering=0) as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()


def _copy(source: bytes, path: bytes) -> bool:
    try:
        descriptor = os.open(source, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with open(descriptor, "rb", buffering=0) as taken:
        mode = os.fstat(taken.fileno()).st_mode & 0o777
        with open(os.open(path, flags, mode), "wb", buffering=0) as out:
            while piece := taken.read(_PIECE):
                _pour(out, piece)
    return True


def _pour(out: io.FileIO, piece: bytes) -> None:
    view = memoryview(piece)
    while view:
        view = view[out.write(view) or 0 :]


def _write(path: str, data: bytes, durable: Durable) -> None:
    """A small file, whole or not at all."""
    part = path + ".part"
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as out:
        out.write(data)
        out.flush()
        durable.sync_file(out.fileno())
    durable.replace(os.fsencode(part), os.fsencode(path))
