"""filemill: files in, results out, nothing lost, everything seen."""

from filemill.step_api import Context, File, Reject, Retry, Tagged, step

__all__ = ["Context", "File", "Reject", "Retry", "Tagged", "step"]
