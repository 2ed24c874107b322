"""Encryption at rest as a server and the commands see it: which keys, where the identity is, what stands ready.

A server notes in `<data>/encryption.json` for whom it encrypts and where the identity is (never the identity itself),
so that commands that have only the data directory can read what is in it and write as the server does.
"""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Iterator

import msgspec

from filemill.durable import Durable
from filemill.encryption.age import Opener, Sealer, key_in, key_of
from filemill.encryption.texts import shown
from filemill.engine.plaintext import check_pair
from filemill.model.errors import FilemillError, SystemFault, UsageError
from filemill.model.plan import EncryptionPlan, Plan

_NOTE = "encryption.json"
_MOST = 64 << 10
_MEMORY = ("tmpfs", "ramfs")


def prepare(encryption: EncryptionPlan) -> None:
    """Make the workspace, and prove that it is in memory and nobody else's.

    Raises:
        UsageError: it is not.
    """
    path = encryption.workspace
    try:
        os.makedirs(path, 0o700, exist_ok=True)
        status = os.lstat(path)
    except OSError as error:
        raise UsageError(
            f"the workspace {path} cannot be made: {error.strerror}",
            help="`encryption: workspace:` names a folder in a tmpfs of your own",
        ) from error
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        raise UsageError(
            f"the workspace {path} belongs to somebody else",
            help="remove it, or let `encryption: workspace:` name another folder",
        )
    os.chmod(path, 0o700)
    if (kind := file_system(path)) not in _MEMORY:
        raise UsageError(
            f"the workspace {path} is on {kind}: plain bytes would come to a disk",
            help="let `encryption: workspace:` name a folder in a tmpfs, such as /dev/shm",
        )


def file_system(path: str) -> str:
    """The type of the file system that holds this folder, as the kernel calls it."""
    device = os.stat(path).st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as mounts:
        for line in mounts:
            about, _, kind = line.partition(" - ")
            if about.split(" ")[2] == wanted:
                return kind.split(" ")[0]
    return "an unknown file system"


def identity_of(encryption: EncryptionPlan) -> str:
    """The text of the identity; nobody shows it.

    Raises:
        UsageError: it is not there, or others may read it.
    """
    if encryption.secret:
        value = os.environ.get(encryption.secret, "")
        path = os.environ.get(f"{encryption.secret}_FILE", "")
        if value or not path:
            if not value:
                raise UsageError(
                    f"the identity (secret `{encryption.secret}`) is not set",
                    help=f"set {encryption.secret}, or {encryption.secret}_FILE to a file that holds it",
                )
            return value
        return _read(path)
    _check_mode(encryption.identity)
    return _read(encryption.identity)


def _check_mode(path: str) -> None:
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return  # reading says why
    if mode & 0o077:
        raise UsageError(
            f"others may read the identity {path} (mode {stat.S_IMODE(mode):04o})",
            help=f"chmod 600 {path}",
        )


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii") as file:
            return file.read(_MOST)
    except OSError as error:
        raise UsageError(
            f"the identity {path} cannot be read: {error.strerror}",
            help="`filemill encryption init` makes a new one; what an old one encrypted needs that one",
        ) from error
    except UnicodeDecodeError:
        raise UsageError(f"{path} is no identity file") from None


def note(data: str, encryption: EncryptionPlan | None, durable: Durable) -> None:
    """Leave word in the data directory of how it is encrypted from now on; what was noted stays when it is not.

    Raises:
        OSError: it cannot be written.
    """
    if encryption is None:
        return
    path = os.fsencode(os.path.join(data, _NOTE))
    packed = msgspec.json.format(msgspec.json.encode(encryption), indent=2)
    descriptor = os.open(
        path + b".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600
    )
    with open(descriptor, "wb") as out:
        out.write(packed)
        out.flush()
        durable.sync_file(out.fileno())
    durable.replace(path + b".new", path)
    durable.sync_directory(os.fsencode(data))


def must_be_plain(data: str) -> None:
    """Refuse to go on plain with what was encrypted so far: nobody could read it, and what comes would be plain.

    Raises:
        UsageError: this data directory is encrypted.
    """
    if noted(data) is not None:
        raise UsageError(
            f"the data directory {data} is encrypted, and the configuration has no `encryption:`",
            help="put `encryption:` back; to go on without it, begin with an empty data directory",
        )


def noted(data: str) -> EncryptionPlan | None:
    """How the last server of this data directory encrypted it; None: no server ever did.

    Raises:
        SystemFault: the note cannot be read.
    """
    try:
        with open(os.path.join(data, _NOTE), "rb") as file:
            return msgspec.json.decode(file.read(_MOST), type=EncryptionPlan)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError) as error:
        raise SystemFault(f"{data}/{_NOTE} cannot be read: {error}") from error


