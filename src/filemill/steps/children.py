"""What the steps that emit children share: the tags that they give them."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator

from filemill.steps.tagging import a_tag


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


ChildTags = Annotated[list[Annotated[str, AfterValidator(a_tag)]], BeforeValidator(_as_list)]
"""One tag, or a list of them."""
TAGS_HELP = "Tags of the children, beside those their source gives; a pipeline's `when:` sees them."
