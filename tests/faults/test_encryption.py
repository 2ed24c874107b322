"""Encryption at rest: no plain byte on a disk, whatever ends or is killed, and exactly once as ever."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

import pyrage
import pytest
import sealed_world as w

LEFT_PLAIN = """
import sys
import os, shutil
from filemill.engine.emitting import Children
# One place forgotten: what `unpack` takes out is staged as it is.
Children._sealed = staticmethod(lambda sealer, path, staged: os.stat(shutil.copyfile(path, staged)).st_size)
from filemill.cli.main import main
sys.exit(main())
"""
DIES = """
import sys
import os
from filemill.engine.capturing import Capturing
Capturing._sealed = staticmethod(lambda captured, plaintext: os.kill(os.getpid(), 9))
from filemill.cli.main import main
sys.exit(main())
"""
QUOTED = """
import sys
from filemill.engine import worker
worker.seal_result = lambda result, sealer: result
from filemill.cli.main import main
sys.exit(main())
"""


def test_nothing_plain_is_left_and_all_comes_out(tmp_path: Path) -> None:
    with w.world(tmp_path / "w") as root:
        ended = w.once(root)
        assert ended.returncode == 1, ended.stderr
        assert w.leaks(root) == []
        assert w.wrong(root) == []
        assert w.CANARY not in ended.stdout + ended.stderr


def test_who_has_the_identity_reads_what_failed_and_who_has_not_reads_general_words(
    tmp_path: Path,
) -> None:
    with w.world(tmp_path / "w") as root:
        w.once(root)
        listed = json.loads(w.filemill(root, "dead", "ls", "--json").stdout)
        text = json.dumps(listed)
        assert f"boom over {w.CANARY}" in text
        which = _dead(root)
        shown = w.filemill(root, "dead", "show", which).stdout
        assert f"printed {w.CANARY}" in shown
        exported = w.filemill(root, "dead", "export", which, "--to", str(root / "made"))
        assert exported.returncode == 0, exported.stderr
        assert w.ROWS in [path.read_text() for path in (root / "made").rglob("*.csv")]
        given = w.filemill(root, "dead", "input", which)
        assert w.CANARY in given.stdout, given.stderr

        (root / "key").rename(root / "elsewhere")
        for words in (("dead", "ls"), ("dead", "show", which), ("held", "ls"), ("files", "ls")):
            said = w.filemill(root, *words)
            assert w.CANARY not in said.stdout + said.stderr, words
        assert "the identity is needed" in w.filemill(root, "dead", "ls").stdout
        refused = w.filemill(root, "dead", "input", which)
        assert refused.returncode == 2
        assert "identity" in refused.stderr
        assert w.leaks(root) == []


def test_scanners_are_given_what_is_in_the_file_and_say_it_to_nobody(tmp_path: Path) -> None:
    pytest.importorskip("yara_x")
    with w.world(tmp_path / "w") as root:
        (root / "rules.yar").write_text('rule bad { strings: $a = "eViL" condition: $a }\n')
        config = root / "filemill.yaml"
        config.write_text(config.read_text() + "scan: {yara: rules.yar}\n")
        (root / "in" / "good-evil.csv").write_text(f"id\n{w.CANARY} eViL\n")
        w.once(root)
        listed = json.loads(w.filemill(root, "files", "ls", "--json").stdout)["items"]
        states = {each["name"]: each["state"] for each in listed}
        assert states["good-evil.csv"] == "quarantined"
        assert {states["good.csv"], states["good-stay.csv"]} == {"done"}
        assert w.leaks(root) == []


def test_an_edited_file_is_encrypted_on_its_way(tmp_path: Path) -> None:
    with w.world(tmp_path / "w") as root:
        w.once(root)
        (root / "mended").write_text(f"id,n\n{w.CANARY},7\n")
        which = _dead(root)
        sent = w.filemill(root, "dead", "edit", which, "--with", str(root / "mended"), "--yes")
        assert sent.returncode == 0, sent.stderr
        assert w.leaks(root) == []
        w.once(root)
        assert w.leaks(root) == []
        kept = w.filemill(root, "verify", "--deep")
        assert kept.returncode == 0, kept.stdout + kept.stderr


@pytest.mark.parametrize("entry", [LEFT_PLAIN, QUOTED], ids=["child", "message"])
def test_the_canary_finds_one_place_that_was_forgotten(tmp_path: Path, entry: str) -> None:
    """The negative control, in every process that workers come of."""
    with w.world(tmp_path / "w") as root:
        (root / "sitecustomize.py").write_text(_patch(entry))
        os.environ["PYTHONPATH"] = str(root)
        try:
            w.once(root)
        finally:
            del os.environ["PYTHONPATH"]
        assert w.leaks(root) != []


def test_a_worker_that_dies_over_an_input_to_keep_leaves_nothing_plain(tmp_path: Path) -> None:
    with w.world(tmp_path / "w") as root:
        (root / "sitecustomize.py").write_text(_patch(DIES))
        os.environ["PYTHONPATH"] = str(root)
        try:
            ended = w.once(root)
        finally:
            del os.environ["PYTHONPATH"]
        assert ended.stdout.count("lost: killed by SIGKILL") == 2, ended.stdout
        assert w.leaks(root) == []


def _patch(entry: str) -> str:
    """The same in every process of the program."""
    lines = entry.partition("from filemill.cli.main")[0].strip().removeprefix("import sys\n")
    return "import sys\nif 'filemill.engine.' in ' '.join(sys.orig_argv):\n" + "".join(
        f"    {line}\n" for line in lines.splitlines()
    )


def _numbers(root: Path, role: str, many: int) -> list[int]:
    """Some of the durable actions of a clean run, by chance."""
    seed = int(os.environ.get("FILEMILL_SEED", str(random.randrange(1 << 30))))
    print(f"seed {seed}")
    chance = random.Random(seed)
    with w.world(root) as clean:
        w.once(clean, fail=f"{role}:100000:kill")
        total = sum(
            int(line.split()[-1])
            for line in (clean / "counts").read_text().splitlines()
            if line.startswith(role.removesuffix("*"))
        )
    assert total > 10, total
    return sorted(chance.sample(range(1, total + 1), many))


@pytest.mark.crash
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("role", "many"), [("server.*", 4), ("worker.*", 2)])
def test_killed_anywhere_nothing_plain_is_left_and_it_happens_once(
    tmp_path: Path, role: str, many: int
) -> None:
    for number in _numbers(tmp_path / "clean", role, many):
        with w.world(tmp_path / str(number)) as root:
            w.once(root, fail=f"{role}:{number}:kill")
            assert w.leaks(root, ended=False) == [], number
            w.once(root)
            assert w.leaks(root) == [], number
            if role == "server.*":
                assert w.wrong(root) == [], number
            else:  # every worker dies there, so some runs are charged for it
                sound = w.filemill(root, "verify", "--deep")
                assert sound.returncode == 0, (number, sound.stdout)


def test_a_wrong_key_is_the_machines_trouble_and_work_waits_for_the_right_one(
    tmp_path: Path,
) -> None:
    with w.world(tmp_path / "w") as root:
        w.once(root)
        own, config = (root / "key").read_text(), root / "filemill.yaml"
        other = pyrage.x25519.Identity.generate()
        (root / "key").write_text(f"{other}\n")
        refused = w.once(root)
        assert refused.returncode != 0
        assert "belongs to none of the `recipients`" in refused.stdout + refused.stderr

        recipient = str(w.identity_of(root).to_public())
        config.write_text(config.read_text().replace(str(_public(own)), str(other.to_public())))
        assert recipient == str(other.to_public())
        which = _dead(root)
        again = w.filemill(root, "dead", "redrive", which, "--from", "start", "--yes")
        assert again.returncode == 0, again.stderr
        waits = w.filemill(root, "run", "--once", "--no-web", "--timeout", "4s")
        assert waits.returncode == 75, waits.stdout + waits.stderr
        assert "encrypted for another identity" in waits.stdout + waits.stderr

        (root / "key").write_text(f"{other}\n{own}")
        (root / "in" / "good-new.csv").write_text(w.ROWS)
        w.once(root)
        assert f"boom over {w.CANARY}" in w.filemill(root, "dead", "show", _dead(root)).stdout
        published = (root / "out" / "good-new.csv.age").read_bytes()
        assert pyrage.decrypt(published, [other]).decode() == w.ROWS
        assert w.leaks(root) == []


def _public(identity: str) -> pyrage.x25519.Recipient:
    return pyrage.x25519.Identity.from_str(identity.strip()).to_public()


def _dead(root: Path) -> str:
    """The id of the only dead file."""
    listed = w.filemill(root, "files", "ls", "--json", "--state", "dead").stdout
    (file,) = json.loads(listed)["items"]
    return file["id"]


def test_damaged_content_is_said_to_be_corrupt(tmp_path: Path) -> None:
    with w.world(tmp_path / "w") as root:
        w.once(root)
        which = _dead(root)
        (content,) = (root / ".filemill" / "content").rglob(f"{which}.*")
        data = bytearray(content.read_bytes())
        data[-3] ^= 1
        content.write_bytes(data)
        found = w.filemill(root, "verify", "--deep")
        assert found.returncode == 1
        assert "corrupt" in found.stdout
        w.filemill(root, "dead", "redrive", which, "--from", "start", "--yes")
        w.once(root)
        shown = w.filemill(root, "dead", "show", which).stdout
        assert "content is corrupt" in shown, shown
        content.write_bytes(data[:-40])
        assert "encrypted it had" in w.filemill(root, "verify").stdout


@pytest.mark.crash
@pytest.mark.timeout(240)
def test_another_key_for_all_that_is_kept_whatever_is_killed(tmp_path: Path) -> None:
    with w.world(tmp_path / "w") as root:
        w.once(root)
        own, config = (root / "key").read_text(), root / "filemill.yaml"
        other = pyrage.x25519.Identity.generate()
        (root / "key").write_text(f"{other}\n{own}")
        config.write_text(config.read_text().replace(str(_public(own)), str(other.to_public())))
        seen = json.loads(w.filemill(root, "encryption", "status", "--json").stdout)
        assert seen["content"]["current"] == 0
        many = seen["content"]["other"]
        assert many >= 8
        for number in (3, 9, 14):
            killed = w.filemill(root, "encryption", "rotate", fail=f"command.*:{number}:kill")
            assert killed.returncode == -9, number
            assert w.leaks(root) == [], number
        done = w.filemill(root, "encryption", "rotate")
        assert done.returncode == 0, done.stderr
        (root / "key").write_text(f"{other}\n")
        seen = json.loads(w.filemill(root, "encryption", "status", "--json").stdout)
        assert seen["content"] == {"current": many, "other": 0, "plain": 0}
        sound = w.filemill(root, "verify", "--deep")
        assert sound.returncode == 0, sound.stdout
        shown = w.filemill(root, "dead", "show", _dead(root)).stdout
        assert f"boom over {w.CANARY}" in shown
        assert f"printed {w.CANARY}" in shown
        assert w.leaks(root) == []
        (root / "key").write_text(own)
        assert w.CANARY not in w.filemill(root, "dead", "ls").stdout
