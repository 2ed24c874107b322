"""`filemill upload` of large files: parts of them outlive connections, the command, and the server."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import signal
import subprocess

import pytest
from gateways import Gateway
from senders import environ_of, files_named
from sites import Site

import serving
from filemill.client import parts
from filemill.client.address import Address
from filemill.client.files import look_at
from filemill.client.parcels import Entrance
from filemill.client.sending import Sending

LARGE = """\
version: 1
sources: {upload: {http: /upload}}
tags: {any: {name: "*"}}
pipelines: {copy: {when: any, steps: [{write: out}]}}
sinks: {out: {folder: out}}
"""


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    with Site(tmp_path_factory.mktemp("large"), LARGE).running() as made:
        yield made


def sent_in_parts(site, path, port, *, counted=lambda _: None):
    """As the command sends a large file, by the same code, with a file that is not as large."""
    address = Address(f"http://127.0.0.1:{port}", site.key, loopback=True)
    sending = Sending(
        address, Entrance("upload", "/upload"), look_at([os.fsencode(path)]),
        tags=["big:yes"], again=False, patience=60.0, counted=counted, tell=lambda _: None,
    )  # fmt: skip
    asyncio.run(sending.send())
    return sending.outcomes[0]


@pytest.fixture
def small_is_large(monkeypatch):
    monkeypatch.setattr(parts, "LARGE", 1 << 20)


def test_a_large_file_goes_on_where_the_connection_broke(large, tmp_path, small_is_large):
    path = tmp_path / "parts.bin"
    path.write_bytes(os.urandom(12 << 20))
    with Gateway(large.port) as gateway:
        gateway.cuts = lambda number: 3 << 20 if number < 3 else None
        outcome = sent_in_parts(large, path, gateway.port)
        assert outcome.error is None
        assert outcome.receipt.fresh
        assert gateway.cut == 3
        assert gateway.passed < (12 << 20) + (3 << 20), "what had arrived was sent again"
    serving.until((large.root / "out" / "parts.bin").exists)
    assert (large.root / "out" / "parts.bin").read_bytes() == path.read_bytes()
    again = sent_in_parts(large, path, large.port)
    assert not again.receipt.fresh
    assert again.receipt.id == outcome.receipt.id


@pytest.mark.crash
def test_a_large_file_outlives_its_sender_and_the_server(tmp_path):
    """The command is killed in the middle, then the server; the same command again goes on."""
    made = Site(tmp_path, LARGE)
    path = tmp_path / "big.bin"
    path.write_bytes(os.urandom(1 << 20) * 66)
    words = [*serving.FILEMILL, "upload", "big.bin", "--json"]
    log = tmp_path / "server.log"

    def begin():
        server = serving.begin(tmp_path, made.environ, log)
        serving.until(made.answers)
        return server

    server = begin()
    try:
        with Gateway(made.port, rate=80 << 20) as gateway:
            environ = environ_of(
                {"FILEMILL_URL": f"http://127.0.0.1:{gateway.port}", "FILEMILL_KEY": made.key}
            )
            sender = subprocess.Popen(words, cwd=tmp_path, env=environ)
            serving.until(lambda: gateway.passed > 20 << 20)
            sender.kill()
            sender.wait()
            server.kill()
            server.wait()
            serving.until(lambda: not made.answers())
            server = begin()
            before = gateway.passed
            done = subprocess.run(
                words,
                cwd=tmp_path,
                env=environ,
                capture_output=True,
                text=True,
                timeout=100,
                check=False,
            )
        assert done.returncode == 0, done.stderr
        assert gateway.passed - before < 66 << 20, "all of it was sent again"
        (file,) = json.loads(done.stdout)["files"]
        assert file["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        assert len(files_named(made, "big.bin")) == 1
    finally:
        with contextlib.suppress(ProcessLookupError):
            server.send_signal(signal.SIGINT)
        server.wait(serving.LONG)
        path.unlink()


def test_ctrl_c_says_what_is_left(large, tmp_path):
    (tmp_path / "slow.bin").write_bytes(os.urandom(8 << 20))
    with Gateway(large.port, rate=1 << 20) as gateway:
        environ = environ_of(
            {"FILEMILL_URL": f"http://127.0.0.1:{gateway.port}", "FILEMILL_KEY": large.key}
        )
        sender = subprocess.Popen(
            [*serving.FILEMILL, "upload", "slow.bin"],
            cwd=tmp_path, env=environ, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        serving.until(lambda: gateway.passed > 1 << 20)
        sender.send_signal(signal.SIGINT)
        _, err = sender.communicate(timeout=30)
    assert sender.returncode == 130, err
    assert "1 file left: the same command again goes on" in err


def test_a_file_that_changes_meanwhile_is_not_taken_as_something_else(
    large, tmp_path, small_is_large
):
    path = tmp_path / "changing.bin"
    path.write_bytes(b"x" * (8 << 20))

    def counted(count):
        if count and path.stat().st_size > 100:
            path.write_bytes(b"y" * 100)

    outcome = sent_in_parts(large, path, large.port, counted=counted)
    assert outcome.receipt is None
    assert "shorter" in outcome.error.message
    assert files_named(large, "changing.bin") == []
