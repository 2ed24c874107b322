"""The audit's chain: each row is sealed with all rows before it, so that whoever changes one cannot hide it.

    chain = SHA-256(chain of the row before || [number,at_ns,principal,action,object,detail] as JSON without spaces)

The first row goes on from 32 zero bytes. `detail` is the text in the ledger, so nothing depends on how it is read.
Whoever can write the ledger file can make a whole new chain; against that helps only a head noted elsewhere.
"""

from __future__ import annotations

import hashlib

import msgspec

GENESIS = bytes(32)
"""What the first row goes on from."""
_json = msgspec.json.Encoder().encode


class Sealed(msgspec.Struct, frozen=True, array_like=True):
    """One row of the audit as it is stored."""

    number: int
    at_ns: int
    principal: str
    action: str
    object: str
    detail: str
    """JSON."""
    chain: bytes = b""


class Anchor(msgspec.Struct, frozen=True):
    """What retention left of the rows that it removed from the beginning."""

    number: int
    """Of the last one that went."""
    chain: bytes
    rows: int
    at_ns: int


def chained(former: bytes, *row: int | str) -> bytes:
    """The chain of a row (number, at_ns, principal, action, object, detail) behind one whose chain is `former`."""
    return hashlib.sha256(former + _json(row)).digest()
