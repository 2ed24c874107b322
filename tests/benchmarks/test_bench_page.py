"""What is kept of a run, and the page and charts that are drawn from it."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import results
from catalogue import FULL, WORKLOADS
from charts import Bar, Column, Value, bars
from contestants import ALL
from page import PAGE, draw
from results import Record, Result

SVG = "{http://www.w3.org/2000/svg}"
NAMES = ("filemill", "bare Python loop", "orjson loop", "watchdog + threads")


def record_of(workload: str, *, quick: bool = False) -> Record:
    runs = [
        Result(
            workload,
            name,
            turn,
            seconds=2.0 + number,
            done=1000 * (turn + 1),
            latencies=[0.01 * (number + 1), 0.02, 0.03],
            first=0.5 + number,
            peak=50_000_000,
        )
        for turn in range(2)
        for number, name in enumerate(NAMES)
    ]
    absent = {"Pathway, as shipped": "pathway does not install: no wheel"}
    return Record(
        workload, "2026-11-28", "2 cores.", quick, "10 files", 2, ["celery 5"], absent, runs
    )


def texts(svg: str) -> list[str]:
    return [node.text or "" for node in ET.fromstring(svg).iter(f"{SVG}text")]


def test_a_record_comes_back_as_it_was_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "FOLDER", tmp_path)
    assert results.load("W1", quick=True) is None
    record = record_of("W1", quick=True)
    results.save(record)
    assert results.load("W1", quick=True) == record
    assert results.load("W1", quick=False) is None


@pytest.mark.parametrize("workload", WORKLOADS)
def test_each_workload_is_drawn_into_the_page_that_links_its_chart(
    tmp_path: Path, workload: str
) -> None:
    page = tmp_path / "performance.md"
    page.write_text(PAGE.read_text(encoding="utf-8"), encoding="utf-8")
    chart = draw(record_of(workload), ALL, page)
    text = page.read_text(encoding="utf-8")
    assert f"]({chart.name})" in text
    assert "- Pathway, as shipped did not take part: pathway does not install: no wheel." in text
    assert re.search(r"^\| filemill \| ", text, re.MULTILINE)
    words = texts(chart.read_text(encoding="utf-8"))
    assert {"filemill", "orjson loop"} <= set(words)
    best = words.index("filemill"), words.index("orjson loop")
    assert best[0] < best[1], "the best is first, whether more or less is better"


def test_a_quick_run_is_marked_wherever_its_numbers_stand(tmp_path: Path) -> None:
    page = tmp_path / "performance.md"
    page.write_text(PAGE.read_text(encoding="utf-8"), encoding="utf-8")
    chart = draw(record_of("W1", quick=True), ALL, page)
    assert "**A quick run" in page.read_text(encoding="utf-8")
    assert any("QUICK RUN" in text for text in texts(chart.read_text(encoding="utf-8")))


def test_every_measure_of_a_workload_reads_any_result() -> None:
    for work in WORKLOADS.values():
        assert [one.value(Result(work.key, "x")) for one in work.measures]
        assert work.size(FULL)


def test_a_chart_is_well_formed_and_longer_for_more() -> None:
    rows = [
        Bar("a <b> & c", [Value(10.0, "ten")], ours=True, mark=2),
        Bar("half", [Value(5.0, "five")], mark=1),
        Bar("nothing", [None]),
    ]
    svg = bars("T", "", [Column("n")], rows, legend=["x", "y", "z"])
    widths = [
        float(node.attrib["width"])
        for node in ET.fromstring(svg).iter(f"{SVG}rect")
        if node.get("class") in {"ours", "peer"}
    ]
    assert widths[0] == pytest.approx(2 * widths[1], rel=0.01)
    assert "a <b> & c" in texts(svg)
