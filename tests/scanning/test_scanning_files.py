"""Files are scanned before anything parses them: end to end, with a real daemon that is killed, stopped and away."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable

import pytest
from world import BAD, MARKED, World, tarred, zipped

from clamav import Clamd, Pretender, answering
from serving import until

pytestmark = pytest.mark.timeout(180)
Make = Callable[..., World]
RULES = 'rule marker {{ strings: $m = "{}" condition: $m }}'


def clamd(address: str, more: str = "") -> str:
    return f"{{clamd: '{address}', timeout: 2s, max_size: 1MB{more}}}"


def test_what_is_infected_is_quarantined_and_never_parsed(project: Make, daemon: Clamd) -> None:
    world = project(clamd(daemon.unix))
    world.start()
    world.drop("good.txt", b"fine\n")
    world.drop("good-too.txt", b"fine\n")
    world.drop("bad.txt", BAD)
    world.drop("marked.txt", MARKED)
    world.drop("bad.zip", zipped(a_txt=b"fine\n", b_txt=BAD))
    world.drop("bad.tar.gz", tarred(inner_zip=zipped(deep_txt=BAD)))
    world.drop("good.zip", zipped(child_txt=b"fine, too\n"))
    world.drop("large.txt", b"x" * 1_000_001)
    states = world.settled(9)
    assert states == {"done": 4, "quarantined": 4, "held": 1}
    assert world.published == {"good.txt", "good-too.txt", "child.txt"}
    shown = world.show("bad.txt")
    assert "Eicar" in str(shown)
    assert "ClamAV" in str(shown)
    assert "ClamAV" in str(world.show("good.txt"))
    # Its type is not even looked at.
    assert '"media":""' in world.say("files", "show", world.ids()["bad.zip"], "--json")
    assert "over `max_size`" in world.say("held", "ls")

    # A quarantined file goes on only when a person insists, and is not caught again.
    bad = world.ids()["bad.txt"]
    assert "--unsafe" in world.say("held", "release", bad, code=2)
    assert world.files()["bad.txt"] == "quarantined"
    world.say("held", "release", bad, "--unsafe", "--reason", "a test")
    until(lambda: world.files()["bad.txt"] == "done")
    assert "bad.txt" in world.published
    assert "released" in str(world.show("bad.txt"))
    # What is too large is scanned again by a release, and goes on only by an unsafe one.
    large = world.ids()["large.txt"]
    world.say("held", "release", large)
    until(lambda: world.files()["large.txt"] == "held")
    world.say("held", "release", large, "--unsafe")
    until(lambda: world.files()["large.txt"] == "done")
    world.stop()


def test_children_are_scanned_too(project: Make) -> None:
    world = project("[{yara: rules/*.yar}]")
    (world.root / "rules").mkdir()
    (world.root / "rules" / "m.yar").write_text(RULES.format(MARKED.split()[2].decode()))
    for place in ("deep", "deeper"):
        inner = tarred(fine_txt=b"fine %s\n" % place.encode(), marked_txt=MARKED)
        world.drop(f"{place}.zip", zipped(inner_tar_gz=inner, other_txt=b"other\n"))
    world.configure("[{yara: rules/*.yar}]")
    said = world.say("run", "--once", code=1)
    assert "marker (yara, YARA-X" in said
    bad = {name for name, state in world.files().items() if state == "quarantined"}
    assert len(bad) == 2
    assert all("marked" in name for name in bad)
    assert sorted(world.published) == ["fine.txt", "other.txt"]


def test_while_the_scanner_is_away_files_wait_and_go_on_by_themselves(
    project: Make, daemon: Clamd
) -> None:
    daemon.kill()
    world = project(clamd(daemon.tcp))
    world.start()
    world.drop("good.txt", b"fine\n")
    world.drop("bad.txt", BAD)
    until(lambda: "scanner" in world.troubles())
    assert daemon.tcp in world.troubles()["scanner"]
    assert set(world.files().values()) == {"live"}
    assert not world.published
    assert "scanner clamd" in world.say("doctor", code=1)
    daemon.start()
    assert world.settled(2) == {"done": 1, "quarantined": 1}
    until(lambda: not world.troubles())  # said a moment behind the files
    assert "EICAR" in world.say("doctor")
    world.stop()


def test_a_daemon_killed_again_and_again_loses_nothing_and_passes_nothing(
    project: Make, daemon: Clamd
) -> None:
    world = project(clamd(daemon.unix))
    world.start()
    ended = threading.Event()

    def harass() -> None:
        while not ended.is_set():
            time.sleep(0.15)
            daemon.kill()
            time.sleep(0.1)
            daemon.start()

    harasser = threading.Thread(target=harass)
    harasser.start()
    try:
        for number in range(120):
            bad = number % 4 == 0
            padding = b"line %d\n" % number * 2000
            world.drop(f"{number}.txt", (MARKED if bad else b"fine\n") + padding)
        time.sleep(3)
    finally:
        ended.set()
        harasser.join()
    states = world.settled(120)
    # A file that was in hand alone three times when the daemon died is held, which is no loss; none passed.
    assert states["quarantined"] + states["done"] + states["held"] == 120
    assert states["done"] > 60
    assert not {f"{n}.txt" for n in range(0, 120, 4)} & world.published
    world.stop()


def test_a_daemon_that_stands_still(project: Make, daemon: Clamd) -> None:
    world = project(clamd(daemon.unix))
    world.start()
    daemon.send(signal.SIGSTOP)
    world.drop("good.txt", b"fine\n")
    world.drop("bad.txt", BAD)
    until(lambda: "scanner" in world.troubles())
    assert not world.published
    daemon.send(signal.SIGCONT)
    assert world.settled(2) == {"done": 1, "quarantined": 1}
    world.stop()


@pytest.mark.parametrize("alive", [True, False])
def test_a_daemon_that_answers_nonsense(project: Make, alive: bool) -> None:
    fake = Pretender(answering(b"stream: maybe\0", alive=alive))
    try:
        world = project(clamd(fake.address))
        world.start()
        world.drop("a.txt", b"fine\n")
        world.drop("b.txt", b"fine, too\n")
        if alive:  # the files are at fault: each is asked about three times alone
            assert world.settled(2) == {"held": 2}
            assert "scan failed" in world.say("held", "ls")
        else:
            until(lambda: "scanner" in world.troubles())
        assert not world.published
        world.stop()
    finally:
        fake.close()


def test_a_server_killed_while_it_scans(project: Make, daemon: Clamd) -> None:
    world = project(clamd(daemon.unix))
    daemon.send(signal.SIGSTOP)
    world.start()
    for number in range(20):
        world.drop(f"{number}.txt", BAD + b"%d" % number if number % 2 else b"fine %d\n" % number)
    until(lambda: len(world.files()) == 20)
    world.kill()
    daemon.send(signal.SIGCONT)
    world.start()
    assert world.settled(20) == {"done": 10, "quarantined": 10}
    assert world.published == {f"{n}.txt" for n in range(0, 20, 2)}
    world.stop()


def test_a_reload_turns_scanning_on_and_off(project: Make, daemon: Clamd) -> None:
    world = project("[]")
    world.start()
    world.drop("before.txt", BAD)
    assert world.settled(1) == {"done": 1}
    world.configure(clamd(daemon.unix))
    world.say("reload")
    world.drop("scanned.txt", BAD)
    assert world.settled(2) == {"done": 1, "quarantined": 1}
    world.stop()


def test_one_of_two_people_releases_nothing(project: Make, daemon: Clamd) -> None:
    world = project(clamd(daemon.unix), more="quarantine: {release: two-people}")
    world.start()
    world.drop("bad.txt", BAD)
    world.settled(1)
    bad = world.ids()["bad.txt"]
    for _ in range(2):  # the same person twice is one
        assert "second person" in world.say("held", "release", bad, "--unsafe")
        assert world.files()["bad.txt"] == "quarantined"
    world.stop()
    assert "running server" in world.say("held", "release", bad, "--unsafe", code=2)
