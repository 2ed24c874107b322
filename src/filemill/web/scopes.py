"""Scopes of principals, for what no reading of the ledger holds back by itself: acts on the whole system."""

from __future__ import annotations

from filemill.model.access import Principal
from filemill.web.errors import ApiError


def is_narrow(principal: Principal) -> bool:
    """Say whether it is for some sources or pipelines only."""
    return bool(principal.sources or principal.pipelines)


def must_be_whole(principal: Principal) -> None:
    """Refuse a principal that is for a part of the files what touches all of them.

    Raises:
        ApiError: 403.
    """
    if is_narrow(principal):
        raise ApiError(
            403,
            "this touches all files, and this key is for a part of them",
            help="a key without --source and --pipeline",
        )


def must_take_any_pipeline(principal: Principal) -> None:
    """Refuse a principal that is for some pipelines what may go to any, by what is in it.

    Raises:
        ApiError: 403.
    """
    if principal.pipelines:
        raise ApiError(
            403,
            "a mended file goes to every pipeline that wants it, and this key is for some",
            help="a key without --pipeline",
        )


def must_be_for_pipeline(principal: Principal, pipeline: str, known: tuple[str, ...]) -> None:
    """Refuse pipelines that are not there, or not for this principal: it cannot tell one from the other.

    Raises:
        ApiError: 404; 403 for a principal that is for some sources only, since a pipeline takes files of others too.
    """
    if pipeline not in known or (principal.pipelines and pipeline not in principal.pipelines):
        there = [each for each in known if not principal.pipelines or each in principal.pipelines]
        raise ApiError(404, f"no pipeline `{pipeline}`", help=f"there are: {', '.join(there)}")
    if principal.sources:
        raise ApiError(403, "a pipeline takes files of every source, and this key is for some")
