"""A project's modules, imported fresh for each test."""

import sys
from textwrap import dedent

import pytest


@pytest.fixture
def modules(tmp_path, monkeypatch):
    """Write modules into a folder on the import path."""
    monkeypatch.syspath_prepend(str(tmp_path))
    written = []

    def write(**texts):
        for name, text in texts.items():
            (tmp_path / f"{name}.py").write_text(dedent(text))
            written.append(name)
        return tmp_path

    yield write
    for name in written:
        sys.modules.pop(name, None)
