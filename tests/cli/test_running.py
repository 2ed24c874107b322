"""run, run --once, check, explain, config: whole processes over whole projects."""

import json
import os
import re
import select
import signal
import subprocess
import sys
import time

import pytest

INSIDE = True

SAMPLES = {"csv": "sample.csv", "logs": "sample.log"}


@pytest.fixture
def project(filemill):
    filemill("init", "-q")
    return filemill


def files_below(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


# --- run --once ------------------------------------------------------------------------------------------


def test_once_processes_the_named_file_and_leaves_it_alone(project):
    before = (project.folder / "sample.csv").read_bytes()
    done = project("run", "--once", "sample.csv")
    assert re.search(r"✓ sample\.csv  orders  \S+  2 orders, 2 review", done.stdout)
    assert done.stdout.splitlines()[-1] == "1 file: 1 done"
    assert done.stderr == ""
    assert files_below(project.folder / "out") == ["orders/sample.csv", "review/sample.jsonl"]
    assert (project.folder / "sample.csv").read_bytes() == before
    assert "Café Süd" in (project.folder / "out/orders/sample.csv").read_text(encoding="utf-8")


@pytest.mark.parametrize("template", ["csv", "logs", "empty"])
def test_every_template_processes_its_sample(filemill, template):
    filemill("init", "-t", template)
    sample = SAMPLES.get(template, "sample.txt")
    if template == "empty":
        (filemill.folder / sample).write_text("anything\n")
    os.rename(filemill.folder / sample, filemill.folder / "inbox" / sample)
    filemill("run", "--once")
    assert files_below(filemill.folder / "out")
    assert files_below(filemill.folder / "inbox") == []


def test_the_logs_template_takes_json_lines_too(filemill):
    filemill("init", "-t", "logs")
    record = {"message": "x" * 200, "ms": 1500}
    (filemill.folder / "a.jsonl").write_text(json.dumps(record) + "\n")
    filemill("run", "--once", "a.jsonl")
    out = json.loads((filemill.folder / "out/rest/a.jsonl").read_text())
    assert out == {"message": "x" * 80, "ms": 1500, "slow": True}


def test_the_same_unchanged_file_is_already_done_unless_again(project):
    project("run", "--once", "sample.csv")
    second = project("run", "--once", "sample.csv")
    assert "already done, unchanged" in second.stdout
    assert files_below(project.folder / "out/orders") == ["sample.csv"]
    project("run", "--once", "--again", "sample.csv")
    assert files_below(project.folder / "out/orders") == ["sample-2.csv", "sample.csv"]
    several = project("files", "show", "sample.csv", code=2).stderr
    assert "2 files are named `sample.csv`" in several
    assert several.count("(done)") == 2


def test_what_died_before_is_still_not_well(project):
    (project.folder / "bad.csv").write_text("order_id,amount\n1\n2\n")
    project("run", "--once", "bad.csv", code=1)
    assert "already dead" in project("run", "--once", "bad.csv", code=1).stdout


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("bad.csv", "order_id,amount\n1\n2\n", "✗ bad.csv  orders  dead at read_csv"),
        ("what.xyz", "?", "‖ what.xyz  held: unrouted"),
    ],
)
def test_a_dead_or_held_file_is_exit_1(project, name, text, said):
    (project.folder / name).write_text(text)
    done = project("run", "--once", "sample.csv", name, code=1)
    assert said in done.stdout
    assert "✓ sample.csv" in done.stdout


def test_bad_records_within_tolerance_are_listed_and_exit_0(project):
    rows = "".join(f"{i},{i}\n" for i in range(1, 200))
    (project.folder / "some.csv").write_text(f"order_id,amount\n{rows}oops\n")
    done = project("run", "--once", "some.csv")
    assert "some.csv: 1 bad record, within tolerance" in done.stdout
    assert "line 201  read_csv" in done.stdout


def test_a_path_that_is_not_there_is_exit_2_before_anything_starts(project):
    done = project("run", "--once", "sample.csv", "nowhere.csv", code=2)
    assert "nowhere.csv: No such file" in done.stderr
    assert not (project.folder / ".filemill").exists()


