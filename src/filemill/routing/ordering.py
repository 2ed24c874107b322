"""Within which key a file's run waits for those before it."""

from __future__ import annotations

import functools
from collections.abc import Collection

from filemill.model.files import FileRef
from filemill.model.ordering import OrderKey
from filemill.model.plan import PipelinePlan

_template = functools.lru_cache(maxsize=1000)(OrderKey)


def order_key(pipeline: PipelinePlan, file: FileRef, tags: Collection[str]) -> str:
    """The key of this file in this pipeline; empty where the pipeline keeps no order.

    A file that gives no text waits for no other: it has a key of its own.
    """
    return (_template(pipeline.order_by).of(file, tags) or file.file) if pipeline.order_by else ""
