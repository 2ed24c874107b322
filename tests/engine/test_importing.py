"""Modules as their revision has them, wherever the files beside the configuration have got to by now."""

import importlib
import sys
import traceback

import pytest

from filemill.engine.importing import KeptModules


@pytest.fixture
def importing(tmp_path, monkeypatch):
    """Installs a finder for texts; all it brought is gone afterwards."""
    before, finders = set(sys.modules), list(sys.meta_path)
    monkeypatch.syspath_prepend(str(tmp_path))

    def install(texts):
        KeptModules(str(tmp_path), {name: text.encode() for name, text in texts.items()}).install()

    yield install
    sys.meta_path[:] = finders
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_the_kept_text_counts_and_not_the_one_on_the_disk(importing, tmp_path):
    (tmp_path / "kept_one.py").write_text("VALUE = 'on the disk'\n")
    importing({"kept_one.py": "VALUE = 'kept'\n"})
    module = importlib.import_module("kept_one")
    assert module.VALUE == "kept"
    assert module.__file__ == str(tmp_path / "kept_one.py")
    assert not (tmp_path / "__pycache__").exists()


def test_packages_and_what_only_lies_on_the_disk_go_together(importing, tmp_path):
    (tmp_path / "kept_package").mkdir()
    (tmp_path / "kept_package" / "loose.py").write_text("VALUE = 'loose'\n")
    importing(
        {
            "kept_package/__init__.py": "from kept_package import inner\n",
            "kept_package/inner.py": "from . import loose\nVALUE = loose.VALUE\n",
        }
    )
    assert importlib.import_module("kept_package").inner.VALUE == "loose"


def test_a_traceback_shows_the_line_that_ran(importing, tmp_path):
    (tmp_path / "kept_two.py").write_text("# saved anew\n# and longer\n")
    importing({"kept_two.py": "def fail():\n    raise ValueError('this one')  # as it ran\n"})
    with pytest.raises(ValueError, match="this one") as caught:
        importlib.import_module("kept_two").fail()
    assert "# as it ran" in "".join(traceback.format_exception(caught.value))


def test_what_python_brings_along_stays_python_s_own(importing):
    importing({"sys.py": "VALUE = 1\n"})
    assert not hasattr(importlib.import_module("sys"), "VALUE")
