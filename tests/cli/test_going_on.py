"""A run that waits for a person goes on where it ended, told through the real commands."""

import json

INSIDE = True

CONFIG = """
version: 1
sources: {box: {folder: in}}
tags: {orders: {name: "*.csv"}}
pipelines:
  orders:
    when: orders
    steps:
      - read_csv
      - steps.clean
      - tag_records: {huge: "amount > 100"}
      - hold: {message: "is this right?", choices: [pay, reject]}
        if: huge
      - steps.add_vat
      - route: {"choice:reject": rejects, else: out}
sinks: {out: {folder: out}, rejects: {folder: rejects}}
workers: 1
"""
STEPS = """
def clean(row: dict) -> dict:
    with open("cleaned", "a") as out:
        out.write("x")
    return row

def add_vat(row: dict) -> dict:
    FAIL
    return row | {"vat": row["amount"] * 2}
"""


def _project(filemill, data: str, *, fail: bool) -> None:
    folder = filemill.folder
    (folder / "in").mkdir()
    (folder / "filemill.yaml").write_text(CONFIG)
    _steps(filemill, fail=fail)
    (folder / "in" / "a.csv").write_text(data)


def _steps(filemill, *, fail: bool) -> None:
    text = STEPS.replace("FAIL", "raise SystemExit('broken')" if fail else "pass")
    text = text.replace('"cleaned"', repr(str(filemill.folder / "cleaned")))
    (filemill.folder / "steps.py").write_text(text)


def _run(filemill) -> dict:
    shown = json.loads(filemill("files", "show", "a.csv", "--json").stdout)
    (run,) = shown["file"]["runs"]
    return run


def test_a_dead_run_goes_on_at_its_mended_step(filemill) -> None:
    _project(filemill, "id,amount\n1,10\n2,20\n", fail=True)
    filemill("run", "--once", code=1)
    kept = _run(filemill)["kept"]
    # Directly before it stands a step that has nobody to ask, so it begins just there.
    assert (kept["step"], kept["records"]) == ("steps.add_vat", 2)
    assert "what went into steps.add_vat" in filemill("dead", "show", "a.csv").stdout
    assert len(list((filemill.folder / ".filemill/content").rglob("*.input"))) == 1

    _steps(filemill, fail=False)
    (filemill.folder / "cleaned").unlink()
    filemill("dead", "redrive", "a.csv", "--yes")
    filemill("run", "--once")
    assert not (filemill.folder / "cleaned").exists(), "the steps before worked again"
    assert (filemill.folder / "out/a.csv").read_text() == "id,amount,vat\n1,10,20\n2,20,40\n"
    run = _run(filemill)
    assert (run["state"], run["kept"]) == ("done", None)
    assert run["attempts"][-1]["from_step"] == "steps.add_vat"
    assert run["attempts"][-1]["balance"]["read"] == 2
    assert "began at steps.add_vat" in filemill("files", "show", "a.csv").stdout
    assert list((filemill.folder / ".filemill/content").rglob("*.input")) == []


def test_where_what_is_kept_fits_no_more_the_run_begins_with_its_file(filemill) -> None:
    _project(filemill, "id,amount\n1,10\n", fail=True)
    filemill("run", "--once", code=1)
    config = CONFIG.replace("- read_csv", '- read_csv: {separator: ","}')
    (filemill.folder / "filemill.yaml").write_text(config)
    _steps(filemill, fail=False)
    filemill("dead", "redrive", "a.csv", "--from", "input")
    filemill("run", "--once", code=1)
    assert "steps before it have changed" in filemill("dead", "show", "a.csv").stdout
    filemill("dead", "redrive", "a.csv")
    filemill("run", "--once")
    run = _run(filemill)
    assert (run["state"], run["attempts"][-1]["from_step"]) == ("done", None)
    assert "steps before it have changed" in run["attempts"][-1]["fell_back"]
    assert (
        "began with the file: the run was to begin at" in filemill("files", "show", "a.csv").stdout
    )
    assert (filemill.folder / "out/a.csv").read_text() == "id,amount,vat\n1,10,20\n"


def test_what_a_discarded_run_kept_is_gone_at_once(filemill) -> None:
    _project(filemill, "id,amount\n1,10\n", fail=True)
    filemill("run", "--once", code=1)
    kept = filemill.folder / ".filemill/content"
    assert len(list(kept.rglob("*.input"))) == 1
    filemill("dead", "discard", "a.csv")
    assert list(kept.rglob("*.input")) == []
    _steps(filemill, fail=False)
    filemill("files", "replay", "a.csv")
    filemill("run", "--once")
    assert (filemill.folder / "out/a.csv").exists()


def test_a_held_run_goes_on_with_the_answer(filemill) -> None:
    _project(filemill, "id,amount\n1,10\n2,2000\n", fail=False)
    filemill("run", "--once", code=1)
    assert _run(filemill)["kept"]["step"] == "hold"
    assert "--choice pay" in filemill("held", "show", "a.csv").stdout
    (filemill.folder / "cleaned").unlink()
    filemill("held", "release", "a.csv", "--choice", "reject")
    filemill("run", "--once")
    assert not (filemill.folder / "cleaned").exists(), "the steps before worked again"
    assert (filemill.folder / "out/a.csv").read_text() == "id,amount,vat\n1,10,20\n"
    assert (filemill.folder / "rejects/a.csv").read_text() == "id,amount,vat\n2,2000,4000\n"
    assert list((filemill.folder / ".filemill/content").rglob("*.input")) == []
