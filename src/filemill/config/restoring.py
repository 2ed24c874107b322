"""The files of a configuration as they lie on the disk, and putting an older revision's files back in their places."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import re
import tempfile
from collections.abc import Mapping

import msgspec

from filemill.config.stored import KeptFile, Stored, more_files
from filemill.durable import Durable
from filemill.model.errors import UsageError

_SECRET = re.compile(r"\bsecret[\"']?\s*:\s*[\"']?([A-Za-z_][A-Za-z0-9_]*)")
ASIDE = ".off"
"""What a file of `conf.d` is called once it is put aside: it is read no more."""


class Step(msgspec.Struct, frozen=True):
    """One thing that restoring does: write these bytes to `name`, or, without bytes, put it aside."""

    name: str
    data: bytes | None


def on_disk(known: Stored, root: str) -> Stored:
    """What lies below `root` under the names of a known revision, and in `conf.d`."""
    files: dict[str, KeptFile] = {}
    added = [name for name in more_files(root) if name not in known.config]
    for name in (*known.files, *added):
        try:
            with open(os.path.join(root, name), "rb") as file:
                files[name] = _kept(file.read())
        except OSError:
            continue
    config = tuple(name for name in (*known.config, *added) if name in files)
    return msgspec.structs.replace(known, config=config, files=files)


def steps_to(wanted: Stored, root: str) -> list[Step]:
    """What has to be done so that the files of `wanted` lie below `root`.

    Raises:
        UsageError: a file that differs was too large to be kept.
    """
    now = on_disk(wanted, root)
    steps: list[Step] = []
    for name, kept in wanted.files.items():
        if name in now.files and now.files[name].sha256 == kept.sha256:
            continue
        data = kept.data()
        if data is None:
            raise UsageError(
                f"{name} was too large to be kept with its revision",
                help="bring it back by hand, then roll back again",
            )
        steps.append(Step(name, data))
    steps += [Step(name, None) for name in now.config if name not in wanted.config]
    return steps


def restore(steps: list[Step], root: str, aside: str, durable: Durable) -> None:
    """Do them, each whole and durable before the next; what is replaced is kept below the folder `aside` first.

    Raises:
        UsageError: a file cannot be written; those before it are.
    """
    for step in steps:
        path = os.path.realpath(os.path.join(root, step.name))
        folder = os.path.dirname(path)
        try:
            _keep(path, os.path.join(aside, os.path.basename(step.name)), durable)
            if step.data is None:
                durable.replace(os.fsencode(path), os.fsencode(path + ASIDE))
            else:
                durable.make_directory(os.fsencode(folder))
                _put(step.data, path, durable)
            durable.sync_directory(os.fsencode(folder))
        except OSError as error:
            raise UsageError(
                f"{step.name} cannot be written: {error.strerror or error}",
                help="where the configuration is mounted or made by other means, roll back there",
            ) from error


def hidden(text: str, environ: Mapping[str, str]) -> str:
    """The text with the values of all secrets that it names masked, should one stand in it."""
    for name in set(_SECRET.findall(text)):
        value = environ.get(name, "")
        if len(value) > 3:
            text = text.replace(value, "***")
    return text


def _put(data: bytes, path: str, durable: Durable) -> None:
    """Whole or not at all: renamed unsynced, a power cut could leave it empty."""
    handle, temporary = tempfile.mkstemp(prefix=".rollback-", dir=os.path.dirname(path))
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            os.fchmod(file.fileno(), _mode(path))
            file.flush()
            durable.sync_file(file.fileno())
        durable.replace(os.fsencode(temporary), os.fsencode(path))
    except BaseException:
        with contextlib.suppress(OSError):
            durable.unlink(os.fsencode(temporary))
        raise


def _keep(path: str, aside: str, durable: Durable) -> None:
    """A copy of what will be replaced; nothing where nothing is."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except FileNotFoundError:
        return
    folder = os.fsencode(os.path.dirname(aside))
    durable.make_directory(folder, 0o700)
    while os.path.exists(aside):
        aside += "~"
    with open(aside, "wb") as file:
        file.write(data)
        file.flush()
        durable.sync_file(file.fileno())
    durable.sync_directory(folder)


def _mode(path: str) -> int:
    try:
        return os.stat(path).st_mode & 0o777
    except OSError:
        mask = os.umask(0)
        os.umask(mask)
        return 0o666 & ~mask


def _kept(data: bytes) -> KeptFile:
    digest = hashlib.sha256(data).hexdigest()
    try:
        return KeptFile(digest, text=data.decode("utf-8"))
    except UnicodeDecodeError:
        return KeptFile(digest, base64=base64.b64encode(data).decode("ascii"))
