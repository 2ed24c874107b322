"""The real command in a folder of its own."""

import pytest
from shell import Shell


@pytest.fixture
def filemill(tmp_path):
    return Shell(tmp_path)
