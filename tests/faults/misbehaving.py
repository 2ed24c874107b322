"""Steps that do to their process whatever a step can do, and what is left of the others then.

The verb is the first word of a file's only line; `fine` files do nothing.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import apsw
import msgspec

from filemill.model.runs import Failure

CONFIG = """\
version: 1
workers: 2
worker_memory: 400MiB
max_work: 20MiB
sources: {inbox: {folder: inbox, settle: 5ms, settle_unproven: 20ms}}
tags: {log: {name: "*.log"}}
pipelines:
  all:
    when: log
    retry: {attempts: 2, min: 10ms, max: 20ms}
    steps:
      - read_lines
      - misstep.act:
        timeout: 2s
      - write: out
sinks: {out: {folder: out}}
"""
STEPS = '''\
import ctypes, gc, io, locale, os, resource, signal, subprocess, sys, tempfile, threading, time


def act(row: dict) -> dict:
    verb = row["line"].split()[0]
    if verb.startswith("once_"):
        verb = "fine" if os.path.exists("misbehaved") else verb.removeprefix("once_")
        open("misbehaved", "w").close()
    return globals()[f"do_{verb}"](row) or row


def do_fine(row):
    """Say what a run finds of its process."""
    time.tzset()
    return row | {"line": " ".join(["fine", *found()])}


def found():
    if os.getcwd() != os.path.dirname(os.path.abspath(__file__)):
        yield "cwd"
    mask = os.umask(0o22)
    os.umask(mask)
    if mask == 0o777:
        yield "umask"
    if "MISSTEP" in os.environ or "PATH" not in os.environ or os.environ.get("TZ") == "Asia/Tokyo":
        yield "environment"
    if "/misstep" in sys.path:
        yield "path"
    if locale.setlocale(locale.LC_NUMERIC) == "C.UTF-8":
        yield "locale"
    if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield "handler"
    if signal.pthread_sigmask(signal.SIG_BLOCK, ()):
        yield "mask"
    if signal.getitimer(signal.ITIMER_REAL)[0]:
        yield "timer"
    if resource.getrlimit(resource.RLIMIT_NOFILE)[0] < 100:
        yield "limits"
    if not gc.isenabled():
        yield "gc"
    if sys.stdout.closed or sys.stdout.fileno() != 1:
        yield "stdout"
    if os.fstat(1).st_ino != os.fstat(2).st_ino:
        yield "descriptors"


def do_raise(row):
    raise RuntimeError("raised \\x1b[31mred\\x1b[0m")


def do_interrupt(row):
    raise KeyboardInterrupt("from the step")


def do_exit(row):
    sys.exit("left by sys.exit")


def do_junk(row):
    return object()


def do_segfault(row):
    ctypes.string_at(0)


def do_abort(row):
    print("about to abort")
    os.abort()


def do_memory(row):
    held = []
    while True:
        held.append(bytearray(8 << 20))


def do_native_memory(row):
    import polars as pl

    frame = pl.DataFrame({"a": range(100_000)})
    while True:
        frame = pl.concat([frame, frame], rechunk=True)


def do_childrens_memory(row):
    eat = "import time; held = bytearray(250 << 20); time.sleep(60)"
    for _ in range(3):
        subprocess.Popen([sys.executable, "-c", eat])
    time.sleep(60)


def do_hang(row):
    time.sleep(600)


def do_ignore_term(row):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        time.sleep(0.1)


def do_close(row):
    os.closerange(3, 1 << 16)


def do_close_some(row):
    os.closerange(0, 200)


def do_scribble(row):
    for number in range(3, 200):
        try:
            os.write(number, b"scribble")
        except OSError:
            pass


def do_fill(row):
    with tempfile.NamedTemporaryFile() as out:
        while True:
            out.write(bytes(1 << 20))
            out.flush()
            time.sleep(0.002)


def do_print(row):
    block = b"\\xff\\x00\\x1b[2J" + b"x" * ((1 << 16) - 16) + b"end\\n"
    for _ in range(8_000):
        os.write(1, block)
    raise ConnectionError("after half a gigabyte of output")


def do_daemon(row):
    code = "import os, time; open('daemon', 'a').write(f'{os.getpid()} '); time.sleep(600)"
    subprocess.Popen([sys.executable, "-ISc", code], start_new_session=True)
    start = f"subprocess.Popen([sys.executable, '-ISc', {code!r}], start_new_session=True, env=dict())"
    subprocess.run([sys.executable, "-ISc", f"import subprocess, sys; {start}"])
    while len(open("daemon").read().split() if os.path.exists("daemon") else ()) < 2:
        time.sleep(0.01)


def do_bomb(row):
    """Every process makes another one, again and again: as many as a test should make."""
    code = """