def sealer_of(data: str) -> Sealer | None:
    """What seals as the server of this data directory does; None: nothing is encrypted.

    Raises:
        UsageError: the package is not installed.
        SystemFault: the note cannot be read.
    """
    encryption = noted(data)
    return None if encryption is None else Sealer(encryption.recipients)


def opener_of(data: str) -> Opener:
    """What opens the content of this data directory.

    Raises:
        UsageError: there is no identity at hand, and what to do.
        SystemFault: the note cannot be read.
    """
    encryption = noted(data)
    if encryption is None:
        raise UsageError("nothing in this data directory says how it is encrypted")
    return Opener(identity_of(encryption))


def scratch_of(data: str) -> str | None:
    """Where a command puts plain bytes for a moment: in memory where content is encrypted; None: where it likes.

    Raises:
        UsageError: there is no such place.
        SystemFault: the note cannot be read.
    """
    encryption = noted(data)
    if encryption is None:
        return None
    prepare(encryption)
    return encryption.workspace


@contextlib.contextmanager
def plain_file(data: str, path: bytes) -> Iterator[bytes]:
    """The path of the same bytes, plain; of what is not encrypted its own. It is gone when the block ends.

    Raises:
        UsageError: there is no identity at hand.
        WrongKey: it is encrypted for others.
        Corrupt: it is not what was encrypted.
        OSError: it cannot be read, or memory is full.
    """
    content = os.path.join(os.fsencode(os.path.abspath(data)), b"content/")
    key = key_in(os.fsdecode(path)) if path.startswith(content) else ""
    if not key:
        yield path
        return
    opener = opener_of(data)
    with tempfile.TemporaryDirectory(prefix="filemill-plain-", dir=scratch_of(data)) as folder:
        target = os.path.join(os.fsencode(folder), b"plain")
        with open(path, "rb") as source, open(target, "wb") as out:
            opener.stream(source, out, ours=is_ours(data, key))
        yield target


def is_ours(data: str, key: str) -> bool:
    """Say whether this is the key that content is encrypted with now, which the identity at hand has to open."""
    encryption = noted(data)
    return encryption is not None and key_of(encryption.recipients) == key


class Seen(msgspec.Struct, frozen=True):
    """How it stands with encryption."""

    on: bool = False
    recipients: tuple[str, ...] = ()
    identity: str = ""
    """Where the identity is, never the identity."""
    trouble: str = ""
    """Why content cannot be read, or encrypted, here and now."""
    help: str = ""
    current: int = 0
    """Contents that are encrypted for these recipients."""
    other: int = 0
    """Contents that are encrypted for others: former recipients, whose identity is needed yet."""
    plain: int = 0
    """Contents from before."""


def look(plan: Plan) -> Seen:
    """How it stands with the encryption of a plan's data directory. Raises nothing for what is missing.

    Raises:
        OSError: the data directory cannot be read.
    """
    encryption = plan.encryption
    if encryption is None:
        return Seen()
    key, counts = key_of(encryption.recipients), {"current": 0, "other": 0, "plain": 0}
    for name in _contents(plan.data):
        own = key_in(name)
        counts["plain" if not own else "current" if own == key else "other"] += 1
    trouble = remedy = ""
    try:
        Sealer(encryption.recipients)
        check_pair(Opener(identity_of(encryption)), encryption.recipients)
        prepare(encryption)
    except UsageError as error:
        trouble, remedy = error.message, error.help
    where = encryption.identity or f"secret {encryption.secret}"
    return Seen(True, encryption.recipients, where, trouble, remedy, **counts)


def _contents(data: str) -> Iterator[str]:
    with contextlib.suppress(FileNotFoundError), os.scandir(os.path.join(data, "content")) as all_:
        for bucket in all_:
            if bucket.is_dir(follow_symlinks=False):
                yield from (name for name in os.listdir(bucket.path) if name[0] != ".")


def in_general(text: str) -> str:
    """The text, or general words where it is sealed."""
    return shown(text, None)


class Words:
    """Shows texts of the ledger: sealed ones opened where the identity is at hand, which is looked for once."""

    def __init__(self, data: str) -> None:
        self._data = data
        self._opener: Opener | None = None
        self._looked = False

    def __call__(self, text: str) -> str:
        """The text for a person."""
        if not text.startswith("sealed:"):
            return text
        if not self._looked:
            self._looked = True
            try:
                self._opener = opener_of(self._data)
            except FilemillError:
                self._opener = None  # general words stand in its place
        return shown(text, self._opener)