def test_a_folder_means_every_regular_file_below_it(project):
    deep = project.folder / "given" / "deep"
    deep.mkdir(parents=True)
    text = (project.folder / "sample.csv").read_text()
    (deep / "b.csv").write_text(text)
    (deep.parent / "a.csv").write_text(text)
    (deep / "link.csv").symlink_to(deep / "b.csv")
    done = project("run", "--once", "given", "given/a.csv")
    assert done.stdout.splitlines()[-1] == "2 files: 2 done"


def test_once_as_json_is_data_on_stdout_and_talk_on_stderr(project):
    done = project("run", "--once", "--json", "sample.csv")
    told = json.loads(done.stdout)
    assert told["schema"] == "filemill.run/1"
    assert told["counts"] == {"done": 1}
    assert told["items"][0]["runs"][0]["pipeline"] == "orders"
    assert "✓ sample.csv" in done.stderr


def test_json_log_lines(project):
    done = project("run", "--once", "-q", "--log-format", "json", "sample.csv")
    events = [json.loads(line)["event"] for line in done.stdout.splitlines()]
    assert {"FileIngested", "FileRouted", "RunFinished"} <= set(events)


def test_a_hostile_name_cannot_steer_the_terminal(project):
    name = "evil\x1b[2J.csv"
    (project.folder / name).write_text("order_id,amount\n1\n")
    done = project("run", "--once", name, code=1)
    assert all(line.isprintable() for line in (done.stdout + done.stderr).splitlines())
    assert r"evil\x1b[2J.csv" in done.stdout


def test_nothing_waiting_is_nothing_to_do(project):
    assert project("run", "--once").stdout == "nothing to do\n"


# --- run --------------------------------------------------------------------------------------------------


