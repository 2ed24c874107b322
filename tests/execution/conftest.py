from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from milling import Mill


@pytest.fixture
def mill(tmp_path: Path) -> Iterator[Mill]:
    sys.path.insert(0, str(tmp_path))
    before = set(sys.modules)
    sys.dont_write_bytecode = True
    yield Mill(tmp_path)
    sys.path.remove(str(tmp_path))
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and str(tmp_path) in str(
            sys.modules[name].__file__
        ):
            del sys.modules[name]
