"""A tus client that others wrote goes on by itself, whoever is killed meanwhile."""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from sites import Site, web_child

import serving

CLIENT = "tus-js-client@4.3.1"
HERE = Path(__file__).parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "filemill-tests"
SIZE = 8 << 20


def lacking(why):
    """Skip, or fail where all is to be tested."""
    if os.environ.get("CI") == "true":
        pytest.fail(why)
    pytest.skip(why)


@pytest.fixture(scope="module")
def modules():
    """Where the client is installed: a folder outside the tree, filled once."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        lacking("node and npm are needed: apt install nodejs npm")
    place = CACHE / CLIENT.replace("@", "-")
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        making = place.parent / f"{place.name}.{os.getpid()}"
        making.mkdir()
        command = [npm, "install", "--ignore-scripts", "--no-audit", "--no-fund", CLIENT]
        made = subprocess.run(
            [*command, "--prefix", making],
            cwd=making,
            capture_output=True,
            timeout=120,
            check=False,
        )
        if made.returncode:
            shutil.rmtree(making)
            lacking(f"npm could not install {CLIENT}: {made.stderr.decode()[-300:]}")
        with contextlib.suppress(OSError):  # somebody else was faster
            making.rename(place)
    return place / "node_modules"


@pytest.mark.crash
def test_a_tus_client_goes_on_behind_two_kills(tmp_path, modules):
    site = Site(tmp_path)
    data = (os.urandom(SIZE // 2 // 64).hex().encode() + b"\n") * 64
    file = tmp_path / "large.txt"
    file.write_bytes(data)
    server = serving.begin(tmp_path, site.environ, tmp_path / "first.log")
    client = None
    try:
        serving.until(site.answers)
        words = [site.url, site.key, file, "other", modules]
        client = subprocess.Popen(
            ["node", HERE / "tus_client.cjs", *words], stdout=subprocess.PIPE, text=True
        )
        for _ in range(5):
            assert client.stdout.readline().startswith("accepted")
        os.kill(web_child(site), signal.SIGKILL)
        for _ in range(5):
            assert client.stdout.readline().startswith("accepted")
        server.kill()
        server.wait()
        time.sleep(0.3)
        with site.running():
            said = client.communicate(timeout=60)[0].splitlines()
            assert said[-1] == "done", said[-3:]
            accepted = [int(line.split()[1]) for line in said if line.startswith("accepted")]
            assert accepted == sorted(accepted)
            serving.until((tmp_path / "out" / "large.txt").exists)
            assert (tmp_path / "out" / "large.txt").read_bytes() == data
    finally:
        for process in (server, client):
            if process is not None and process.poll() is None:
                process.kill()
                process.wait()
