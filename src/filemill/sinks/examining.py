"""What a folder sink finds out about its folder, for `filemill doctor`."""

from __future__ import annotations

import os
import tempfile

from filemill.durable import Durable
from filemill.durable.probing import keeps_what_is_there, probe_folder, sync_seconds
from filemill.model.errors import plainly
from filemill.ports.examining import Finding, Level
from filemill.sinks.permitting import Permissions


def examine_sink(
    name: str, root: bytes, staging: bytes, durable: Durable, permissions: Permissions
) -> list[Finding]:
    """Try where outputs are staged, if that is there, else in the folder; one that is missing is made at the start."""
    about, shown = f"sink {name}", os.fsdecode(root)
    if not os.path.isdir(root):
        parent, missing = _nearest(root)
        if os.path.lexists(missing) or not os.access(parent, os.W_OK | os.X_OK):
            what = f"{shown} cannot be made in {os.fsdecode(parent)}"
            return [Finding(Level.PROBLEM, about, what, "make it, writable for this user")]
        return [Finding(Level.OK, about, f"{shown} is made at the start")]
    place = staging if os.path.isdir(staging) else root
    found = []
    try:
        if os.stat(place).st_dev != os.stat(root).st_dev:
            what = f"{os.fsdecode(place)} is on another file system than {shown}"
            found.append(Finding(Level.PROBLEM, about, what, "remove it; filemill makes its own"))
        with probe_folder(place) as probe:
            if not keeps_what_is_there(probe, durable):
                what = "a rename replaces what is there: outputs could destroy each other"
                remedy = "put the sink on another file system"
                found.append(Finding(Level.PROBLEM, about, what, remedy))
            took = sync_seconds(probe, durable)
            found += _given(about, probe, permissions)
    except OSError as error:
        what = f"{shown} cannot be used: {error.strerror}"
        remedy = "outputs are staged and renamed there: it needs a writable folder"
        return [*found, Finding(Level.PROBLEM, about, what, remedy)]
    if not found and durable.sync:
        what = "each output appears by one rename, exactly once, and is synced before"
        what += f" (a sync takes {took * 1000:.1f} ms)"
        found.append(Finding(Level.OK, about, what))
    elif not found:
        what = "each output appears by one rename, exactly once; nothing is synced (`durability: process`)"
        found.append(Finding(Level.OK, about, what))
    return found


def _given(about: str, place: bytes, permissions: Permissions) -> list[Finding]:
    """Give a file away as outputs are."""
    try:
        with tempfile.TemporaryFile(dir=place) as file:
            permissions.grant(file.fileno())
    except OSError as error:
        what = f"outputs cannot be given to `{permissions.owner}`: {plainly(error)}"
        remedy = "make that user or group, or run as root, or leave `owner:` out: outputs wait until then"
        return [Finding(Level.PROBLEM, about, what, remedy)]
    return []


def _nearest(path: bytes) -> tuple[bytes, bytes]:
    """The folder above `path` that is there, and what is missing in it (or stands in the way)."""
    missing = path
    while not os.path.isdir(path):
        missing, path = path, os.path.dirname(path) or b"/"
    return path, missing
