"""What requests that do something say: which runs, and how."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from filemill.model.errors import UsageError
from filemill.ports.clock import SystemClock
from filemill.ports.units import parse_duration
from filemill.service.acts import MOST

Id = Annotated[str, Field(min_length=1, max_length=64, description="any unique prefix")]
Span = Annotated[
    str, Field(max_length=20, description="of the last 90s, 24h, 7d", examples=["24h"])
]
Word = Annotated[str, Field(min_length=1, max_length=200)]
Revision = Annotated[
    str, Field(pattern=r"^(current|old|[1-9][0-9]{0,9})$", description="current, old, or a number")
]


class Given(BaseModel):
    """Base of all bodies: what is not known is refused, so that a slip of the pen does not widen what is meant."""

    model_config = ConfigDict(extra="forbid")


class _Deed(Given):
    reason: str = Field("", max_length=2000, description="Why; it is kept in the audit.")


class Reason(_Deed):
    """Why it is done."""


class Listed(Given):
    """A run as a list showed it, or a file that has none."""

    run: str = Field("", max_length=64, description="its whole id")
    fence: int = Field(
        0, ge=0, description="that it had: if it has another one now, it is left alone"
    )
    file: str = Field("", max_length=64, description="the whole id of a file without runs")


class Which(_Deed):
    """Runs by their ids, as a list showed them, or by what they have in common: exactly one of these."""

    dry_run: bool = Field(False, description="Say what would be done, and do nothing.")
    ids: list[Id] | None = Field(None, min_length=1, max_length=MOST)
    listed: list[Listed] | None = Field(
        None, min_length=1, max_length=MOST, description="Only those that have not moved since."
    )


class DeadQuery(Given):
    """Dead runs; empty: all of them."""

    pipeline: str = ""
    group: str = Field("", description="D-3fa2c1", examples=["D-3fa2c1"])
    since: Span = ""


class WhichDead(Which):
    """`ids` are files, runs, or groups (D-3fa2c1)."""

    query: DeadQuery | None = None


class Redriving(WhichDead):
    """Which dead runs are tried again, and from where."""

    begin: Literal["start", "input"] | None = Field(
        None,
        alias="from",
        description="At the failed step's kept input and nowhere else, or at the start; null: the input where it is "
        "kept and still fits, else the start.",
    )
    revision: Revision = "current"


class Groups(_Deed):
    """Groups of dead letters."""

    groups: list[Id] = Field(min_length=1, max_length=MOST, examples=[["D-3fa2c1"]])


class NewKey(_Deed):
    """A key that is to be made."""

    name: str = Field(min_length=1, max_length=64, description="whose it is", examples=["acme"])
    roles: list[Word] = Field(min_length=1, max_length=10, examples=[["uploader"]])
    sources: list[Word] = Field([], max_length=100, description="only files of these")
    pipelines: list[Word] = Field([], max_length=100, description="only files of these")
    expires: Span = Field("", description="good for 12h, 90d...", examples=["90d"])


class KeyNames(_Deed):
    """Keys, by their ids."""

    keys: list[Id] = Field(min_length=1, max_length=MOST)


class Logins(_Deed):
    """Browsers that are logged in, by the ids of their sessions."""

    sessions: list[Id] = Field(min_length=1, max_length=MOST)


class HeldQuery(Given):
    """What is held; empty: all of it."""

    reason: str = Field("", description="that it is held for, such as unrouted")
    pipeline: str = ""


class WhichHeld(Which):
    """`ids` are held files or runs."""

    query: HeldQuery | None = None


class Releasing(WhichHeld):
    """What is held and goes on."""

    unsafe: bool = Field(False, description="Also files in quarantine, which are named by id.")
    choice: str = Field("", max_length=200, description="The answer, where the step asks for one.")


class EndedQuery(Given):
    """The latest run of each file and pipeline that ended so."""

    state: Literal["done", "cancelled", "discarded"] = "done"
    pipeline: str = ""
    tag: str = ""
    since: Span = ""


class Replaying(Which):
    """Which ended runs are done once more. `supersede` says what becomes of the outputs of those that are done."""

    query: EndedQuery | None = None
    revision: Revision = "current"
    supersede: bool | None = Field(
        None, description="true: the new outputs take the places of the old; false: both stay."
    )


class Cancelling(Which):
    """Which runs are called back."""


def since_ns(span: str) -> int:
    """The moment that lies a span back, as wall nanoseconds; 0 for none.

    Raises:
        UsageError: it is no length of time.
    """
    if not span:
        return 0
    now = SystemClock().wall_ns()
    try:
        # What lies before all times is no limit.
        return now - int(min(parse_duration(span) * 1e9, now))
    except ValueError as error:
        raise UsageError(f"since: {error}", help="such as 90s, 15m, 24h or 7d") from error


def one_of_both(which: Which, query: BaseModel | None) -> None:
    """Refuse a request that names nothing, or both some and all.

    Raises:
        UsageError: with what to send.
    """
    if sum(each is not None for each in (which.ids, which.listed, query)) != 1:
        raise UsageError(
            "`ids` or `query`, one of both", help='{"ids": ["3fk2"]}, or {"query": {}} for all'
        )
