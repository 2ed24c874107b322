"""Files that people made in the place of others: staged by the command, taken in by the server as a child.

    copy staged in `<data>/children`, synced -> [commit: child in CLAIMING, dead runs given up] -> the way of any child

Before the commit nothing has happened, and the next start sweeps what is staged; after it the child is on its way,
whatever is killed, since recovery takes every child in CLAIMING in. The dead run ends when its child is sure to come.
"""

from __future__ import annotations

import asyncio
import os
import stat
import tempfile
from collections.abc import Iterable, Iterator, Sequence

from filemill.contents.local import LocalContent
from filemill.durable import Durable, Failpoints
from filemill.engine.adopting import Adoption
from filemill.engine.emitting import children_folder
from filemill.model.deeds import Deed, Mend
from filemill.model.errors import PermanentError, SystemFault, UsageError
from filemill.model.files import Identity
from filemill.model.runs import BadRecord, RecordForm, StagedChild
from filemill.ports.ledger import Ledger
from filemill.service import acts
from filemill.service.encrypting import scratch_of, sealer_of
from filemill.service.originals import Originals, pieces

_MARK = ".mended"
_IN_MEMORY = 8 << 20


class Mender:
    """Takes mended files in. `adoption` is a running server's; without one the next start goes on."""

    def __init__(
        self, ledger: Ledger, content: LocalContent, data: str, adoption: Adoption | None = None
    ) -> None:
        self._ledger = ledger
        self._content = content
        self._data = data
        self._adoption = adoption

    async def mend(self, act: acts.MendFile, deed: Deed) -> Sequence[bool]:
        """Do it; one answer, for all of the act's runs together.

        Raises:
            UsageError: the mended copy is not where it was staged.
            SystemFault: the data directory's disk fails.
        """
        child = await asyncio.to_thread(self._staged, act)
        try:
            (content,) = await asyncio.to_thread(self._content.reserve, [child.file])
        except OSError as error:
            raise SystemFault(f"content cannot be written: {error}") from error
        moved = await self._ledger.mend([Mend(act.runs, child, content, act.again)], deed)
        if self._adoption is not None:
            # Where the commit was refused, this removes what was staged.
            await self._adoption.take_staged([child])
        return moved

    def _staged(self, act: acts.MendFile) -> StagedChild:
        name = os.fsencode(act.staged)
        if b"/" in name or name != f"{act.child}{_MARK}".encode():
            raise UsageError("a mended copy has the name of its file's id")
        path = os.path.join(children_folder(self._data), name)
        try:
            found = os.lstat(path)
        except FileNotFoundError as error:
            raise UsageError(
                "the mended copy is gone: a server was started meanwhile", help="do it once more"
            ) from error
        if not stat.S_ISREG(found.st_mode):
            raise UsageError("the mended copy is no file")
        size = found.st_size if act.size < 0 else act.size
        identity = Identity(found.st_dev, found.st_ino, size, found.st_mtime_ns)
        return StagedChild(act.child, path, act.relative, identity)


def staged_as(data: str, child: str) -> tuple[str, bytes]:
    """What the bytes of a mended file are called, and the absolute path that a server takes them from."""
    name = f"{child}{_MARK}"
    return name, os.path.join(children_folder(data), name.encode())


def stage(data: str, child: str, content: Iterable[bytes]) -> tuple[str, int]:
    """Write a mended file where the server takes it from, synced; answers with its name there, and its plain size.

    Raises:
        SystemFault: it cannot be written.
    """
    durable = Durable(Failpoints.from_environment("command"))
    sealer, size = sealer_of(data), 0
    name, path = staged_as(data, child)
    folder = os.path.dirname(path)
    try:
        durable.make_directory(folder, 0o700)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        with os.fdopen(os.open(path, flags, 0o600), "wb") as out:
            if sealer is None:
                for piece in content:
                    size += out.write(piece)
            else:
                with tempfile.SpooledTemporaryFile(_IN_MEMORY, dir=scratch_of(data)) as plain:
                    for piece in content:
                        plain.write(piece)
                    plain.seek(0)
                    size = sealer.content(plain, out)
            out.flush()
            durable.sync_file(out.fileno())
        durable.sync_directory(folder)
    except OSError as error:
        raise SystemFault(f"the mended copy cannot be kept: {error}") from error
    return name, size


def drop(data: str, name: str) -> None:
    """Remove a staged copy that was not taken. One that is gone is no error."""
    durable = Durable(Failpoints.from_environment("command"))
    path = os.path.join(children_folder(data), os.fsencode(name))
    try:
        durable.unlink(path)
    except OSError:
        return  # taken after all, or swept at the next start


def spliced(
    originals: Originals,
    content: str,
    bad: Sequence[BadRecord],
    form: RecordForm,
    mended: bytes,
) -> Iterator[bytes]:
    """The whole original with mended records in the places of its bad ones.

    `mended` is a file of records as `alone` makes it. Where it has as many lines as there are bad records, each takes
    the place of its own; else the bad ones are left out and all mended ones stand at the end.

    Raises:
        PermanentError: in this format a record cannot be replaced.
        NotFound: the original is gone.
    """
    if form.format not in {"csv", "jsonl", "lines"}:
        raise PermanentError(
            f"records of {form.format} cannot be put back one by one",
            help="mend the whole file: filemill dead edit ID",
        )
    body = mended.removeprefix(b"\xef\xbb\xbf")
    header = form.opens.encode()
    if header and body.split(b"\n", 1)[0].rstrip(b"\r") == header:
        body = body.partition(b"\n")[2]
    ending = b"\r\n" if form.crlf else b"\n"
    lines = [line.rstrip(b"\r") for line in body.splitlines() if line.strip()]
    places = sorted(bad, key=lambda each: each.start)
    with originals.open(content) as source:
        single = all(b"\n" not in _bytes(source.fileno(), each) for each in places)
        # A line with half a pair of quotes goes on in the next one.
        whole = not any(line.count(b'"') % 2 for line in lines) if form.format == "csv" else True
        in_place = single and whole and len(lines) == len(places)
        at, last = 0, ending
        for number, each in enumerate(places):
            yield from pieces(source, at, each.start)
            at = each.end
            if in_place:
                yield lines[number]
            else:
                at += _ending(source.fileno(), at)
        size = os.fstat(source.fileno()).st_size
        yield from pieces(source, at, size)
        if size:
            last = os.pread(source.fileno(), 1, size - 1)
    if in_place:
        return
    if last != b"\n" and at < size:
        yield ending
    yield _closed(body, ending)


def _bytes(descriptor: int, bad: BadRecord) -> bytes:
    return os.pread(descriptor, bad.end - bad.start, bad.start)


def _ending(descriptor: int, at: int) -> int:
    """How long the line ending at this place is; 0 at the file's end."""
    found = os.pread(descriptor, 2, at)
    return 2 if found == b"\r\n" else 1 if found[:1] == b"\n" else 0


def _closed(body: bytes, ending: bytes) -> bytes:
    return body if not body or body.endswith(b"\n") else body + ending