class Running:
    """`filemill run` as a user has it in a terminal; reads its lines as they come."""

    def __init__(self, shell, *words):
        self.process = subprocess.Popen(
            [sys.executable, "-u", "-m", "filemill", "run", *words],
            cwd=shell.folder,
            env=shell.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.lines = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    def until(self, wanted, seconds=30):
        """Read lines until one holds `wanted`."""
        deadline = time.monotonic() + seconds
        left = b""
        stream = self.process.stdout.fileno()
        while time.monotonic() < deadline:
            if any(wanted in line for line in self.lines):
                return
            if select.select([stream], [], [], 0.5)[0]:
                data = os.read(stream, 65536)
                assert data, f"it ended: {self.lines} {self.process.stderr.read().decode()}"
                *whole, left = (left + data).split(b"\n")
                self.lines += [line.decode() for line in whole]
        raise AssertionError(f"no line with {wanted!r} in {self.lines}")

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(30)


def test_watching_from_ready_to_drained(project):
    with Running(project) as running:
        running.until("Ready in")
        assert running.lines[0] == (
            f"filemill {_version()}   config ./filemill.yaml (rev 1)   data ./.filemill"
        )
        assert re.fullmatch(
            r"watching  inbox \(inotify, settle 500ms\)     workers \d+", running.lines[1]
        )
        assert running.lines[2] == "pipelines orders"
        assert running.lines[3].endswith("Ctrl-C drains, twice stops now.")
        text = (project.folder / "sample.csv").read_bytes()
        (project.folder / "half").write_bytes(text)
        os.rename(project.folder / "half", project.folder / "inbox" / "now.csv")
        running.until("✓ now.csv  orders")

        # Reading goes on beside the server; a second server and --once do not.
        assert '"state":"done"' in project("files", "ls", "--json").stdout
        busy = project("run", "--once", "sample.csv", code=75)
        assert "help: stop it first, or drop the files into a folder" in busy.stderr
        assert project("run", code=75).stdout == ""

        assert running.stop() == 0


def _version():
    from importlib.metadata import version

    return version("filemill")


def test_a_wrong_configuration_starts_nothing(project):
    path = project.folder / "filemill.yaml"
    path.write_text(path.read_text().replace("read_csv", "read_cvs"))
    for words in (["run"], ["run", "--once"], ["run", "--once", "sample.csv"]):
        done = project(*words, code=2)
        assert "did you mean `read_csv`?" in done.stderr
        assert "Nothing was started." in done.stderr
        assert done.stdout == ""
    assert not (project.folder / ".filemill").exists()


# --- check, explain, config -------------------------------------------------------------------------------


def test_check_says_every_problem_at_once(project):
    path = project.folder / "filemill.yaml"
    text = path.read_text().replace("read_csv", "read_cvs").replace("else: orders", "else: ordres")
    path.write_text(text)
    done = project("check", code=2)
    assert "did you mean `read_csv`?" in done.stdout
    assert "did you mean `orders`?" in done.stdout
    assert re.search(r"--> filemill\.yaml:\d+:\d+", done.stdout)
    told = json.loads(project("check", "--format", "json", code=2).stdout)
    assert told["schema"] == "filemill.check/1"
    assert len(told["items"]) >= 2
    assert (
        project("check", "--json", code=2).stdout
        == project("check", "--format", "json", code=2).stdout
    )
    assert project("check", "--format", "github", code=2).stdout.startswith("::error ")


def test_check_compiles_expressions_and_users_code(project):
    path = project.folder / "filemill.yaml"
    path.write_text(
        path.read_text().replace("amount > 0", "SUM(amount) > 0").replace("rate:", "rats:")
    )
    done = project("check", code=2)
    assert "SUM" in done.stdout
    assert "rate" in done.stdout


def test_warnings_are_exit_1_only_when_strict(project):
    path = project.folder / "filemill.yaml"
    path.write_text(path.read_text().replace("tags: ", "tags:\n  unused: {name: x.csv}\n  #", 1))
    text = path.read_text().replace("  #                                  #", "  #")
    path.write_text(text)
    done = project("check")
    assert "unused" in done.stdout
    assert "warning" in done.stdout
    project("check", "--strict", code=1)


def test_explain_a_file_on_disk_and_one_that_came_before(project):
    done = project("explain", "sample.csv")
    assert re.search(r"^tags +from:cli", done.stdout, re.MULTILINE)
    assert re.search(r"^match +orders +when: orders", done.stdout, re.MULTILINE)
    assert not (project.folder / ".filemill" / "ledger.db").exists()
    (project.folder / "inbox" / "x.bin").write_bytes(b"?")
    project("run", "--once", code=1)
    (held,) = json.loads(project("held", "ls", "--json").stdout)["items"]
    again = project("explain", held["id"][:8], code=1)
    assert "would be held: unrouted" in again.stdout
    told = json.loads(project("explain", "sample.csv", "--json").stdout)
    assert told["runs"] == ["orders"]
    assert "neither a file here nor the id" in project("explain", "nope", code=2).stderr


def test_config_show_says_where_each_value_comes_from(project):
    done = project("config", "show", FILEMILL__WORKERS="3")
    assert re.search(r"^workers +\$FILEMILL__WORKERS +3$", done.stdout, re.MULTILINE)
    assert re.search(r"^timezone +default +UTC$", done.stdout, re.MULTILINE)
    assert re.search(
        r"^sources\.inbox\.folder +filemill\.yaml:\d+:\d+ +inbox$", done.stdout, re.MULTILINE
    )
    told = json.loads(project("config", "show", "--json").stdout)
    assert told["schema"] == "filemill.config/1"


def test_config_schema_is_one(filemill):
    told = json.loads(filemill("config", "schema").stdout)
    assert "pipelines" in told["properties"]


def test_steps_show_describes_a_users_function(project):
    done = project("steps", "show", "steps.add_vat")
    assert "Add the tax to every order." in done.stdout
    assert re.search(r"rate +number +0\.2", done.stdout)


def test_troubles_are_kept_to_be_asked_for_until_they_are_over():
    import asyncio

    from filemill.model.events import SystemRecovered, SystemTrouble
    from filemill.service import calming

    async def live():
        calm = calming.Calm(lambda _event: None)
        calm(SystemTrouble(at_ns=5, what="disk", message="full", help="free some"))
        calm(SystemTrouble(at_ns=9, what="disk", message="full", help="free some"))
        during = calm.troubles
        calm(SystemRecovered(what="disk"))
        calm(SystemRecovered(what="disk"))
        await asyncio.sleep(calming.CALM + 1)
        return during, calm.troubles

    during, after = asyncio.run(live())
    assert [(each.what, each.at_ns) for each in during] == [("disk", 5)]
    assert after == ()
