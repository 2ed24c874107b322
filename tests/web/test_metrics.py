"""What Prometheus is told: all of it, under the names that the page lists, right, and only to who has a key for it."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_families
from prometheus_client.parser import text_string_to_metric_families as families
from test_keys_over_http import make

import serving
from filemill.telemetry.metrics import FAMILIES, Kind

ROOT = Path(__file__).resolve().parents[2]
SECRET = "zq-Secret-Name"


class Told:
    """One answer of /metrics."""

    def __init__(self, text):
        self.text = text
        self.families = {family.name: family for family in families(text)}
        self.samples = [sample for family in self.families.values() for sample in family.samples]

    def value(self, name, **labels):
        """The sum of the samples with these labels, and maybe others."""
        return sum(
            s.value for s in self.samples if s.name == name and labels.items() <= s.labels.items()
        )


def told(client):
    answer = client.get("/metrics")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return Told(answer.text)


def told_once(client, name, count, **labels):
    """What is told once a value is there: an event is counted a moment after its file's end is in the ledger."""
    ends = time.monotonic() + serving.LONG
    while (found := told(client)).value(name, **labels) < count and time.monotonic() < ends:
        time.sleep(0.02)
    return found


@pytest.fixture(scope="module")
def worked(site):
    """A site that took two tables, refused one file, and saw wrong keys and hosts."""
    with site.client() as client:
        for number in range(2):
            rows = "id,amount\n" + "".join(f"{n},{n}\n" for n in range(5))
            files = {"file": (f"{SECRET}-{number}.csv", rows.encode(), "text/csv")}
            assert client.post("/upload?wait=20s", files=files).status_code == 201
        bad = client.post(
            "/upload", files={"file": (f"{SECRET}.png", b"\x89PNG\r\n\x1a\n", "image/png")}
        )
        assert bad.status_code == 415
        assert client.get(f"/files/{SECRET}").status_code == 404
        assert client.get("/livez", headers={"host": "evil.example"}).status_code == 421
        assert client.request("PROPFIND", "/livez").status_code == 405
    (site.root / "inbox" / f"{SECRET}-3.csv").write_text("id\n1\n")
    site.outputs(3)
    return site


def test_what_happened_is_told(worked):
    with worked.client() as client:
        now = told_once(client, "filemill_attempts_total", 3, pipeline="tables", outcome="done")
        stats = client.get("/stats").json()
    assert now.value("filemill_files", source="upload", state="done") == 2
    assert now.value("filemill_files", source="inbox", state="done") == 1
    by_state = {
        state: now.value("filemill_files", state=state)
        for state in ("done", "live", "held", "dead")
    }
    assert {state: many for state, many in by_state.items() if many} == stats["files"]
    assert now.value("filemill_runs", pipeline="tables", state="done", source="upload") == 2
    assert now.value("filemill_files_received_total", source="upload") == 2
    assert now.value("filemill_received_bytes_total", source="upload") == 2 * 30
    assert now.value("filemill_runs_ended_total", pipeline="tables", state="done") == 3
    assert now.value("filemill_outputs_published_total", sink="out") == 3
    assert now.value("filemill_records_published_total", sink="out") == 11
    assert now.value("filemill_run_duration_seconds_count", pipeline="tables") == 3
    assert now.value("filemill_run_duration_seconds_bucket", pipeline="tables", le="+Inf") == 3
    assert now.value("filemill_uploads_total", source="upload") == 2
    assert now.value("filemill_upload_bytes_total", source="upload") == 2 * 30
    assert now.value("filemill_uploads_refused_total", reason="wrong-type") == 1
    assert now.value("filemill_workers") >= 1
    assert now.value("filemill_worker_starts_total") >= 1
    assert now.value("filemill_workers_resident_memory_bytes") > 10_000_000
    assert now.value("filemill_durable_actions_total", action="commit") > 3
    assert now.value("filemill_ledger_bytes") > 4096
    assert now.value("filemill_disk_free_bytes") > 0
    assert now.value("filemill_content_bytes", source="upload") == 2 * 30
    assert now.value("filemill_intake_open") == 1
    assert now.value("filemill_sink_broken", sink="out") == 0
    assert now.value("filemill_config_revision") == 1
    for process in ("server", "web"):
        assert now.value(f"filemill_{process}_process_resident_memory_bytes") > 10_000_000
        assert now.value(f"filemill_{process}_process_cpu_seconds_total") > 0


