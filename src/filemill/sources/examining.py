"""What a folder source finds out about its folder, for `filemill doctor`."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from filemill.durable.actions import IS_LINUX
from filemill.ports.examining import Finding, Level
from filemill.ports.units import format_duration
from filemill.sources.mounts import file_systems, without_events
from filemill.sources.names import Ignore


class FolderExaminer:
    """Looks at one folder; makes nothing but an inotify watch, for a moment."""

    def __init__(
        self, name: str, root: bytes, *, create: bool, events: bool, interval: float, strict: bool
    ) -> None:
        self._about = f"source {name}"
        self._root = root
        self._shown = os.fsdecode(root)
        self._create = create
        self._events = events and IS_LINUX
        self._interval = interval
        self._strict = strict

    def examine(self) -> list[Finding]:
        """Whether it is there and can be listed, how changes become known, and who may write."""
        return list(self._found())

    def _say(self, level: Level, what: str, remedy: str = "") -> Finding:
        return Finding(level, self._about, what, remedy)

    def _found(self) -> Iterator[Finding]:
        try:
            status = os.stat(self._root)
        except FileNotFoundError:
            if self._create:
                yield self._say(Level.OK, f"{self._shown} is made at the start")
            else:
                remedy = f"mkdir -p {self._shown}   or say `create: true`"
                yield self._say(Level.PROBLEM, f"there is no folder {self._shown}", remedy)
            return
        except OSError as error:
            remedy = "the user that runs filemill must be able to reach it"
            yield self._say(Level.PROBLEM, f"{self._shown}: {error.strerror}", remedy)
            return
        if not stat.S_ISDIR(status.st_mode):
            yield self._say(Level.PROBLEM, f"{self._shown} is not a folder", "name a folder")
            return
        if not os.access(self._root, os.R_OK | os.X_OK):
            remedy = f"chmod u+rx {self._shown}"
            yield self._say(Level.PROBLEM, f"{self._shown} cannot be listed", remedy)
            return
        yield self._manner()
        yield self._strangers(status)

    def _manner(self) -> Finding:
        """How changes become known here: tried, not only read from a table."""
        kinds = file_systems(self._root)
        on = f" ({', '.join(sorted(kinds))})" if kinds else ""
        every = format_duration(self._interval)
        if not self._events:
            return self._say(Level.OK, f"scanned every {every}{on}")
        from filemill.sources.watching import Watches  # noqa: PLC0415 -- Linux only

        try:
            watches = Watches(Ignore(()))
            try:
                watches.add(b"", self._root)
            finally:
                watches.close()
        except OSError as error:
            return self._say(
                Level.WARNING,
                f"no events: {error.strerror}; it is scanned every few seconds instead",
                "raise fs.inotify.max_user_watches and fs.inotify.max_user_instances (sysctl)",
            )
        if silent := without_events(kinds):
            return self._say(
                Level.WARNING,
                f"on {', '.join(silent)} changes may come without an event: scanned every {every} too",
                "files are found by the next scan; `poll:` sets another interval",
            )
        return self._say(Level.OK, f"events by inotify{on}, and a scan every {every}")

    def _strangers(self, status: os.stat_result) -> Finding:
        bad = Level.PROBLEM if self._strict else Level.WARNING
        if status.st_mode & stat.S_IWOTH:
            remedy = f"chmod o-w {self._shown}   or say `permissions: off`"
            return self._say(bad, "everybody may write into it", remedy)
        if status.st_uid not in {0, os.geteuid()}:
            remedy = f"chown {os.geteuid()} {self._shown}   or say `permissions: off`"
            return self._say(bad, f"it belongs to another user (uid {status.st_uid})", remedy)
        if status.st_mode & stat.S_IWGRP:
            return self._say(Level.OK, f"its owner and group {status.st_gid} may write into it")
        return self._say(Level.OK, "only its owner may write into it")
