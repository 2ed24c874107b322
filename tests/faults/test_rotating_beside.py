"""Another key for all that is kept while the server works: nothing waits, nothing is lost, whatever is killed."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pyrage
import pytest
import sealed_world as w

import serving
from filemill.ledgers.sqlite.lock import references_stay
from filemill.service.asking import look

KEPT = 150
"""Files from before."""
LIVE = 40
"""Files that come meanwhile."""


def environ(root: Path) -> dict[str, str]:
    return os.environ | {"TMPDIR": str(root / "tmp")}


def rekeyed(root: Path) -> pyrage.x25519.Identity:
    """A world with content, whose configuration names another key from now on; the file has both."""
    for number in range(KEPT):
        (root / "in" / f"good-{number:03}.csv").write_text(w.ROWS.replace("1", str(number)))
    w.once(root)
    own, config = (root / "key").read_text(), root / "filemill.yaml"
    other = pyrage.x25519.Identity.generate()
    (root / "key").write_text(f"{other}\n{own}")
    public = pyrage.x25519.Identity.from_str(own.strip()).to_public()
    config.write_text(config.read_text().replace(str(public), str(other.to_public())))
    return other


def counts(root: Path) -> dict[str, int]:
    return json.loads(w.filemill(root, "encryption", "status", "--json").stdout)["content"]


@contextlib.contextmanager
def coming(root: Path):
    """Files come, one after the other, until the block ends; yields the list of their names."""
    names: list[str] = []
    ended = threading.Event()

    def drop() -> None:
        for number in range(LIVE):
            name = f"good-live-{number:03}.csv"
            (root / "tmp" / name).write_text(w.ROWS)
            (root / "tmp" / name).rename(root / "in" / name)
            names.append(name)
            if ended.wait(0.05):
                return

    thread = threading.Thread(target=drop)
    thread.start()
    try:
        yield names
    finally:
        ended.set()
        thread.join()


def rotating(root: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "filemill", "encryption", "rotate"],
        cwd=root,
        env=environ(root),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def judge(root: Path, other: pyrage.x25519.Identity, names: list[str]) -> None:
    """Only the new identity is needed, all is whole, and each file came out once."""
    (root / "key").write_text(f"{other}\n")
    seen = counts(root)
    assert (seen["other"], seen["plain"]) == (0, 0)
    assert seen["current"] >= KEPT
    sound = w.filemill(root, "verify", "--deep")
    assert sound.returncode == 0, sound.stdout
    shown = w.filemill(root, "dead", "ls", "--json").stdout
    assert f"boom over {w.CANARY}" in shown
    out = {path.name for path in (root / "out").rglob("*.age")}
    assert out >= {f"{name}.age" for name in names}
    assert not [name for name in out if "-2." in name]
    dead = json.loads(w.filemill(root, "files", "ls", "--json", "--state", "dead").stdout)["items"]
    assert [each["name"] for each in dead] == ["bad.csv"]
    assert w.leaks(root) == []


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_key_is_changed_while_the_server_works(tmp_path: Path) -> None:
    with w.world(tmp_path / "w") as root:
        other = rekeyed(root)
        with serving.serving(root, environ(root)), coming(root) as names:
            command = rotating(root)
            told = []
            while command.poll() is None:
                seen = look(str(root / ".filemill"))
                told.append(seen and seen.rotation)
                time.sleep(0.02)
            said = command.communicate()[0].decode()
            assert command.returncode == 0, said
            assert any(each and each.done <= each.of for each in told), told
            assert w.CANARY not in said
            serving.until(lambda: len(names) == LIVE)
            serving.until(lambda: all((root / "out" / f"{name}.age").exists() for name in names))
            status = json.loads(w.filemill(root, "status", "--json").stdout)["server"]
            assert "rotation" not in status
        judge(root, other, names)
        audit = w.filemill(root, "audit", "ls", "--json").stdout
        assert audit.count('"rotate"') == 1


@pytest.mark.crash
@pytest.mark.slow
@pytest.mark.timeout(400)
def test_whatever_is_killed_meanwhile_it_goes_on_where_it_was(tmp_path: Path) -> None:
    with w.world(tmp_path / "w") as root:
        other = rekeyed(root)
        with serving.serving(root, environ(root)), coming(root) as names:
            for number in (1, 5, 90, 160):
                killed = w.filemill(root, "encryption", "rotate", fail=f"command.*:{number}:kill")
                assert killed.returncode == -9, (number, killed.stdout)
                assert w.leaks(root, ended=False) == [], number
        server = serving.begin(root, environ(root) | {"FILEMILL__WEB__LISTEN": "off"}, root / "log")
        command = None
        try:
            serving.until(lambda: b"Ready in" in (root / "log").read_bytes())
            command = rotating(root)
            time.sleep(0.5)
        finally:
            server.kill()
            server.wait()
            if command is not None:
                command.communicate()
        assert w.leaks(root, ended=False) == []
        with serving.serving(root, environ(root)):
            done = w.filemill(root, "encryption", "rotate")
            assert done.returncode == 0, done.stdout + done.stderr
            serving.until(lambda: all((root / "out" / f"{name}.age").exists() for name in names))
        judge(root, other, names)


def test_no_backup_is_made_meanwhile_and_none_beside_a_backup(tmp_path: Path) -> None:
    """What the snapshot names would go before it is copied."""
    with w.world(tmp_path / "w") as root:
        w.once(root)
        with references_stay(str(root / ".filemill"), but_ours=True):
            refused = w.filemill(root, "backup", str(tmp_path / "b"))
            assert refused.returncode == 75, refused.stderr
            assert "encrypted anew" in refused.stderr
        with references_stay(str(root / ".filemill")):
            assert w.filemill(root, "encryption", "rotate").returncode == 75
            assert w.filemill(root, "backup", str(tmp_path / "b")).returncode == 0


def test_a_server_that_encrypts_for_others_is_not_rotated(tmp_path: Path) -> None:
    with w.world(tmp_path / "w") as root, serving.serving(root, environ(root)):
        config = root / "filemill.yaml"
        other = pyrage.x25519.Identity.generate()
        (root / "key").write_text(f"{other}\n{(root / 'key').read_text()}")
        text = config.read_text()
        start = text.index("age1")
        config.write_text(text.replace(text[start : start + 62], str(other.to_public())))
        refused = w.filemill(root, "encryption", "rotate")
        assert refused.returncode == 2, refused.stdout
        assert "start it again" in refused.stderr
