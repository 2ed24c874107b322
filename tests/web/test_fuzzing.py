"""Whatever is sent, made up of the description or against it, is answered as described; see `fuzzing`."""

import pytest
from fuzzing import CONFIG, fuzz
from sites import Site


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    with Site(tmp_path_factory.mktemp("fuzzed"), CONFIG).running() as made:
        yield made


@pytest.mark.parametrize(("with_key", "examples"), [(True, 4), (False, 2)])
def test_what_is_made_up_is_answered_as_described(site, tmp_path, with_key, examples):
    assert fuzz(site, tmp_path, examples, "fuzzing", with_key=with_key, seed=1) == ""
    with site.client() as client:
        assert client.get("/livez").status_code == 200
