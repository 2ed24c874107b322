"""The folder source: files dropped into a folder and the folders in it."""

from __future__ import annotations

import os
import stat
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from filemill.model.errors import UsageError
from filemill.model.events import SourceNotice
from filemill.ports.examining import Finding
from filemill.ports.source import SourceContext, SourceSettings, SourceSpec
from filemill.ports.units import Duration, LocalPath, Size, format_duration, parse_duration
from filemill.sources.following import QUIET_INTERVAL, Follower
from filemill.sources.mounts import file_systems, without_events
from filemill.sources.names import Ignore

RECONCILE = QUIET_INTERVAL
"""Seconds between scans where events tell of every change."""
POLL = 2.0
"""Seconds between scans where they may not."""


def _one_or_many(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


def _poll(value: Any) -> Any:
    if isinstance(value, str) and value not in {"auto", "always", "never"}:
        try:
            return parse_duration(value)
        except ValueError:
            raise ValueError(
                f"`{value}` is none of auto, always, never, or an interval such as 5s"
            ) from None
    return value


Texts = Annotated[tuple[str, ...], BeforeValidator(_one_or_many)]


class FolderSource:
    """Watches one folder; see `ports.source.Source` for the promises.

    Hidden and temporary names (`.x`, `x.part`, `x.filepart`, `x.tmp`, `x.crdownload`, `x.swp`, `x~`) are never taken;
    their rename to the real name is. Links are never followed.
    """

    spec = SourceSpec(
        name="folder",
        summary="files dropped into a folder",
        example="partners: {folder: inbox/partners, tags: ['partner:{dir}']}",
    )

    class Options(BaseModel):
        """The keys of a folder source."""

        model_config = ConfigDict(extra="forbid", frozen=True)

        folder: LocalPath = Field(description="the folder to watch")
        tags: Texts = Field(
            (), description="tags of its files; `{dir}` is the first folder below it"
        )
        ignore: Texts = Field(
            (), description="names never taken, such as `*.bak`; with `/`, paths below it"
        )
        recursive: bool = Field(True, description="also the folders in it")
        create: bool = Field(False, description="make the folder if it is missing at start")
        settle: Duration = Field(
            0.5, description="how long a file must be quiet once it was closed"
        )
        settle_unproven: Duration = Field(
            10.0, description="how long, when nothing tells whether somebody still writes it"
        )
        poll: Annotated[Literal["auto", "always", "never"] | Duration, BeforeValidator(_poll)] = (
            Field(
                "auto",
                description="scan every 2s: auto (where events are not reliable), always, never, or an interval",
            )
        )
        claim: Literal["rename", "copy"] = Field(
            "rename", description="move files out of the folder, or copy them and leave them there"
        )
        after: Literal["archive", "delete", "keep"] = Field(
            "archive",
            description="the bytes when every run is done; `keep` leaves the original where it is",
        )
        duplicates: Literal["process", "hold", "skip"] = Field(
            "process", description="a file whose content came before"
        )
        permissions: Literal["strict", "warn", "off"] = Field(
            "warn", description="refuse, or warn of, a folder that strangers can write to"
        )
        max_size: Size | None = Field(None, description="larger files are rejected")
        types: Texts = Field(
            (), description="only these: media types (`image/*`) or names (`*.csv`)"
        )
        priority: int = Field(0, description="higher ones run first")

    def __init__(self, context: SourceContext) -> None:
        self._context = context
        self._options: FolderSource.Options = context.options
        self._root = os.path.abspath(os.fsencode(self._options.folder))
        self._follower: Follower | None = None

    def settings(self) -> SourceSettings:
        """What intake needs to know of it."""
        options = self._options
        return SourceSettings(
            name=self._context.name,
            root=self._root,
            settle=options.settle,
            settle_unproven=options.settle_unproven,
            claim="copy" if options.after == "keep" else options.claim,
            after=options.after,
            duplicates=options.duplicates,
            max_size=options.max_size,
            types=options.types,
            tags=options.tags,
            priority=options.priority,
        )

    def watching(self) -> tuple[str, str]:
        """(the folder, how it is watched), for people; after `start`."""
        settle = f"settle {format_duration(self._options.settle)}"
        manner = "" if self._follower is None else self._follower.manner
        place = self._root.decode("utf-8", "backslashreplace")
        return place, ", ".join(part for part in (manner, settle) if part)

    async def start(self) -> None:
        """Begin to watch and to scan.

        Raises:
            UsageError: the folder is missing, is no folder, cannot be read, or strangers may write to it.
        """
        if self._follower is not None:
            return
        self._check_folder()
        events, interval = self._manner()
        follower = Follower(
            self._context,
            self._root,
            ignore=Ignore(self._options.ignore),
            recursive=self._options.recursive,
            identities=self.settings().claim == "copy",
            events=events,
            interval=interval,
        )
        follower.start()
        self._follower = follower

    async def stop(self) -> None:
        """Stop watching; sightings already given stand. Idempotent."""
        follower, self._follower = self._follower, None
        if follower is not None:
            await follower.stop()

    async def scanned(self) -> None:
        """Return when a full scan that began after this call has given all its sightings."""
        if self._follower is not None:
            await self._follower.scanned()

    def _check_folder(self) -> None:
        shown = os.fsdecode(self._root)
        try:
            status = os.stat(self._root)
        except FileNotFoundError:
            if not self._options.create:
                raise UsageError(
                    f"source `{self._context.name}`: there is no folder {shown}",
                    help=f"mkdir -p {shown}   or say `create: true`",
                ) from None
            os.makedirs(self._root, exist_ok=True)
            status = os.stat(self._root)
        except OSError as error:
            raise UsageError(f"source `{self._context.name}`: {shown}: {error.strerror}") from None
        if not stat.S_ISDIR(status.st_mode):
            raise UsageError(f"source `{self._context.name}`: {shown} is not a folder")
        if not os.access(self._root, os.R_OK | os.X_OK):
            raise UsageError(
                f"source `{self._context.name}`: {shown} cannot be listed by this user",
                help=f"chmod u+rx {shown}",
            )
        self._check_permissions(status, shown)

    def _check_permissions(self, status: os.stat_result, shown: str) -> None:
        if self._options.permissions == "off":
            return
        if status.st_mode & stat.S_IWOTH:
            what, remedy = "can be written to by everybody", f"chmod o-w {shown}"
        elif status.st_uid not in {0, os.geteuid()}:
            what, remedy = (
                f"belongs to another user (uid {status.st_uid})",
                f"chown {os.geteuid()} {shown}",
            )
        else:
            return
        message = f"source `{self._context.name}`: {shown} {what}"
        remedy += "   or say `permissions: off`"
        if self._options.permissions == "strict":
            raise UsageError(message, help=remedy)
        self._notice(message, remedy)

    def examine(self) -> list[Finding]:
        """How changes become known in this folder and who may write into it, found out by trying."""
        from filemill.sources.examining import FolderExaminer  # noqa: PLC0415 -- for `doctor` only

        options = self._options
        silent = options.poll == "auto" and bool(without_events(file_systems(self._root)))
        events, interval = (True, POLL) if silent else self._manner()
        return FolderExaminer(
            self._context.name,
            self._root,
            create=options.create,
            events=events,
            interval=interval,
            strict=options.permissions == "strict",
        ).examine()

    def _manner(self) -> tuple[bool, float]:
        """Whether to use events, and how often to scan."""
        poll = self._options.poll
        if poll == "always":
            return False, POLL
        if poll == "never":
            return True, RECONCILE
        if poll != "auto":
            return True, float(poll)
        if kinds := without_events(file_systems(self._root)):
            self._notice(
                f"{os.fsdecode(self._root)} is on {', '.join(kinds)}, where changes may come without an event: "
                f"it is also scanned every {POLL:g}s",
                "set `poll:` to another interval, or to `never`",
            )
            return True, POLL
        return True, RECONCILE

    def _notice(self, message: str, remedy: str) -> None:
        self._context.emit(
            SourceNotice(
                at_ns=self._context.clock.wall_ns(),
                source=self._context.name,
                message=message,
                help=remedy,
            )
        )
