"""The page that says whom to charge for a crash."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from filemill.engine.announcing import Announced, Page


def test_the_page_tells_one_run_from_a_group_and_from_nothing(tmp_path: Path) -> None:
    page = Page(os.fsencode(tmp_path / "1.page"))
    assert page.read().kind is Announced.NOTHING
    page.announce(7, ["runone"])
    assert (page.read().kind, page.read().job, page.read().run) == (Announced.RUN, 7, "runone")
    page.announce(8, ["runone", "runtwo"])
    assert (page.read().kind, page.read().run) == (Announced.GROUP, "")
    page.announce(8, [])
    assert page.read().kind is Announced.NOTHING


def test_progress_moves_the_sequence_and_nothing_else(tmp_path: Path) -> None:
    page = Page(os.fsencode(tmp_path / "1.page"))
    page.announce(7, ["runone"])
    before = page.read()
    page.progress(1.5)
    after = page.read()
    assert after.sequence == before.sequence + 1
    assert after.allowed == 1.5
    assert (after.job, after.kind, after.run) == (before.job, before.kind, before.run)


def test_what_a_killed_process_announced_can_still_be_read(tmp_path: Path) -> None:
    path = tmp_path / "1.page"
    code = (
        "import os, signal, sys\n"
        "from filemill.engine.announcing import Page\n"
        "Page(os.fsencode(sys.argv[1])).announce(3, ['guilty'])\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert ended.returncode == -9
    said = Page(os.fsencode(path)).read()
    assert (said.job, said.kind, said.run) == (3, Announced.RUN, "guilty")
