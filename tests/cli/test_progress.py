"""Long work says how far it has come: on stderr, late, in the form the place can show."""

import io
import os
import pty
import re
import subprocess
import sys
import textwrap

import pytest

from filemill.cli.progress import EVERY, Meter
from filemill.testing.clock import FakeClock

WORK = textwrap.dedent(
    """
    import sys, time
    from filemill.cli.output import Output
    from filemill.cli.progress import progress
    from filemill.cli.session import Session

    output = Output.for_process("auto", False)
    session = Session(config=None, quiet="-q" in sys.argv, verbose=False, output=output)
    seconds = float(sys.argv[1])
    with progress(session, "redriving", total=200, unit="run") as step:
        for _ in range(200):
            time.sleep(seconds / 200)
            step()
    print("data")
    """
)


def meter(clock, total=2_800, **more):
    return Meter(io.StringIO(), "redriving", total=total, unit="run", clock=clock, **more)


def on_terminal(*words, **environ):
    """What a process writes to a terminal on stderr; its stdout is a pipe."""
    ours, theirs = pty.openpty()
    done = subprocess.Popen(
        [sys.executable, "-c", WORK, *words],
        stdout=subprocess.PIPE,
        stderr=theirs,
        env=os.environ | {"TERM": "xterm", "COLUMNS": "120"} | environ,
        text=True,
    )
    os.close(theirs)
    seen = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # the other side is closed
            break
        if not part:
            break
        seen += part
    out, _ = done.communicate(timeout=60)
    os.close(ours)
    assert done.returncode == 0
    return out, seen.decode()


def test_a_line_every_ten_seconds_where_there_is_no_terminal():
    clock = FakeClock()
    told = meter(clock)
    for _ in range(40):
        clock.advance(1)
        told.step(30)
    lines = told._stream.getvalue().splitlines()
    assert lines[0] == "redriving: 300 of 2,800 runs (10%), 30/s, 1m23s left"
    assert len(lines) == 40 // EVERY


def test_an_unknown_total_tells_count_and_rate():
    clock = FakeClock()
    told = meter(clock, total=None)
    clock.advance(10)
    told.step(500)
    assert told._stream.getvalue() == "redriving: 500 runs, 50/s\n"


@pytest.mark.parametrize(("seconds", "more"), [(9.9, {}), (60, {"quiet": True})])
def test_quick_or_quiet_work_says_nothing(seconds, more):
    clock = FakeClock()
    told = meter(clock, **more)
    clock.advance(seconds)
    told.step(100)
    told.close()
    assert told._stream.getvalue() == ""


def test_a_stream_that_is_gone_does_not_end_the_work():
    class Gone(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    clock = FakeClock()
    told = Meter(Gone(), "redriving", total=10, unit="run", clock=clock)
    clock.advance(11)
    told.step()
    clock.advance(11)
    told.step()
    assert told.done == 2


def test_a_terminal_gets_a_bar_with_rate_and_time_left_and_keeps_nothing_of_it():
    out, seen = on_terminal("2.5")
    assert out == "data\n"
    assert re.search(r"redriving: \d+ of 200 runs \(\d+%\), \d+/s, [\d.]+m?s left", seen)
    assert seen.rstrip().endswith("\x1b[2K")  # the last thing done is to wipe the line


@pytest.mark.parametrize(
    ("words", "environ"), [(("0.1",), {}), (("2", "-q"), {}), (("2",), {"TERM": "dumb"})]
)
def test_a_terminal_gets_no_bar_for_quick_quiet_or_dumb(words, environ):
    assert on_terminal(*words, **environ) == ("data\n", "")


def test_no_color_draws_without_colour():
    _, seen = on_terminal("2", NO_COLOR="1")
    assert "redriving" in seen
    assert not re.search(r"\x1b\[[0-9;]*3\dm", seen)
