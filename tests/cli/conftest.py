"""The real command in a folder of its own."""

import pytest
import stories
from shell import Shell


@pytest.fixture
def filemill(tmp_path, request):
    """With `INSIDE` in its module, commands that look or ask are done in this process."""
    return Shell(tmp_path, inside=getattr(request.module, "INSIDE", False))


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """A project whose ledger has one file of every kind; for tests that only read it."""
    root = tmp_path_factory.mktemp("told")
    stories.tell(root)
    return root


@pytest.fixture
def ask(told, filemill):
    filemill.folder = told
    return filemill
