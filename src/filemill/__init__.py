"""filemill: files in, results out, nothing lost, everything seen."""

from typing import TYPE_CHECKING, Any

from filemill.step_api import Context, File, Reject, Retry, Tagged, step

if TYPE_CHECKING:
    from filemill.pipeline_api import Pipeline, Step, pipeline

__all__ = [
    "Context",
    "File",
    "Pipeline",
    "Reject",
    "Retry",
    "Step",
    "Tagged",
    "pipeline",
    "step",
]


def __getattr__(name: str) -> Any:
    """Names for writing pipelines, loaded when one is asked for: every command starts by importing this package."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from filemill import pipeline_api  # noqa: PLC0415 -- late is the point

    return getattr(pipeline_api, name)
