from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from filemill.config import ConfigProblems, Loaded, load
from filemill.config.rendering import render
from filemill.ports.registry import Registry


class Project:
    """A folder with a configuration; the current folder, so that paths are shown short."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.registry = Registry()

    def write(self, text: str, name: str = "filemill.yaml") -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text).lstrip("\n"))
        return path

    def load(self, text: str | None = None, **kwargs) -> Loaded:
        if text is not None:
            self.write(text)
        kwargs.setdefault("environ", {})
        return load(str(self.root / "filemill.yaml"), registry=self.registry, **kwargs)

    def said(self, text: str | None = None, **kwargs) -> str:
        """Everything that is said of a configuration."""
        try:
            return render(self.load(text, **kwargs).warnings)
        except ConfigProblems as error:
            return error.render()

    def codes(self, text: str | None = None, **kwargs) -> list[str]:
        try:
            problems = self.load(text, **kwargs).warnings
        except ConfigProblems as error:
            problems = error.problems
        return [problem.code for problem in problems]


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "inbox").mkdir()
    return Project(tmp_path)
