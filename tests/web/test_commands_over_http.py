"""Commands with `--url`: they say over HTTP, word for word, what they say on the server's machine, and do the same."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
from senders import asking, command
from sites import Site

import serving
from filemill.cli.reaching import REACH, Reach

CONFIG = """\
version: 1
sources:
  upload: {http: /upload}
  box: {folder: inbox, settle: 10ms}
tags:
  table: {name: "*.csv"}
  document: {name: "*.json"}
  asked: {name: "*.txt"}
pipelines:
  tables: {when: table, tolerance: 5, steps: [read_csv, {write: out}]}
  documents: {when: document, steps: [read_json, {write: out}]}
  copies: {when: document, steps: [{write: out}]}
  asked: {when: asked, steps: [{hold: {message: "look at it", choices: [yes, no]}}, read_lines, {write: out}]}
sinks:
  out: {folder: out}
"""
ODD = b"od\xffd \x1b[2J.csv"
READS = {
    "status": [],
    "files ls": [],
    "files show": ["good.csv"],
    "dead ls": [],
    "dead show": ["broken.json"],
    "held ls": [],
    "held show": ["asked.txt"],
    "audit ls": [],
    "audit export": [],
    "audit verify": [],
    "config log": [],
    "keys ls": [],
    "tail": ["--no-follow"],
}
"""Every command that reads over HTTP, with words that it answers to here."""
MENDING = {f"dead {word}" for word in ("export", "edit", "input", "resubmit")}
"""Looked at in `test_mending_over_http`."""
ADMITTING = {"keys create", "keys revoke", "sessions ls", "sessions end"}
"""Looked at in `test_admitting_over_http`."""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    made = Site(tmp_path_factory.mktemp("over"), CONFIG)
    with made.running():
        with made.client() as client:
            for name, content in (
                ("good.csv", b"a,b\n1,2\nx\n3,4\n"),
                ("broken.json", b'{"a": '),
                ("again.json", b'{"b": '),
                ("asked.txt", b"one\n"),
                ("nobody.xyz", b"one\n"),
            ):
                answer = client.post("/upload?wait=20s", files={"file": (name, content)})
                assert answer.status_code == 201, answer.text
            with open(os.fsencode(made.root) + b"/inbox/" + ODD, "wb") as file:
                file.write(b"a,b\n5,6\n")
            serving.until(lambda: client.get("/stats").json()["files"].get("done") == 2)
        command(made.root, "keys", "create", "scraping", "--role", "scraper")
        for word in ("pause", "resume"):  # so that there is an audit of some pages
            command(made.root, word, "asked", "documents", "--reason", f"to {word}")
        yield made


@pytest.fixture
def elsewhere(site, tmp_path):
    """The same command (here, over HTTP) from a folder that knows nothing of the server."""

    def both(*words):
        here, _ = command(site.root, *words)
        there, _ = command(tmp_path, *words, **asking(site))
        return here, there

    return both


def still(text):
    """Without what passes meanwhile: ages, the width of their column, and the moment itself."""
    text = re.sub(r'"(at|last_at)":"[^"]*"', r'"\1":""', text)
    text = re.sub(r"(?<![\w:.+-])\d+(\.\d+)?(ms|s|m)(\d+s)?(?![\w:])", "AGO", text)
    return re.sub(r" {2,}", "  ", text)


def test_completion_offers_what_the_named_server_has_and_nothing_of_this_machine(
    site, elsewhere, tmp_path
):
    (tmp_path / "filemill.yaml").write_text("version: 1\ntags: {local: {name: x}}\npipelines: {}\n")

    def offered(line, **environ):
        told, _ = command(tmp_path, "__complete", line, **(environ or asking(site)))
        return dict(each.partition("\t")[::2] for each in told.splitlines())

    shown = offered("filemill files show ")
    assert {"good.csv (done)", "asked.txt (held)", "broken.json (dead)"} <= set(shown.values())
    one = next(iter(shown))
    assert one in offered(f"filemill files show {one[:4]}")
    dead = offered("filemill dead redrive ")
    assert {"broken.json (dead)", "again.json (dead)", "group"} == set(dead.values())
    assert set(offered("filemill files ls --tag ")) >= {"table", "document"}
    assert "local" not in offered("filemill files ls --tag ")
    assert {"tables", "copies"} <= set(offered("filemill pause "))
    assert "scraping" in offered("filemill keys revoke ")
    named, key = asking(site)["FILEMILL_URL"], asking(site)["FILEMILL_KEY"]
    line = f"filemill --url {named} files show "
    assert "good.csv (done)" in offered(line, FILEMILL_KEY=key).values()
    nobody = f"filemill --url={named} files ls --tag "
    assert offered(nobody, FILEMILL_KEY="fm_no_such_key") == {}, "nothing, and no error"


@pytest.mark.parametrize("name", READS)
@pytest.mark.parametrize("how", [[], ["--json"], ["-v"]])
def test_what_is_read_over_http_is_what_is_read_here(elsewhere, name, how):
    here, there = elsewhere(*name.split(), *READS[name], *how)
    assert len(here) > 40
    if name == "status" and how == ["--json"]:
        told = [json.loads(each) for each in (here, there)]
        assert told[1]["config"] == told[0]["config"] | {"changes_on_disk": {}, "refused": None}
        assert told[1]["server"]["pid"] == told[0]["server"]["pid"]
        for each in told:
            del each["config"], each["at"], each["files_at"], each["server"]["running"]
        assert told[0] == told[1]
        return
    assert still(there) == still(here)


def test_an_exact_name_and_every_page_are_found(elsewhere):
    for words in (
        ["files", "ls", "--limit", "2", "--json"],
        ["files", "ls", "*.json", "--state", "dead", "--since", "1h", "--json"],
        ["files", "ls", "--tag", "table", "--json"],
        ["files", "show", "good.csv", "--json"],
        ["dead", "show", "D-", "--json"],
        ["dead", "ls", "--all", "--limit", "1", "--json"],
        ["audit", "ls", "--action", "nothing", "--json"],
    ):
        here, there = elsewhere(*words)
        assert still(there) == still(here), words


def test_pages_are_put_together(site, tmp_path, monkeypatch):
    from filemill.client import reading

    monkeypatch.setattr(reading, "PAGE", 2)
    for words in (["files", "ls", "--json"], ["audit", "export"], ["held", "ls", "--json"]):
        here, _ = command(site.root, *words)
        there, _ = command(tmp_path, *words, **asking(site))
        assert still(there) == still(here)
        assert len(json.loads(here.splitlines()[0]).get("items", "more")) > 1


def test_mistakes_end_alike(site, tmp_path):
    for words in (
        ["files", "show", "zzzzzz"],
        ["files", "ls", "--state", "daed"],
        ["dead", "show", "D-000000"],
        ["dead", "show", "good.csv"],
        ["pause", "tabels"],
        ["dead", "redrive", "good.csv"],
    ):
        _, here = command(site.root, *words, code=2)
        _, there = command(tmp_path, *words, code=2, **asking(site))
        assert there == here, words


def acts(site, folder, *words, code=0):
    return command(folder, *words, code=code, **asking(site))


def told_of(site, name):
    with site.client() as client:
        (found,) = client.get("/files", params={"name": name}).json()["items"]
        return client.get(f"/files/{found['id']}").json()


def test_runs_are_redriven_and_discarded(site, tmp_path):
    out, _ = acts(
        site, tmp_path, "dead", "redrive", "again.json", "--reason", "once more", "--json"
    )
    document = json.loads(out)
    assert (document["schema"], document["live"]) == ("filemill.redrive/1", True)
    assert [(each["name"], each["moved"]) for each in document["items"]] == [("again.json", True)]
    serving.until(lambda: len(told_of(site, "again.json")["runs"][0]["attempts"]) == 2)
    serving.until(lambda: told_of(site, "again.json")["state"] == "dead")
    out, _ = acts(
        site, tmp_path, "dead", "redrive", "--all", "--yes", "--from", "start", "--wait", code=1
    )
    assert out == "Done. OK=0 FAIL=2 SKIP=0 TOTAL=2\n"
    out, _ = acts(site, tmp_path, "dead", "discard", "again.json")
    assert out == "discarded 1 run\n"
    deeds = told_of(site, "again.json")["deeds"]
    assert [(each["by"], each["action"]) for each in deeds[-1:]] == [("local", "discard")]
    assert deeds[0]["reason"] == "once more"


def test_a_run_that_is_named_is_meant_and_no_other_of_its_file(site, tmp_path):
    dead, done = told_of(site, "broken.json")["runs"]
    assert [dead["state"], done["state"]] == ["dead", "done"]
    _, here = command(site.root, "dead", "discard", done["id"], code=2)
    _, there = acts(site, tmp_path, "dead", "discard", done["id"], code=2)
    assert here == there
    assert "is not dead, it is done" in here
    with site.client() as client:
        assert client.post("/dead/discard", json={"ids": [done["id"]]}).status_code == 409
    assert told_of(site, "broken.json")["state"] == "dead"


def test_what_is_held_goes_on_with_an_answer(site, tmp_path):
    _, err = acts(site, tmp_path, "held", "release", "asked.txt", code=2)
    assert "--choice" in err
    out, _ = acts(site, tmp_path, "held", "release", "asked.txt", "--choice", "yes")
    assert out == "released 1 run\n"
    serving.until(lambda: told_of(site, "asked.txt")["state"] == "done")
    out, _ = acts(site, tmp_path, "held", "discard", "nobody.xyz")
    assert out == "discarded 1 run\n"
    assert told_of(site, "nobody.xyz")["state"] == "discarded"


def test_done_runs_are_replayed_and_waiting_ones_called_back(site, tmp_path):
    acts(site, tmp_path, "pause", "tables", "--reason", "stop")
    out, _ = acts(site, tmp_path, "files", "replay", "good.csv", "--beside", "--json")
    assert json.loads(out)["items"][0]["moved"] is True
    out, _ = acts(site, tmp_path, "files", "ls", "good.csv")
    assert "tables is paused by local: stop" in out
    out, _ = acts(site, tmp_path, "files", "cancel", "good.csv")
    assert out == "cancelled 1 run\n"
    out, _ = acts(site, tmp_path, "resume", "tables", "--json")
    assert json.loads(out)["items"] == [{"pipeline": "tables", "moved": True}]


def test_a_run_that_moved_since_it_was_seen_is_left_alone(site):
    run = told_of(site, "broken.json")["runs"][0]
    with site.client() as client:
        seen = {"listed": [{"run": run["id"], "fence": run["fence"] - 1}], "reason": "late"}
        answer = client.post("/dead/discard", json=seen)
        assert answer.status_code == 200, answer.text
        assert [each["moved"] for each in answer.json()["items"]] == [False]
        assert told_of(site, "broken.json")["state"] == "dead"
        unknown = {"listed": [{"run": run["id"][:8], "fence": run["fence"]}]}
        assert client.post("/dead/discard", json=unknown).status_code == 404, "only whole ids"
        assert client.post("/dead/discard", json=seen | {"ids": ["a"]}).status_code == 400


def test_what_is_listed_is_looked_for_within_the_keys_scope_only(site, tmp_path):
    words = ["keys", "create", "boxer", "--role", "operator", "--source", "box"]
    key, _ = command(site.root, *words)
    run = told_of(site, "broken.json")["runs"][0]
    file = told_of(site, "nobody.xyz")["id"]
    with site.client(key.strip()) as client:
        for path, listed in (
            ("/dead/discard", {"run": run["id"], "fence": run["fence"]}),
            ("/dead/redrive", {"run": run["id"], "fence": run["fence"]}),
            ("/runs/cancel", {"run": run["id"], "fence": run["fence"]}),
            ("/files/replay", {"run": run["id"]}),
            ("/held/discard", {"file": file}),
        ):
            assert client.post(path, json={"listed": [listed]}).status_code == 404, path
    assert told_of(site, "broken.json")["state"] == "dead"


def test_the_configuration_is_taken_anew_or_refused(site, tmp_path):
    path = site.root / "filemill.yaml"
    before = path.read_text()
    out, _ = acts(site, tmp_path, "reload")
    assert out == "rev 1, unchanged\n"
    path.write_text(before.replace("tolerance: 5", "tolerance: six"))
    _, err = acts(site, tmp_path, "reload", code=2)
    assert "tolerance" in err
    path.write_text(before)


def test_causes_are_called_mended(site, tmp_path):
    group = json.loads(acts(site, tmp_path, "dead", "ls", "--json")[0])["groups"][0]["group"]
    out, _ = acts(site, tmp_path, "dead", "resolve", group, "--reason", "mended")
    assert out == "resolved 1 group\n"
    out, _ = acts(site, tmp_path, "dead", "ls", "--all")
    assert "RESOLVED" in out


def test_the_url_may_be_an_option_and_the_key_a_file(site, tmp_path):
    (tmp_path / "key").write_text(site.key + "\n")
    for words in (
        ["status", "--url", site.url, "--key-file", "key"],
        ["--url", site.url + "/", "--key-file", "key", "status"],
    ):
        out, _ = command(tmp_path, *words)
        assert out.startswith("server  runs, pid ")
    out, _ = command(tmp_path, "status", FILEMILL_URL=site.url, FILEMILL_KEY_FILE="key")
    assert out.startswith("server  runs, pid ")


def test_a_key_for_a_part_of_the_files_is_told_of_that_part(site, tmp_path):
    key, _ = command(
        site.root, "keys", "create", "part", "--role", "viewer-meta", "--source", "box"
    )
    asked = {"FILEMILL_URL": site.url, "FILEMILL_KEY": key}
    told = json.loads(command(tmp_path, "status", "--json", **asked)[0])
    assert (told["total"], told["config"]["revision"]) == (1, None)
    out, _ = command(tmp_path, "files", "ls", **asked)
    assert len(out.splitlines()) == 2
    _, err = command(tmp_path, "audit", "ls", code=2, **asked)
    assert "needs the right `administer`" in err


@pytest.mark.parametrize(
    "url", ["http://files.example.org", "http://10.0.0.1:8600", "http://[2001:db8::1]:8600"]
)
def test_no_key_goes_to_another_machine_in_the_clear(tmp_path, url):
    _, err = command(tmp_path, "status", code=2, FILEMILL_URL=url, FILEMILL_KEY="fm_12345678")
    assert "without TLS" in err
    assert "--plain-http" in err


@pytest.mark.parametrize(
    "url", ["files.example.org", "ftp://x", "http://", "https://a:b@x", "http://x:y", "http://x/?a"]
)
def test_what_is_no_url_is_said(tmp_path, url):
    _, err = command(tmp_path, "status", code=2, FILEMILL_URL=url, FILEMILL_KEY="fm_12345678")
    assert "URL" in err


def test_another_server_is_not_taken_for_ours(tmp_path):
    import http.server
    import threading

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>hello</html>")

        def log_message(self, *_):
            """Nobody reads it."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        _, err = command(tmp_path, "status", code=1, FILEMILL_URL=url, FILEMILL_KEY="fm_12345678")
        server.shutdown()
    assert "answers otherwise than" in err


