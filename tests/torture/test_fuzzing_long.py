"""The same as `tests/web/test_fuzzing.py` for longer, with values at their limits, and requests that follow others."""

import os
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[1] / "web"))


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("with_key", [True, False])
def test_what_is_made_up_is_answered_as_described_for_longer(tmp_path, with_key, record_property):
    from fuzzing import CONFIG, fuzz
    from sites import Site, web_child

    seed = int(os.environ.get("FILEMILL_SEED", "1"))
    examples = int(os.environ.get("FILEMILL_TORTURE_EXAMPLES", "70"))
    (tmp_path / "site").mkdir()
    with Site(tmp_path / "site", CONFIG).running() as site:
        child = web_child(site)
        phases = "examples,coverage,fuzzing,stateful"
        assert fuzz(site, tmp_path, examples, phases, with_key=with_key, seed=seed) == ""
        assert web_child(site) == child, "it never died"
    record_property("examples", examples)
