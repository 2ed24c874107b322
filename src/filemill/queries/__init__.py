"""The one read layer of all faces: command line, HTTP and pages ask here and nowhere else."""

from __future__ import annotations

from filemill.queries.access import AuditPage, AuditVerdict, KeyList, SessionList
from filemill.queries.balancing import Balance, balance_of
from filemill.queries.following import Follows
from filemill.queries.grouping import group_name
from filemill.queries.reader import Queries
from filemill.queries.results import (
    Attempt,
    DeadCause,
    DeadGroup,
    DeadItem,
    DeadPage,
    FileCounts,
    FileHistory,
    FilePage,
    FileSummary,
    HeldItem,
    HeldPage,
    Output,
    Pause,
    PipelineStatus,
    Refusal,
    Retry,
    Revision,
    Revisions,
    RunHistory,
    RunSummary,
    Standing,
    Status,
)
from filemill.queries.scoping import scope_of
from filemill.queries.standing import RECENT_NS, STATES

__all__ = [
    "RECENT_NS",
    "STATES",
    "Attempt",
    "AuditPage",
    "AuditVerdict",
    "Balance",
    "DeadCause",
    "DeadGroup",
    "DeadItem",
    "DeadPage",
    "FileCounts",
    "FileHistory",
    "FilePage",
    "FileSummary",
    "Follows",
    "HeldItem",
    "HeldPage",
    "KeyList",
    "Output",
    "Pause",
    "PipelineStatus",
    "Queries",
    "Refusal",
    "Retry",
    "Revision",
    "Revisions",
    "RunHistory",
    "RunSummary",
    "SessionList",
    "Standing",
    "Status",
    "balance_of",
    "group_name",
    "scope_of",
]
