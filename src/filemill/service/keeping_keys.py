"""Making and revoking keys, and what a face notes of those who come with them: handlers of acts.

The secret is made here, where the ledger is written, and goes to whoever asked; only its hash stays. Whether they may
ask is said before: by the control socket (it answers its own user), or by the right that a face asks for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from filemill.durable import Durable
from filemill.identity import keys, pepper
from filemill.model.access import ROLES
from filemill.model.deeds import Deed
from filemill.model.errors import SystemFault, UsageError
from filemill.model.keys import StoredKey
from filemill.ports.ledger import Ledger
from filemill.service import acts, replies

_NAME = re.compile(r"[a-z0-9][a-z0-9._@-]{0,63}\Z")
_TRIES = 3


class Keys:
    """The handlers, over one data directory; the caller holds its instance lock."""

    def __init__(self, ledger: Ledger, data: str, durable: Durable) -> None:
        self._ledger = ledger
        self._data = data
        self._durable = durable

    @property
    def handlers(self) -> Mapping[Any, Any]:
        """By act."""
        return {
            acts.CreateKey: self.create,
            acts.RevokeKeys: self.revoke,
            acts.NoteUse: self.note_use,
            acts.NoteAccess: self.note_access,
        }

    async def create(self, act: acts.CreateKey, deed: Deed) -> replies.KeyMade:
        """Make a key.

        Raises:
            UsageError: no such role, no proper name, or one of this name is in force.
            SystemFault: the pepper cannot be read or made.
        """
        _judge(act, deed)
        secret = pepper.ensure(self._data, self._durable)
        for _ in range(_TRIES):
            made = keys.make(secret)
            stored = StoredKey(
                id=made.id,
                name=act.name,
                roles=tuple(dict.fromkeys(act.roles)),
                sources=tuple(dict.fromkeys(act.sources)),
                pipelines=tuple(dict.fromkeys(act.pipelines)),
                hash=made.hash,
                created_ns=deed.at_ns,
                created_by=deed.principal,
                expires_ns=act.expires_ns,
            )
            answer = await self._ledger.create_key(stored, deed)
            if answer == "made":
                return replies.KeyMade(made.id, made.text)
            if answer == "named":
                raise UsageError(
                    f"a key named `{act.name}` is in force",
                    help=f"filemill keys revoke {act.name}, or take another name",
                )
        raise SystemFault("no free id for a key was found", help="try again")

    async def revoke(self, act: acts.RevokeKeys, deed: Deed) -> Sequence[bool]:
        """Put keys out of force, at once: each request asks the ledger."""
        return await self._ledger.revoke_keys(act.keys, deed)

    async def note_use(self, act: acts.NoteUse, deed: Deed) -> Sequence[bool]:
        """When keys and sessions were used last."""
        del deed
        await self._ledger.note_uses(act.uses)
        await self._ledger.use_sessions(act.sessions)
        return [True] * (len(act.uses) + len(act.sessions))

    async def note_access(self, act: acts.NoteAccess, deed: Deed) -> Sequence[bool]:
        """Logins, denials, downloads."""
        del deed
        await self._ledger.note_access(act.accesses)
        return [True] * len(act.accesses)


def _judge(act: acts.CreateKey, deed: Deed) -> None:
    if not _NAME.match(act.name):
        raise UsageError(
            f"`{act.name}` is no name for a key",
            help="lower case letters, digits and . _ - @, at most 64; it begins with a letter or a digit",
        )
    unknown = [role for role in act.roles if role not in ROLES]
    if unknown or not act.roles:
        raise UsageError(
            f"no role `{unknown[0]}`" if unknown else "a key without a role opens nothing",
            help="roles: " + ", ".join(ROLES),
        )
    if act.expires_ns is not None and act.expires_ns <= deed.at_ns:
        raise UsageError("this key would be expired already", help="such as --expires 90d")
