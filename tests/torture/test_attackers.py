"""TLS and slow clients, judged by the programs that others wrote for it: testssl.sh and slowhttptest."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from attackers import GoodClient, program, resident, sockets

sys.path.append(str(Path(__file__).resolve().parents[1] / "web"))

CONNECTIONS = 1_000
"""More than one address may have."""
BUFFERED = 400 << 10
"""Bytes that one connection may cost: its TLS, and an answer that nobody takes."""
BURST = 5.0
"""Seconds that anybody else may wait, at the very worst, on a machine that is busy with other tests."""
ABOUT_THE_CERTIFICATE = {
    "cert_revocation",  # whoever signs a test's certificate publishes no list and answers no questions
}
"""Findings of testssl.sh that are of the certificate that the test makes, and not of the server."""
ATTACKS = {
    # Each: path, with a key, seconds it may last, words of slowhttptest.
    "slow heads": ("/livez", False, 120, ["-H", "-i", "2"]),
    "slow bodies of strangers": ("/upload", False, 90, ["-B", "-i", "2", "-t", "POST"]),
    "slow bodies": ("/upload?name=slow.csv", True, 150, ["-B", "-i", "2", "-t", "POST"]),
    "slow bodies that no file is": ("/dead/redrive", True, 150, ["-B", "-i", "2", "-t", "POST"]),
    "slow readers": (
        "/openapi.json",
        True,
        180,
        ["-X", "-w", "10", "-y", "20", "-n", "3", "-z", "16", "-k", "5"],
    ),
    "ranges": ("/livez", True, 60, ["-R", "-a", "1", "-b", "3000", "-t", "GET"]),
}


@pytest.fixture(scope="module")
def secured(tmp_path_factory):
    from test_tls import Secured

    with Secured(tmp_path_factory.mktemp("attacked")).running() as site:
        yield site


@pytest.mark.timeout(1200)
def test_testssl_finds_nothing_above_low(secured, tmp_path, record_property):
    found = tmp_path / "found.json"
    words = ["--quiet", "--color", "0", "--warnings", "off", "--jsonfile", str(found)]
    words += ["--add-ca", str(secured.authority.path), f"127.0.0.1:{secured.port}"]
    done = subprocess.run(
        [program("testssl", "testssl.sh"), *words], capture_output=True, text=True, check=False
    )
    findings = json.loads(found.read_text())
    assert len(findings) > 80, done.stdout[-2000:]
    bad = [
        f"{each['id']} {each['severity']}: {each['finding']}"
        for each in findings
        if each["severity"] in {"MEDIUM", "HIGH", "CRITICAL", "FATAL"}
        and each["id"].partition(" ")[0] not in ABOUT_THE_CERTIFICATE
    ]
    record_property("findings", len(findings))
    assert bad == []


@pytest.mark.timeout(600)
@pytest.mark.parametrize("attack", ATTACKS)
def test_slow_clients_keep_nobody_out(secured, attack, record_property):
    from sites import web_child

    path, with_key, patience, words = ATTACKS[attack]
    child = web_child(secured)
    assert child is not None
    before, held = sockets(child), resident(child)
    seen: list[tuple[float, int, int]] = []
    began = time.monotonic()

    def look() -> None:
        seen.append((time.monotonic() - began, sockets(child) - before, resident(child) - held))

    command = [program("slowhttptest", "slowhttptest"), "-c", str(CONNECTIONS), "-r", "200"]
    command += ["-l", str(patience), "-p", "3", "-u", f"{secured.url}{path}", *words]
    if with_key:
        # It has no option for another header; a cookie takes one along.
        command += ["-j", f"a=b\r\nAuthorization: Bearer {secured.key}"]
    with GoodClient(child, secured.port, secured.trusting(), look) as client:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        ended = time.monotonic() - began
        time.sleep(10)
    most = max(count for _, count, _ in seen)
    grown = max(size for _, _, size in seen)
    late = [count for at, count, _ in seen if ended - 5 < at < ended]
    after = [count for at, count, _ in seen if at > ended + 5]
    record_property("most connections", most)
    record_property("grown by", grown)
    record_property("slowest answer", round(max(client.times), 3))
    record_property("seconds", round(ended, 1))
    said = done.stdout[-1500:].replace(secured.key, "KEY")
    assert most > (0 if attack == "ranges" else 100), said
    assert most <= 512 + 10, "one address has no more"
    assert client.failures == []
    # While hundreds of connections are made and each asks for the largest answer, somebody may wait a moment.
    assert max(client.times) < BURST, sorted(client.times)[-5:]
    assert sum(each > 1 for each in client.times) <= 3, sorted(client.times)[-5:]
    assert grown < 512 * BUFFERED
    # It ends before its time when the server has ended all of its connections; else it still holds its ends of them.
    assert "No open connections left" in said or min(late) <= 5, (late, said)
    assert after[-1] <= 5
