"""Console lines: the form of every event, masses of them, and streams that misbehave."""

import datetime as dt
import io
import json
import os
import threading

import pytest

from filemill.model import events as e
from filemill.telemetry.console import Console
from filemill.telemetry.jsonlog import JsonLog, as_json
from filemill.telemetry.lines import _TELL, Lines
from filemill.telemetry.painting import UNICODE, Paint, marks_for
from filemill.telemetry.throttle import Throttle
from filemill.telemetry.wording import (
    age,
    cut,
    duration,
    moment,
    number,
    plural,
    printable,
    size,
    utc,
    width,
)

NOON = 1_776_081_607_000_000_000  # 2026-04-13 12:00:07 UTC
SECOND = 1_000_000_000


def finished(name=b"orders-0412.csv", at=NOON, pipeline="orders", **more):
    more.setdefault("outputs", (("warehouse", 407, b"o"), ("crm", 9, b"o"), ("rejects", 5, b"o")))
    return e.RunFinished(
        at_ns=at,
        run="r",
        file="3fk2p",
        relative=name,
        pipeline=pipeline,
        took_ns=210_000_000,
        **more,
    )


def failed(name=b"orders-0413.csv", at=NOON + 12 * SECOND, **more):
    values = {
        "state": "dead",
        "kind": "permanent",
        "step": "check",
        "error": "SchemaError",
        "message": "column 'amount' missing; header has 'amonut'",
    }
    return e.RunFailed(
        at_ns=at, run="r", file="3fk2p", relative=name, pipeline="orders", **(values | more)
    )


def lines(**options):
    return Lines(zone=dt.UTC, **options)


def test_a_finished_run_in_one_line():
    assert lines().of(finished()) == [
        "12:00:07 v orders-0412.csv  orders  0.21s  407 warehouse, 9 crm, 5 rejects"
    ]


def test_bad_records_within_tolerance_are_said():
    assert lines().of(finished(outputs=(("w", 1407, b""),), bad=3)) == [
        "12:00:07 v orders-0412.csv  orders  0.21s  1,407 w, 3 bad"
    ]


def test_a_whole_file_and_no_output_at_all():
    assert lines().of(finished(outputs=(("photos", 0, b"a"),)))[0].endswith("whole to photos")
    assert lines().of(finished(outputs=()))[0].endswith("no output")


def test_one_sink_named_twice_is_one_number():
    assert lines().of(finished(outputs=(("w", 2, b"a"), ("w", 3, b"b"))))[0].endswith("  5 w")


def test_a_dead_run_says_why_and_what_next():
    assert lines().of(failed(help="fix the header or alias it")) == [
        "12:00:19 x orders-0413.csv  orders  dead at check (permanent, not retried)",
        "           SchemaError: column 'amount' missing; header has 'amonut'",
        "           help: fix the header or alias it",
        "           filemill files show 3fk2p",
    ]


def test_a_retry_says_when():
    told = lines().of(
        failed(
            state="retrying",
            kind="transient",
            attempt=2,
            retry_at_ns=NOON + 30 * SECOND,
            error="TimeoutError",
            message="no answer",
        )
    )
    assert told == [
        "12:00:19 ~ orders-0413.csv  orders  failed at check, try 2, again at 12:00:37",
        "           TimeoutError: no answer",
    ]


def test_an_interruption_is_not_the_users_affair_unless_asked():
    event = failed(state="queued", kind="interrupted")
    assert lines().of(event) == []
    assert "queued again" in lines(verbose=True).of(event)[0]


def test_an_unrouted_file_is_held():
    event = e.FileHeld(
        at_ns=NOON, file="3fk2p", relative=b"x.bin", reason="unrouted", tags=("from:cli",)
    )
    assert lines().of(event) == [
        "12:00:07 = x.bin  held: unrouted, no pipeline wants it (tags from:cli)",
        "           filemill explain 3fk2p",
    ]


def test_ready_says_how_to_stop():
    event = e.ServerStarted(at_ns=NOON, took_ns=810_000_000, recovered=0)
    assert lines().of(event) == ["Ready in 0.8s. Ctrl-C drains, twice stops now."]
    took_over = e.ServerStarted(at_ns=NOON, took_ns=1, recovered=2)
    assert lines().of(took_over)[0] == "took over 2 files from the last run"


def test_the_drain_is_told_with_what_is_kept_and_how_long_it_took():
    told = lines()
    assert told.of(e.ServerDraining(at_ns=NOON, running=1, queued=3)) == [
        "draining: 1 running, 3 queued (kept)"
    ]
    assert told.of(e.ServerStopped(at_ns=NOON + 400_000_000, kept=3)) == [
        "done in 0.4s, 3 runs kept for the next start"
    ]
    assert lines().of(e.ServerStopped(at_ns=NOON, kept=0)) == ["stopped"]