# --- which commands ----------------------------------------------------------------------------------------------


def all_commands():
    import typer

    from filemill.cli import application
    from filemill.cli.main import COMMANDS, load

    for name in COMMANDS:
        load(name)
    waiting = [((), typer.main.get_command(application.app))]
    while waiting:
        words, found = waiting.pop()
        below = getattr(found, "commands", None)
        if below is None:
            yield " ".join(words)
        else:
            waiting += [((*words, name), each) for name, each in below.items()]


def test_of_every_command_it_is_said_how_far_it_reaches():
    assert set(all_commands()) == set(REACH), "say in cli/reaching.py how far the new one reaches"
    reading = {"files replay", "files cancel", "upload", "pause", "resume", "reload", "drain"}
    reading |= {f"dead {word}" for word in ("redrive", "discard", "resolve")}
    reading |= MENDING | ADMITTING
    reading |= {f"held {word}" for word in ("release", "discard")}
    assert set(READS) | reading == {name for name, reach in REACH.items() if reach is Reach.HTTP}


def test_the_page_says_so_too():
    page = (Path(__file__).resolve().parents[2] / "docs" / "http.md").read_text()
    section = page.split("## The command line as a client")[1].split("\n## ")[0]
    rows = re.findall(
        r"^\| (over HTTP|where the data is|anywhere) \| (.*?) \|", section, re.MULTILINE
    )
    meant = {"over HTTP": Reach.HTTP, "where the data is": Reach.DATA, "anywhere": Reach.HERE}
    said = {word: meant[how] for how, words in rows for word in re.findall(r"`([a-z ]+)`", words)}
    assert said == REACH