def test_requests_are_told_by_route_and_status(worked):
    with worked.client() as client:
        told(client)  # so that one was asked for before
        now = told(client)
    told_of = [s for s in now.samples if s.name == "filemill_http_requests_total"]
    seen = {(s.labels["method"], s.labels["route"], s.labels["status"]): s.value for s in told_of}
    assert seen["POST", "/{entrance}", "201"] == 2
    assert seen["POST", "/{entrance}", "415"] == 1
    assert seen["GET", "/files/{file}", "404"] == 1
    assert seen["GET", "none", "421"] == 1
    assert ("other", "none", "405") in seen or ("other", "/livez", "405") in seen
    assert seen["GET", "/metrics", "200"] >= 1
    assert now.value("filemill_http_request_duration_seconds_count", route="/{entrance}") == 3
    assert now.value("filemill_http_requests_in_progress") == 1  # this one


def test_the_page_lists_what_is_served(worked):
    with worked.client() as client:
        text = told(client).text
    served = dict(re.findall(r"^# TYPE (\w+) (\w+)$", text, re.MULTILINE))
    process = {name for name in served if re.match(r"filemill_(server|web)_process_", name)}
    page = (ROOT / "docs" / "metrics.md").read_text()
    listed = dict(re.findall(r"^\| `(\w+)` \| (\w+) \|", page, re.MULTILINE))
    assert listed == {name: kind for name, kind in served.items() if name not in process}
    for name in process:
        assert f"`{name.partition('_process_')[2]}`" in page
    assert {name.split("_")[1] for name in process} == {"server", "web"}


def test_no_label_is_a_name_of_a_file_or_anything_else_that_has_no_bounds(worked):
    with worked.client() as client:
        now = told(client)
    assert SECRET not in now.text
    assert "evil" not in now.text
    assert "PROPFIND" not in now.text
    known = {"inbox", "upload", "other", "cli"}
    for sample in now.samples:
        assert sample.labels.get("source", "inbox") in known
        assert sample.labels.get("pipeline", "tables") in {"tables", "texts"}
        assert sample.labels.get("sink", "out") == "out"


def test_only_who_may_is_told(worked, stranger):
    assert stranger.get("/metrics").status_code == 401
    keys = {
        "uploader": (403, make(worked, "m-up", "--role", "uploader")),
        "scraper": (200, make(worked, "m-scrape", "--role", "scraper")),
        "viewer": (200, make(worked, "m-view", "--role", "viewer-meta")),
        "narrow": (403, make(worked, "m-narrow", "--role", "viewer-meta", "--source", "upload")),
        "narrow scraper": (
            403,
            make(worked, "m-lane", "--role", "scraper", "--pipeline", "tables"),
        ),
    }
    for who, (status, key) in keys.items():
        with worked.client(key["key"]) as client:
            assert client.get("/metrics").status_code == status, who
    with worked.client(keys["scraper"][1]["key"]) as client:
        assert client.get("/stats").status_code == 403


def test_openmetrics_is_spoken_where_it_is_asked_for(worked):
    with worked.client() as client:
        answer = client.get(
            "/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"}
        )
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert {family.name for family in open_families(answer.text)} >= {
        "filemill_files",
        "filemill_runs_ended",
    }


def test_promtool_has_nothing_to_say(worked):
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed: apt-get install prometheus")
    with worked.client() as client:
        text = told(client).text
    done = subprocess.run(
        [promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_names_are_those_that_are_counted():
    """A name that is counted and not listed would be lost; one that is listed and not counted would be a promise."""
    code = [
        p.read_text()
        for p in (ROOT / "src").rglob("*.py")
        if p.name != "metrics.py" or "web" in p.parts
    ]
    counted = {name for text in code for name in re.findall(r'"(filemill_[a-z_]+)"', text)}
    assert counted == set(FAMILIES)
    for name, family in FAMILIES.items():
        assert name.endswith("_total") == (family.kind is Kind.COUNTER)
        assert bool(family.bounds) == (family.kind is Kind.HISTOGRAM)
        assert list(family.bounds) == sorted(set(family.bounds))