def test_drawn_signs_and_colour_are_for_terminals_that_can():
    assert marks_for("utf-8").done == "✓"
    assert marks_for("ascii").done == marks_for("latin-1").done == marks_for(None).done == "v"
    painted = lines(marks=UNICODE, paint=Paint(on=True)).of(finished())[0]
    assert "\x1b[32m✓\x1b[0m" in painted


def test_every_event_has_an_entry():
    every = {
        c
        for c in vars(e).values()
        if isinstance(c, type) and issubclass(c, e.Event) and c is not e.Event
    }
    assert set(_TELL) == every


@pytest.mark.parametrize("name", [b"a\x1b[2Jb.csv", "a\u202eb.csv".encode(), b"a\xff\n.csv"])
def test_no_name_can_steer_the_terminal(name):
    for event in (finished(name), failed(name), failed(message=name.decode("utf-8", "replace"))):
        for line in lines(verbose=True).of(event):
            assert line.isprintable()


# --- masses -----------------------------------------------------------------------------------------


def told(throttle, events):
    out = [line for event in events for line in throttle.take(event)]
    return out + throttle.flush()


def test_a_flood_is_one_line_a_second():
    events = [finished(at=NOON + i * SECOND // 1000) for i in range(3000)]
    out = told(Throttle(lines(), rate=10), events)
    assert len(out) == 10 + 3
    assert out[10] == (
        "12:00:07 v 990 files  orders  up to 0.21s  402,930 warehouse, 8,910 crm, 4,950 rejects"
    )
    assert out[11].startswith("12:00:08 v 1,000 files  orders")


def test_nothing_is_lost_in_the_sums():
    events = [finished(at=NOON + i * SECOND // 100, outputs=(("w", 1, b""),)) for i in range(350)]
    out = told(Throttle(lines(), rate=10), events)
    counted = sum(int(line.split()[2].replace(",", "")) if "files" in line else 1 for line in out)
    assert counted == 350


def test_after_the_flood_single_lines_return():
    throttle = Throttle(lines(), rate=10)
    told(throttle, [finished(at=NOON) for _ in range(30)])
    told(throttle, [finished(at=NOON + SECOND)])
    assert "orders-0412.csv" in told(throttle, [finished(at=NOON + 2 * SECOND)])[0]


def test_failures_are_summed_by_cause_and_are_not_hidden_by_successes():
    events = [finished(at=NOON) for _ in range(100)] + [failed(at=NOON) for _ in range(50)]
    out = told(Throttle(lines(), rate=5), events)
    assert "12:00:07 x 45 files  orders  dead at check" in out
    assert len([line for line in out if "x orders-0413.csv" in line]) == 5


def test_rare_things_are_always_said():
    events = [
        e.WorkerLost(at_ns=NOON, worker=1, pid=i, reason="killed", held=0) for i in range(100)
    ]
    assert len(told(Throttle(lines(), rate=5), events)) == 100


def test_long_explanations_are_broken_between_words_on_a_terminal_and_nowhere_else():
    event = e.RunFailed(
        at_ns=NOON,
        run="r",
        file="3fk2p7qd",
        relative=b"a.csv",
        pipeline="orders",
        state="dead",
        kind="permanent",
        step="read_csv",
        error="BadRecords",
        message="1 of 6 records is bad (tolerance 1%); the first, on line 7: 4 cells, the header has 3",
        help="mend the records and drop the file again, or let the pipeline tolerate some",
    )
    assert len(lines().of(event)) == 4
    narrow = lines(columns=lambda: 50).of(event)
    assert all(len(line) <= 50 for line in narrow[1:])
    assert [line.strip() for line in narrow[1:]] == [
        "BadRecords: 1 of 6 records is bad",
        "(tolerance 1%); the first, on line 7: 4",
        "cells, the header has 3",
        "help: mend the records and drop the",
        "file again, or let the pipeline",
        "tolerate some",
        "filemill files show 3fk2p7qd",
    ]


# --- the console itself -------------------------------------------------------------------------------


def test_lines_come_out_in_order_and_are_there_after_close():
    stream = io.StringIO()
    console = Console(stream, dt.UTC)
    console.banner(
        version="0.1.0",
        config="./filemill.yaml",
        revision=1,
        data="./.filemill",
        watching=[("inbox/partners", "inotify, settle 500ms"), ("other", "")],
        workers=4,
        pipelines=["orders", "photos"],
    )
    console(e.ServerStarted(at_ns=NOON, took_ns=810_000_000, recovered=0))
    for i in range(100):
        console(finished(b"%d.csv" % i))
    console.close()
    out = stream.getvalue().splitlines()
    assert out[:5] == [
        "filemill 0.1.0   config ./filemill.yaml (rev 1)   data ./.filemill",
        "watching  inbox/partners (inotify, settle 500ms)     workers 4",
        "          other",
        "pipelines orders  photos",
        "Ready in 0.8s. Ctrl-C drains, twice stops now.",
    ]
    assert "0.csv" in out[5]
    assert "75 files" in out[-1]


def test_a_summed_line_does_not_wait_for_the_next_event():
    stream = io.StringIO()
    console = Console(stream, dt.UTC, rate=1)
    for _ in range(5):
        console(finished())
    deadline = threading.Event()
    for _ in range(100):
        if "4 files" in stream.getvalue():
            break
        deadline.wait(0.05)
    assert "4 files" in stream.getvalue()
    console.close()


def test_a_reader_that_stands_still_holds_nobody_up():
    # A pipe nobody reads fills at 64 KB; the emitter must go on regardless.
    reading, writing = os.pipe()
    console = Console(os.fdopen(writing, "w"), dt.UTC, rate=10**9)
    done = threading.Event()

    def emit():
        for _ in range(60_000):
            console(finished())
        done.set()

    threading.Thread(target=emit, daemon=True).start()
    assert done.wait(20)
    # Read again: what was kept comes out, and what was left out is said.
    out = []

    def read():
        with os.fdopen(reading) as arriving:
            out.extend(arriving)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    console.close(20)
    console._writer._stream.close()
    reader.join(20)
    lost = [line for line in out if "left out" in line]
    assert lost
    assert (
        sum("orders-0412" in line for line in out)
        + sum(int(line.split()[1].replace(",", "")) for line in lost)
        == 60_000
    )


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_a_closed_pipe_ends_the_printing_only(encoding):
    reading, writing = os.pipe()
    stream = os.fdopen(writing, "w", encoding=encoding)
    console = Console(stream, dt.UTC)
    os.close(reading)
    for _ in range(10):
        console(finished())
    console.close()
    console(finished())  # still no error
    with pytest.raises(BrokenPipeError):
        stream.close()


def test_a_name_the_stream_cannot_show_is_escaped():
    raw = io.BytesIO()
    console = Console(io.TextIOWrapper(raw, encoding="ascii"), dt.UTC)
    console(finished("größe.csv".encode()))
    console.close()
    assert rb"gr\xf6\xdfe.csv" in raw.getvalue()


def test_quiet_leaves_the_trouble():
    stream = io.StringIO()
    console = Console(stream, dt.UTC, quiet=True)
    console(finished())
    console(failed(state="retrying"))
    console(failed())
    console.close()
    assert "dead at check" in stream.getvalue()
    assert len(stream.getvalue().splitlines()) == 3


def test_json_lines():
    stream = io.StringIO()
    log = JsonLog(stream)
    log(finished(b"a\xff.csv"))
    log.close()
    assert json.loads(stream.getvalue()) == {
        "event": "RunFinished",
        "at": "2026-04-13T12:00:07.000Z",
        "run": "r",
        "file": "3fk2p",
        "relative": "a\\xff.csv",
        "pipeline": "orders",
        "took_ns": 210_000_000,
        "outputs": [["warehouse", 407, "o"], ["crm", 9, "o"], ["rejects", 5, "o"]],
        "bad": 0,
        "children": 0,
    }


def test_every_field_of_every_event_has_a_json_form():
    for event in (finished(), failed(), e.SourceMissing(source="s", path=b"p")):
        json.dumps(as_json(event))


# --- wording --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("nanoseconds", "said"),
    [
        (0, "0ms"),
        (100_000, "<1ms"),
        (3_400_000, "3ms"),
        (210_000_000, "0.21s"),
        (9_994_000_000, "9.99s"),
        (9_999_000_000, "10.0s"),
        (12_340_000_000, "12.3s"),
        (59_960_000_000, "1m00s"),
        (130 * SECOND, "2m10s"),
        (3_900 * SECOND, "1h05m"),
        (100 * 3600 * SECOND, "4d4h"),
        (-5, "0ms"),
    ],
)
def test_durations(nanoseconds, said):
    assert duration(nanoseconds) == said


@pytest.mark.parametrize(
    ("count", "said"),
    [(0, "0 B"), (812, "812 B"), (999, "999 B"), (1000, "1.0 KB"), (38_400, "38 KB"),
     (999_600, "1.0 MB"), (1_234_000_000, "1.2 GB")],
)  # fmt: skip
def test_sizes(count, said):
    assert size(count) == said


def test_other_words():
    assert (age(240 * SECOND), age(59 * SECOND), age(3 * 86400 * SECOND)) == ("4m", "59s", "3d")
    assert (number(12484), plural(1, "file"), plural(2000, "try", "tries")) == (
        "12,484",
        "1 file",
        "2,000 tries",
    )
    assert utc(NOON) == "2026-04-13T12:00:07.000Z"
    assert utc(0) == ""
    east = dt.timezone(dt.timedelta(hours=2))
    assert moment(NOON, east) == "2026-04-13 14:00:07 +02:00"


def test_width_and_cut():
    assert width("日本") == 4
    assert cut("column amount missing", 10) == "column ..."
    assert width(cut("日本日本日本", 7)) <= 7
    assert cut("short", 10) == "short"
    assert printable("naïve 日本.csv") == "naïve 日本.csv"
    assert printable(b"a\x07\xff") == "a\\x07\\xff"
