"""The folder sink: outputs appear in a folder by one rename each, whole or not at all, exactly once.

Staged outputs wait in `<root>/.filemill/` (0700, same file system) under `<publication>.<fence>`; see `staging` for how
they get there. A consumer of the folder therefore sees nothing but the final rename. After a crash, three facts tell
what happened to a publication whose (device, inode) the ledger knows:

- the target has that inode: it is ours, published (where the device's number is another one, as it may be after a
  restart of the machine, the same inode with the same bytes is);
- the staged file is there: not published yet, so rename it now;
- neither: a consumer took it, or it is lost. Never written again blindly: UNVERIFIED.

A name that belongs to another inode is never replaced, unless the sink says `collision: replace`, or the output takes
the place of an earlier run's (`supersede`) and what stands there has exactly the bytes that the earlier run published.
A file where a folder of the name should be (`a.csv` and what came out of it, `a.csv/part.csv`) is a taken name as well.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import re
import stat
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, BinaryIO, ClassVar

import msgspec
from pydantic import BaseModel

from filemill.model.errors import UsageError
from filemill.model.runs import Mark, Publication, RunOrder, StagedOutput
from filemill.ports.examining import Finding
from filemill.ports.sink import Published, SinkContext, SinkSpec
from filemill.sinks import naming
from filemill.sinks.folder_options import FolderOptions
from filemill.sinks.mounting import Mount, nearest
from filemill.sinks.parts import Parts, hold
from filemill.sinks.standing import is_ours, may_be_replaced

if TYPE_CHECKING:
    from filemill.encryption.age import Sealer
    from filemill.ports.sink import Joining, SealedUp, Stager

_STAGED = re.compile(rb"[0-9a-f]{32}\.[0-9]+(?:\.(?:[0-9]+|spool))?\Z")
"""Outputs, parts of outputs, and what waits to become one."""
_HELD = b"/proc/self/fd/"
_PROBES = (b"probe-1", b"probe-2")
_PROBE_PIECES = 4
"""Of 64 KiB, that a probe writes: on a full disk a small write goes through now and then."""


class FolderSink:
    """One folder sink, both halves. See `ports.sink.Sink`."""

    spec: ClassVar[SinkSpec] = SinkSpec(
        name="folder",
        summary="Write outputs into a folder, each one by a single rename.",
        example='rejects: {folder: out/rejects, name: "{date}/{name}"}',
    )
    Options: ClassVar[type[BaseModel]] = FolderOptions

    def __init__(self, context: SinkContext) -> None:
        self._context = context
        options = context.options
        if not isinstance(options, FolderOptions):
            options = FolderOptions.model_validate(options)
        self._options: FolderOptions = options
        self._durable = context.durable
        self._root = os.path.abspath(os.fsencode(options.folder))
        self._folder = self._root + b"/" + naming.STAGING
        self._template = naming.NameTemplate(options.name, context.timezone)
        self._mount = Mount(self._root)
        self._parts = Parts()

    # -- the worker's half ------------------------------------------------------------------------

    def stager(
        self, orders: Sequence[RunOrder], headers: Mapping[int, tuple[str, ...]] | None = None
    ) -> Stager:
        """A stager for these runs; `headers` is what a `Restart` said of this sink, by order."""
        from filemill.sinks.staging import FolderStager  # noqa: PLC0415 -- loads Polars
        from filemill.sinks.staging_settings import Staging  # noqa: PLC0415 -- loads Polars

        options = self._options
        staging = Staging(
            sink=self._context.name,
            folder=self._folder,
            template=self._template,
            format=options.format,
            received=options.as_ == "received",
            write_empty=options.empty == "write",
            collision=options.collision,
            permissions=options.permissions,
            compress=options.compress,
            sealer=self._sealer,
            said=bool(options.encrypt),
            keeper=self._keeper,
            formulas=options.formulas == "keep",
        )
        return FolderStager(staging, self._durable, orders, headers or {}, self._parts)

    @functools.cached_property
    def _sealer(self) -> Sealer | None:
        return _sealer_for(self._options.encrypt or self._context.recipients)

    @functools.cached_property
    def _keeper(self) -> Sealer | None:
        return _sealer_for(self._context.keepers if self._options.encrypt else ())

    def seal_up(self, pour: Callable[[BinaryIO], None], target: bytes) -> SealedUp:
        """Encrypt what `pour` writes into a new file at `target`, for who reads this sink's outputs.

        Raises:
            OSError: the disk is full or failing.
        """
        from filemill.sinks.sealing import seal_poured  # noqa: PLC0415 -- big files only

        sealer = self._sealer
        assert sealer is not None, "only what is encrypted is sealed up"  # noqa: S101
        return seal_poured(sealer.stream, pour, target, self._durable)

    def rest(self) -> None:
        """Let go of the memory that is kept for the parts of big files."""
        self._parts.empty()

    def joins(self, read_as: str, *, more: bool) -> bool:
        """Say whether an output can be joined from parts that were encoded apart from one another."""
        if self._options.encrypt and not (self._context.keepers and self._parts.possible):
            return False  # parts would have to wait plain
        if self._options.as_ == "received":
            return True
        wanted = self._options.format or read_as
        return wanted in ("lines", "jsonl") or (wanted == "csv" and not more)

    # -- the server's half ------------------------------------------------------------------------

    def joining(self, fence: int, mark: Mark | None = None) -> Joining | None:
        """Join one run's parts; with a mark, go on from there. None: the marked bytes are not there any more."""
        from filemill.sinks.joining import FolderJoining  # noqa: PLC0415 -- big files only
        from filemill.sinks.sealed_joining import SealedJoining  # noqa: PLC0415 -- the same

        kind = SealedJoining if self._options.encrypt else FolderJoining
        joining = kind(self._durable, self._folder, fence, self._options.permissions)
        return joining if mark is None or joining.go_on(mark) else None

    def receive(self, part: StagedOutput) -> StagedOutput:
        """Take a part over from its worker; one in the worker's memory is held open here from now on.

        Raises:
            OSError: the worker is gone.
        """
        if not part.staged.startswith(b"/proc/"):
            return part
        descriptor = os.open(part.staged, os.O_RDONLY | os.O_CLOEXEC)
        hold(descriptor)
        return msgspec.structs.replace(part, staged=_HELD + b"%d" % descriptor)

    def forget(self, staged: Sequence[bytes]) -> None:
        """Remove staged parts. Never raises: what stays is swept at the next start, and no file's fault."""
        for path in staged:
            if path.startswith(_HELD):
                os.close(int(path.removeprefix(_HELD)))
                continue
            with contextlib.suppress(OSError):
                self._durable.unlink(path)

    def prepare(self) -> None:
        """Make the folder and its staging folder, and prove that renaming never replaces here.

        Raises:
            UsageError: it cannot be made or written, or its file system cannot rename without replacing.
        """
        name = self._context.name
        try:
            self._durable.make_directory(self._root)
            self._durable.make_directory(self._folder, 0o700)
            status = os.lstat(self._folder)
            if not stat.S_ISDIR(status.st_mode) or status.st_dev != os.stat(self._root).st_dev:
                raise UsageError(
                    f"sink `{name}`: {os.fsdecode(self._folder)} is no folder on the same file system",
                    help="remove it; filemill makes its own",
                )
            if stat.S_IMODE(status.st_mode) != 0o700:
                os.chmod(self._folder, 0o700)
            self._prove_no_replace()
            self._mount.note()
        except OSError as error:
            raise UsageError(
                f"sink `{name}`: {os.fsdecode(self._root)} cannot be used: {error.strerror or error}",
                help="outputs are staged and renamed there: it needs a writable local folder",
            ) from error

    def probe(self) -> None:
        """Stage some bytes and remove them, on the file system that was there before.

        Raises:
            OSError: it cannot be done: full, no access, unmounted.
        """
        self._mount.check()
        self._durable.make_directory(self._folder, 0o700)
        probe = self._folder + b"/" + _PROBES[0]
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(probe, flags, 0o600)
        try:
            for _ in range(_PROBE_PIECES):
                os.write(descriptor, bytes(1 << 16))
            self._durable.sync_file(descriptor)
        finally:
            os.close(descriptor)
            self._durable.unlink(probe)

    def misplaced(self, staged: Sequence[StagedOutput]) -> OSError | None:
        """Why these lie on the file system below, if they do: what was mounted here is gone."""
        if all(self._mount.holds(output.device) for output in staged):
            return None
        try:
            self._mount.check()
        except OSError as error:
            self.forget([output.staged for output in staged])
            return error
        return None

    def staging_folder(self) -> bytes:
        """Where outputs are staged."""
        return self._folder

    def examine(self) -> list[Finding]:
        """What can be promised in this folder, found out by trying."""
        from filemill.sinks.examining import examine_sink  # noqa: PLC0415 -- for `doctor` only

        permissions = self._options.permissions
        name = self._context.name
        return examine_sink(name, self._root, self._folder, self._durable, permissions)

    def publish(self, publications: Sequence[Publication]) -> list[Published]:
        """Make staged outputs visible under `name`, never replacing what is not ours, and only once.

        Raises:
            OSError: the first publication that the file system refuses (those before it are published; asking again
                is harmless). EXDEV, ELOOP, EACCES are that target's own; ENOSPC, EIO, EROFS the machine's.
        """
        return [self._publish(publication) for publication in publications]

    def sync(self, publications: Sequence[Publication]) -> None:
        """Make these publications' names durable, as one group, and their going from the staging folder.

        Raises:
            OSError: none of them may be counted durable.
        """
        folders = {os.path.dirname(self._target(each.name)) for each in publications}
        if not folders:
            return
        # A consumer may have taken an output with its whole folder: then the name's going is what must last.
        there = {nearest(folder) for folder in folders}
        self._durable.prove_names(there)
        self._durable.sync_group([], [*there, nearest(self._folder)])

    def free_names(self, names: Sequence[bytes]) -> list[bytes]:
        """`a.csv` -> `a-2.csv`, or the first number after it that is free; always within a name's 255 bytes.

        Only a proposal: whether it still is free is seen when it is published.
        """
        chosen: dict[bytes, None] = {}
        for name in names:
            attempt = 1
            around = other = self._around_files(name)
            while (other == name or other in chosen) or os.path.lexists(self._target(other)):
                attempt += 1
                other = naming.other_name(around, attempt)
            chosen[other] = None
        return list(chosen)

    def _around_files(self, name: bytes) -> bytes:
        """The name, with another folder where a file stands in its way: `a.csv/x` beside the file `a.csv`."""
        parts = name.split(b"/")
        for at in range(1, len(parts)):
            folder, attempt = b"/".join(parts[:at]), 1
            while os.path.lexists(self._target(folder)) and not os.path.isdir(self._target(folder)):
                attempt += 1
                folder = naming.other_name(b"/".join(parts[:at]), attempt)
            parts[at - 1] = folder.rpartition(b"/")[2]
        return b"/".join(parts)

    def sweep(self, known: frozenset[bytes]) -> int:
        """Remove staged files whose path is not in `known`, and nothing that filemill did not name.

        Sinks of one folder share its staging folder, so `known` must hold the staged paths of all of them, and no
        worker may be staging meanwhile.
        """
        removed = 0
        try:
            entries = os.listdir(self._folder)
        except FileNotFoundError:
            return 0
        for entry in entries:
            path = self._folder + b"/" + entry
            if (_STAGED.match(entry) or entry in _PROBES) and path not in known:
                self._durable.unlink(path)
                removed += 1
        return removed

    def _target(self, name: bytes) -> bytes:
        return self._root + b"/" + name

    def _publish(self, publication: Publication) -> Published:
        target = self._target(publication.name)
        staged = publication.staged
        try:
            self._durable.rename(staged, target)
        except (FileExistsError, NotADirectoryError):
            return self._taken(publication, target)
        except FileNotFoundError:
            # The staged file is gone (published, or worse), or the target's folder is not there yet.
            if is_ours(target, publication):
                return Published.YES
            if not is_ours(staged, publication):
                return self._gone(publication)
        else:
            return Published.YES
        self._durable.make_directory(os.path.dirname(target))
        try:
            self._durable.rename(staged, target)
        except FileExistsError:
            return self._taken(publication, target)
        return Published.YES

    def _taken(self, publication: Publication, target: bytes) -> Published:
        if is_ours(target, publication):
            # Ours already. Where renaming is link and unlink, a crash between them leaves both names.
            if is_ours(publication.staged, publication):
                self._durable.unlink(publication.staged)
            return Published.YES
        if not is_ours(publication.staged, publication):
            return self._gone(publication)
        if publication.mode == "replace":
            self._durable.replace(publication.staged, target)
            return Published.YES
        if publication.mode == "supersede" and may_be_replaced(target, publication):
            self._durable.replace(publication.staged, target)
            return Published.YES
        return Published.TAKEN

    def _gone(self, publication: Publication) -> Published:
        """Neither staged nor published: a consumer may have it, unless the whole file system is not mounted now."""
        if os.stat(nearest(self._folder)).st_dev != publication.device:
            raise OSError(
                errno.ENODEV,
                "the file system on which it was staged is not mounted",
                os.fsdecode(self._root),
            )
        return Published.UNVERIFIED

    def _prove_no_replace(self) -> None:
        """Two probes in the staging folder: renaming one to the other must fail, or no name here is safe."""
        one, two = (self._folder + b"/" + probe for probe in _PROBES)
        try:
            for probe in (one, two):
                os.close(os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
            self._durable.rename(one, two)
        except FileExistsError:
            return
        finally:
            for probe in (one, two):
                if os.path.lexists(probe):
                    self._durable.unlink(probe)
        raise UsageError(
            f"sink `{self._context.name}`: renaming in {os.fsdecode(self._root)} replaces what is there",
            help="this file system cannot publish safely; use a local folder and copy from there",
        )


def _sealer_for(recipients: tuple[str, ...]) -> Sealer | None:
    if not recipients:
        return None
    from filemill.encryption.age import Sealer  # noqa: PLC0415 -- only where it is asked for

    return Sealer(recipients)
