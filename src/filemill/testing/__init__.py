"""For tests: run a pipeline on bytes, hold an adapter to its contract, and a clock that stands still until told."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from filemill.testing.pipelines import Outcome, PipelineFailed, run_pipeline

__all__ = ["Outcome", "PipelineFailed", "run_pipeline"]


def __getattr__(name: str) -> Any:
    """The names above, loaded when one is asked for: the contracts need none of what runs a pipeline."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from filemill.testing import pipelines  # noqa: PLC0415 -- late is the point

    return getattr(pipelines, name)
