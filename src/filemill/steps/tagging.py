"""Tags in the options of steps."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

from filemill.model.tags import TagSyntaxError, check_tag


def a_tag(text: str) -> str:
    """The text, if it is a tag; ValueError, as pydantic reports it, if it is none."""
    try:
        check_tag(text)
    except TagSyntaxError as error:
        raise ValueError(error.message) from error
    return text


ElseTag = Annotated[str | None, AfterValidator(lambda tag: tag if tag is None else a_tag(tag))]
"""`else_tag`: given to records with which something is wrong, which then go on; the field says what is wrong."""
