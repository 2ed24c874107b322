"""Children in a worker: the files that a run's steps emit, staged until the server takes them in.

Each child's bytes are in `<data>/children` before its run is answered, synced with the others of its batch, named by
its id and the run's fence. Nobody sees them there: they become files only with the commit that stages their run
(`Ledger.stage`), which a stale worker's result does not reach. Ids follow from the run and from what it calls the
child, so that every attempt makes the same ones and each child is taken once.

Files come in two ways: a step hands over one that it made in its work folder (`unpack`), or its records or file went
through a hidden sink of the step's own (`emit`), whose staging folder is below `<data>/children`.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence

from filemill.durable import Durable
from filemill.encryption.age import Sealer
from filemill.model.errors import PermanentError, SystemFault, plainly
from filemill.model.files import Identity
from filemill.model.runs import MAX_DEPTH, RunOrder, StagedChild, StagedOutput

HIDDEN = "emit:"
"""How the name of a hidden sink begins; no sink of a configuration can be called so."""
_ALPHABET = b"abcdefghijklmnopqrstuvwxyz234567"
_LENGTH = 13


def children_folder(data: str) -> bytes:
    """Where children are staged: `<data>/children`."""
    return os.path.join(os.path.abspath(os.fsencode(data)), b"children")


def hidden_sink(pipeline: str, step: str) -> str:
    """The name of the sink behind a step that emits what it is given."""
    return f"{HIDDEN}{pipeline}/{step}"


def child_id(run: str, key: bytes) -> str:
    """H(run, key) as ids are written: 13 letters of base32."""
    digest = hashlib.sha256(b"child\0" + run.encode() + b"\0" + key).digest()
    return bytes(_ALPHABET[byte & 31] for byte in digest[:_LENGTH]).decode("ascii")


class Children:
    """The children of one attempt's runs."""

    def __init__(
        self,
        folder: bytes,
        durable: Durable,
        orders: Sequence[RunOrder],
        sealer: Sealer | None = None,
    ) -> None:
        self._folder = folder
        self._durable = durable
        self._orders = orders
        self._sealer = sealer
        self._staged: dict[str, list[tuple[str, bytes, int, bytes, tuple[str, ...]]]] = {}
        """By run: id, path, size where it is not the file's own, path below the source, tags."""

    def add(self, at: int, path: bytes, key: bytes, name: bytes, tags: Sequence[str]) -> None:
        """Take over the file at `path` (on the data directory's file system) as a child called `name`.

        Raises:
            PermanentError: the file is a child of a child of a child... already.
            SystemFault: the disk is full or failing.
        """
        order = self._orders[at]
        check_depth(order)
        file = child_id(order.run, key)
        staged = b"%b/%b.%d" % (self._folder, file.encode(), order.fence)
        size = -1
        with _faults():
            self._durable.make_directory(self._folder, 0o700)
            if self._sealer is not None:
                size = self._sealed(self._sealer, path, staged)
                path = staged
            try:
                if path != staged:
                    self._durable.rename(path, staged)
            except FileExistsError:
                # Left by an interrupted try of the same attempt; nobody knows of it.
                self._durable.unlink(staged)
                self._durable.rename(path, staged)
        self._note(order, file, (staged, size), name, tags)

    def take(
        self, outputs: dict[str, list[StagedOutput]], tags: Mapping[str, tuple[str, ...]]
    ) -> None:
        """Make children of what hidden sinks have staged (and synced), and leave the other outputs alone.

        `tags` are those that each hidden sink's step gives.
        """
        orders = {order.run: order for order in self._orders}
        for run, staged in outputs.items():
            for output in staged:
                if output.sink.startswith(HIDDEN):
                    file = child_id(run, output.publication.encode())
                    staged_at = (output.staged, output.plain)
                    self._note(orders[run], file, staged_at, output.name, tags[output.sink])
            outputs[run] = [each for each in staged if not each.sink.startswith(HIDDEN)]

    def drop(self, run: str) -> None:
        """Forget one run's children."""
        for _, staged, *_ in self._staged.pop(run, []):
            with contextlib.suppress(OSError):  # what stays is swept at the next start
                self._durable.unlink(staged)

    def abort(self) -> None:
        """Remove everything staged. Never raises."""
        for run in list(self._staged):
            self.drop(run)

    def finish(self) -> dict[str, tuple[StagedChild, ...]]:
        """Sync all of them as one group; each run's children, in the order in which they were emitted.

        Raises:
            SystemFault: the disk is full or a sync failed: none of them may be counted.
        """
        paths = [staged for some in self._staged.values() for _, staged, *_ in some]
        own = [path for path in paths if os.path.dirname(path) == self._folder]
        with _faults():
            if own:
                self._durable.sync_group(own, [self._folder])
            return {
                run: tuple(
                    StagedChild(file, staged, relative, _identity(staged, size), tags)
                    for file, staged, size, relative, tags in some
                )
                for run, some in self._staged.items()
            }

    @staticmethod
    def _sealed(sealer: Sealer, path: bytes, staged: bytes) -> int:
        """Encrypt a step's file into a staged one; answers how many bytes it has."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        with open(path, "rb") as source, open(os.open(staged, flags, 0o600), "wb") as out:
            size = sealer.content(source, out)
        os.unlink(path)  # noqa: TID251 -- scratch: what has to last is staged
        return size

    def _note(
        self,
        order: RunOrder,
        file: str,
        staged: tuple[bytes, int],
        name: bytes,
        tags: Sequence[str],
    ) -> None:
        relative = order.file.relative + b"/" + name
        self._staged.setdefault(order.run, []).append((file, *staged, relative, tuple(tags)))


def check_depth(order: RunOrder) -> None:
    """Refuse to emit from a file that is too deep already.

    Raises:
        PermanentError: it is `MAX_DEPTH` deep.
    """
    if order.file.depth >= MAX_DEPTH:
        raise PermanentError(
            f"this file was emitted through {order.file.depth} others: children end at depth {MAX_DEPTH}",
            help="its pipeline, or one behind it, takes what it emits: give children a tag and exclude it in `when:`",
        )


@contextlib.contextmanager
def _faults() -> Iterator[None]:
    """Whatever goes wrong with the children's folder is the machine's trouble, not the file's."""
    try:
        yield
    except OSError as error:
        raise SystemFault(
            f"staging emitted files in the data directory failed: {plainly(error)}",
            help="free some space, or look at its disk; work goes on by itself, and no attempt is spent meanwhile",
        ) from error


def _identity(path: bytes, size: int) -> Identity:
    status = os.lstat(path)
    size = status.st_size if size < 0 else size
    return Identity(status.st_dev, status.st_ino, size, status.st_mtime_ns)
