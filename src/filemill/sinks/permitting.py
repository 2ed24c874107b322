"""Whose an output is, and who may read it: given to the open file before it is synced; nobody sees it otherwise."""

from __future__ import annotations

import functools
import grp
import os
import pwd
import re

import msgspec

_OWNER = re.compile(r"(?P<user>[^:\s\0]*)(:(?P<group>[^:\s\0]+))?")
_MOST = 2**32 - 2
"""The largest number of a user or group; the one above means nobody to the kernel."""


class Permissions(msgspec.Struct, frozen=True):
    """What `grant` gives; what is not set stays as it is: of this process's user, by its umask."""

    mode: int | None = None
    owner: str = ""
    """`user`, `user:group` or `:group`, each a name or a number."""

    def grant(self, descriptor: int) -> None:
        """Give an open file to its owner, with its mode.

        Raises:
            OSError: it may not be given to that one, or this machine knows no such user or group.
        """
        if self.owner:
            os.fchown(descriptor, *ids_of(self.owner))
        if self.mode is not None:  # behind it: to change the owner takes rights away
            os.fchmod(descriptor, self.mode)


def checked(owner: str) -> str:
    """The text of an owner.

    Raises:
        ValueError: it is none.
    """
    found = _OWNER.fullmatch(owner)
    if not owner or found is None:
        raise ValueError(f"`{owner}` is no owner: write user, user:group or :group")
    for each in found.group("user", "group"):
        if each and each.isdecimal() and int(each) > _MOST:
            raise ValueError(f"`{each}` is no number of a user or group: the largest is {_MOST}")
    return owner


@functools.cache  # a directory service may take long to answer, and is asked for each output
def ids_of(owner: str) -> tuple[int, int]:
    """The numbers of its user and group; -1: not named.

    Raises:
        OSError: this machine does not know it.
    """
    found = _OWNER.fullmatch(owner)
    user, group = (found["user"], found["group"]) if found else (owner, None)
    uid = gid = -1
    try:
        if user:
            uid = int(user) if user.isdecimal() else pwd.getpwnam(user).pw_uid
    except KeyError:
        raise OSError(f"there is no user `{user}` on this machine") from None
    try:
        if group:
            gid = int(group) if group.isdecimal() else grp.getgrnam(group).gr_gid
    except KeyError:
        raise OSError(f"there is no group `{group}` on this machine") from None
    return uid, gid
