"""The page that says whom to charge for a crash."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from filemill.engine.announcing import CAPACITY, Announced, Page, announced_before
from filemill.engine.dispatching import GROUP

ONE, TWO = "aaaaaaaaaaaaa", "bbbbbbbbbbbbb"


def test_the_page_tells_one_run_from_a_group_and_from_nothing(tmp_path: Path) -> None:
    page = Page(os.fsencode(tmp_path / "1.page"))
    assert page.read().kind is Announced.NOTHING
    page.announce(7, [ONE])
    assert (page.read().kind, page.read().job, page.read().runs) == (Announced.RUN, 7, (ONE,))
    page.announce(8, [ONE, TWO])
    assert (page.read().kind, page.read().runs) == (Announced.GROUP, (ONE, TWO))
    page.announce(8, [])
    assert page.read().kind is Announced.NOTHING


def test_progress_moves_the_sequence_and_nothing_else(tmp_path: Path) -> None:
    page = Page(os.fsencode(tmp_path / "1.page"))
    page.announce(7, [ONE])
    before = page.read()
    page.progress(1.5)
    after = page.read()
    assert after.sequence == before.sequence + 1
    assert after.allowed == 1.5
    assert (after.job, after.runs) == (before.job, before.runs)


def test_what_a_killed_process_announced_can_still_be_read(tmp_path: Path) -> None:
    path = tmp_path / "1.page"
    code = (
        "import os, signal, sys\n"
        "from filemill.engine.announcing import Page\n"
        "Page(os.fsencode(sys.argv[1])).announce(3, ['guiltyguilty1'])\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert ended.returncode == -9
    said = Page(os.fsencode(path)).read()
    assert (said.job, said.kind, said.runs) == (3, Announced.RUN, ("guiltyguilty1",))


def test_every_batch_fits_on_a_page() -> None:
    assert GROUP <= CAPACITY


def test_a_restarted_server_reads_all_pages_once(tmp_path: Path) -> None:
    Page(os.fsencode(tmp_path / "1.page")).announce(3, [ONE])
    Page(os.fsencode(tmp_path / "2.page")).announce(4, [TWO, TWO])
    assert sorted(announced_before(os.fsencode(tmp_path))) == [ONE, TWO, TWO]
    assert list(announced_before(os.fsencode(tmp_path))) == []
    assert list(announced_before(os.fsencode(tmp_path / "nowhere"))) == []