import os, time
def made():
    with open('forks', 'ab', buffering=0) as forks:
        forks.write(b'x')
        return forks.tell()
while made() < 400:
    os.fork()
time.sleep(60)
"""
    subprocess.run([sys.executable, "-ISc", code, os.getcwd() + "/bomb"])


def do_hop(row):
    """Processes of which each begins the next one and ends: who looks for them finds them gone."""
    code = """
import os, time
ends = time.monotonic() + 60
while time.monotonic() < ends:
    if os.fork():
        os._exit(0)
"""
    for _ in range(8):
        subprocess.Popen([sys.executable, "-ISc", code, os.getcwd() + "/bomb"], start_new_session=True)
    time.sleep(600)


def do_dying_daemon(row):
    do_daemon(row)
    ctypes.string_at(0)


def do_change(row):
    """Everything at once that is put back."""
    os.chdir("/")
    os.umask(0o777)
    os.environ["MISSTEP"] = "1"
    os.environ["TZ"] = "Asia/Tokyo"
    del os.environ["PATH"]
    time.tzset()
    sys.path.insert(0, "/misstep")
    locale.setlocale(locale.LC_NUMERIC, "C.UTF-8")
    signal.signal(signal.SIGTERM, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    signal.setitimer(signal.ITIMER_REAL, 30)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
    gc.disable()
    sys.stdout.close()
    sys.stdout = io.StringIO()
    os.close(1)
    os.close(0)
    os.close(2)
    threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
'''


class Ended(msgspec.Struct, frozen=True):
    """One run as the ledger tells it."""

    state: str
    attempt: int
    failure: Failure | None
    """The last one of its attempts that failed."""


def make_project(root: Path, files: Mapping[str, str], config: str = CONFIG) -> None:
    """A project whose inbox holds one file for each name, of one line."""
    (root / "inbox").mkdir(parents=True)
    (root / "filemill.yaml").write_text(config)
    (root / "misstep.py").write_text(STEPS)
    for name, line in files.items():
        (root / "inbox" / name).write_text(f"{line}\n")


def once(root: Path, *, code: int, timeout: float = 200, **environ: str) -> str:
    """`filemill run --once`, with this exit code; answers what it said."""
    done = subprocess.run(
        [sys.executable, "-m", "filemill", "run", "--once"],
        cwd=root,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=os.environ | environ,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == code, done.stdout[-5_000:]
    assert "Traceback" not in done.stdout, done.stdout[-5_000:]
    return done.stdout


def ended(root: Path) -> dict[str, Ended]:
    """What became of each file."""
    db = apsw.Connection(str(root / ".filemill/ledger.db"), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        rows = db.execute(
            "SELECT CAST(relative AS TEXT), run.state, run.attempt, (SELECT failure FROM attempt a"
            " WHERE a.run = run.no AND failure IS NOT NULL ORDER BY fence DESC LIMIT 1)"
            " FROM file JOIN run ON run.file = file.no"
        ).fetchall()
    finally:
        db.close()
    decode = msgspec.msgpack.Decoder(Failure).decode
    return {
        name: Ended(state, attempt, decode(packed) if packed else None)
        for name, state, attempt, packed in rows
    }