@pytest.mark.parametrize("name", [each for each in REACH if REACH[each] is not Reach.HTTP])
def test_a_command_that_asks_no_server_says_so_when_one_is_named(tmp_path, name):
    needed = {
        "try": ["x"], "explain": ["x"], "backfill": ["x"], "steps show": ["x"],
        "config rollback": ["1"], "completion": ["bash"], "init": ["x"], "restore": ["x"], "backup": ["x"],
    }  # fmt: skip
    words = [*name.split(), *needed.get(name, [])]
    _, err = command(tmp_path, *words, "--url", "https://files.example.org", code=2)
    assert f"`filemill {name}`" in err, err
    if REACH[name] is Reach.DATA:
        _, err = command(tmp_path, *words, code=2, FILEMILL_URL="https://files.example.org")
        assert f"`filemill {name}`" in err, err
    assert os.listdir(tmp_path) == []


def test_drain_ends_the_server(tmp_path):
    """The last test of a server of its own."""
    made = Site(tmp_path, CONFIG)
    with made.running() as running:
        log = tmp_path / "server.log"
        out, _ = command("/", "drain", "--wait", FILEMILL_URL=made.url, FILEMILL_KEY=made.key)
        assert "has ended" in out
        serving.until(lambda: not running.answers())
        assert log.exists()
