"""Dead letters mended from elsewhere: their input and their original fetched, a mended copy sent in their place."""

import contextlib
import hashlib
import json
import os
import signal
import sys
from base64 import b64encode

import httpx2
import pytest
from sealed_sites import CANARY, SealedSite
from senders import asking, command
from sites import Site

import serving

CONFIG = """\
version: 1
sources:
  upload: {http: /upload, tags: ["from:upload"]}
  other: {http: /other}
tags: {orders: {name: "*.csv"}, logs: {name: "*.jsonl"}, both: {name: "both*"}}
pipelines:
  orders: {when: orders, steps: [{read_csv: {types: {n: integer}}}, {write: out}]}
  logs: {when: logs, tolerance: 5, steps: [read_jsonl, {write: out}]}
  late: {when: both, steps: [read_csv, {derive: {m: "id || 'x'"}}, {derive: {k: "CAST(n AS INTEGER)"}}, {write: late}]}
  whole: {when: both, steps: [{write: whole}]}
sinks: {out: {folder: out}, late: {folder: late}, whole: {folder: whole}}
"""
ORDERS = b"id,n\r\na,1\r\nb,two\r\nc,3\r\nd,four\r\n"
MENDED = b"id,n\r\na,1\r\nb,2\r\nc,3\r\nd,4\r\n"
LOGS = b'{"a":1}\nnope\n{"a":3}\n'


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    with Site(tmp_path_factory.mktemp("mending"), CONFIG).running() as made:
        yield made


def sent(site, name, content, to="upload"):
    """Its id, when nothing more happens to it."""
    with site.client() as client:
        answer = client.post(f"/{to}?wait=20s", files={"file": (name, content)})
        assert answer.status_code == 201, answer.text
        return answer.json()["files"][0]["id"]


def told_of(site, file):
    with site.client() as client:
        return client.get(f"/files/{file}").json()


def over(site, folder, *words, code=0, **environ):
    return command(folder, *words, code=code, **asking(site), **environ)


def mended(site, file, content, key=None, headers=None, **asked):
    with site.client(key) as client:
        return client.post(f"/files/{file}/mend", params=asked, content=content, headers=headers)


def editor(folder, old, new):
    script = folder / "editor"
    script.write_text(
        f"#!{sys.executable}\nimport sys\ndata = open(sys.argv[1], 'rb').read()\n"
        f"open(sys.argv[1], 'wb').write(data.replace({old!r}, {new!r}))\n"
    )
    script.chmod(0o755)
    return str(script)


def test_what_is_dead_is_mended_in_an_editor_of_another_machine(site, tmp_path):
    file = sent(site, "édité.csv", ORDERS)
    assert told_of(site, file)["state"] == "dead"
    fix = editor(tmp_path, b"two", b"2")
    out, _ = over(site, tmp_path, "dead", "edit", file, "--reason", "typo", EDITOR=fix)
    assert out.endswith(", 1 dead run given up\n")
    history = told_of(site, file)
    (child,) = history["children"]
    assert [run["state"] for run in history["runs"]] == ["discarded"]
    assert history["deeds"][-1]["reason"] == "typo"
    serving.until(lambda: told_of(site, child)["state"] == "dead")
    assert told_of(site, child)["tags"][:1] == ["from:upload"]
    # The records that are left, alone, and back into a copy of the whole.
    fix = editor(tmp_path, b"four", b"4")
    out, _ = over(site, tmp_path, "dead", "resubmit", child, "--json", EDITOR=fix)
    grandchild = json.loads(out)["child"]
    serving.until(lambda: told_of(site, grandchild)["state"] == "done")
    assert (site.root / "out" / "édité.csv").read_bytes() == MENDED
    with site.client() as client:
        assert client.get(f"/files/{file}/content").content == ORDERS
    assert sorted(os.listdir(tmp_path)) == ["editor"]


def test_bad_records_of_a_file_that_is_done_go_alone_and_once(site, tmp_path):
    file = sent(site, "log.jsonl", LOGS)
    (tmp_path / "fixed").write_bytes(b'{"a":2}\n')
    words = ["dead", "resubmit", file, "--with", "fixed"]
    out, _ = over(site, tmp_path, *words)
    assert out.startswith("sent as ")
    (child,) = told_of(site, file)["children"]
    serving.until(lambda: told_of(site, child)["state"] == "done")
    _, err = over(site, tmp_path, *words, code=2)
    assert "its bad records were sent before" in err
    run = told_of(site, file)["runs"][0]["id"]
    assert mended(site, file, b"x", run=run).status_code == 409, "nor by another client"
    assert mended(site, file, b'{"a":9}\n', run=run, again=True).status_code == 201


def test_dead_letters_are_exported_and_inputs_shown_as_they_are_here(site, tmp_path):
    file = sent(site, "both-export.csv", ORDERS)
    for place, words in (("there", asking(site)), ("here", {})):
        folder = tmp_path if words else site.root
        for more in ([], ["--records"]):
            to = str(tmp_path / place / "-".join(["to", *more]))
            command(folder, "dead", "export", file, "--to", to, *more, code=None, **words)
    there, here = (
        {
            str(path.relative_to(tmp_path / place)): path.read_bytes()
            for path in (tmp_path / place).rglob("*")
            if path.is_file()
        }
        for place in ("there", "here")
    )
    assert there == here
    assert len(there) >= 4
    late = next(run for run in told_of(site, file)["runs"] if run["pipeline"] == "late")
    assert late["kept"], late
    for run in (late["id"], next(r["id"] for r in told_of(site, file)["runs"] if r != late)):
        command(site.root, "dead", "input", run, "-o", str(tmp_path / f"here-{run}"))
        over(site, tmp_path, "dead", "input", run, "-o", f"there-{run}")
        given = (tmp_path / f"there-{run}").read_bytes()
        assert given == (tmp_path / f"here-{run}").read_bytes()
        assert b"two" in given
    with site.client() as client:
        kept = client.get(f"/runs/{late['id']}/input")
        assert len(kept.content) == late["kept"]["size"]
        assert kept.headers["content-type"] == "application/octet-stream"


def test_nothing_is_sent_twice_by_surprise(site, tmp_path):
    file = sent(site, "both-twice.csv", ORDERS)
    states = {run["pipeline"]: run["state"] for run in told_of(site, file)["runs"]}
    assert states == {"orders": "dead", "late": "dead", "whole": "done"}
    (tmp_path / "fixed").write_bytes(MENDED)
    _, err = over(site, tmp_path, "dead", "edit", file, "--with", "fixed", code=2)
    assert "whole already holds output of this file" in err
    answer = mended(site, file, MENDED)
    assert answer.status_code == 409
    assert "beside=true" in answer.json()["error"]["help"]
    out, _ = over(site, tmp_path, "dead", "edit", file, "--with", "fixed", "--yes")
    assert "2 dead runs given up" in out
    (child,) = told_of(site, file)["children"]
    serving.until(lambda: told_of(site, child)["state"] == "done")
    answer = mended(site, child, b"x")
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "conflict")
    assert "it is not dead, it is done" in answer.text


def test_who_comes_late_or_with_too_little_changes_nothing(site, tmp_path):
    file = sent(site, "late.csv", ORDERS)
    run = told_of(site, file)["runs"][0]
    before = told_of(site, file)
    wrong = b64encode(hashlib.sha256(b"other").digest()).decode()
    assert mended(site, file, b"x", run=f"{run['id']}:{run['fence'] - 1}").status_code == 409
    assert mended(site, file, b"x", run="zzzzzzzzzzzzz").status_code == 404
    assert mended(site, file, b"x", run="../../x").status_code == 422
    digest = {"content-digest": f"sha-256=:{wrong}:"}
    assert mended(site, file, b"x", headers=digest).status_code == 422
    for words, status in (
        (["viewer-content"], 403),
        (["operator", "--source", "other"], 404),
        (["operator", "--pipeline", "logs"], 403),
    ):
        name = f"k{len(words)}{status}"
        key, _ = command(site.root, "keys", "create", name, "--role", *words)
        assert mended(site, file, MENDED, key.strip()).status_code == status, words
    assert told_of(site, file) == before
    assert os.listdir(site.root / ".filemill" / "children") == []
    key, _ = command(
        site.root, "keys", "create", "ours", "--role", "operator", "--source", "upload"
    )
    answer = mended(site, file, MENDED, key.strip())
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"] == f"/files/{answer.json()['child']}"
    assert answer.json()["discarded"] == [run["id"]]
    serving.until(lambda: told_of(site, answer.json()["child"])["state"] == "done")
    assert mended(site, file, MENDED, key.strip()).status_code == 409, "it is over"


def test_a_sender_that_goes_away_leaves_nothing(site):
    file = sent(site, "gone.csv", ORDERS)

    def half():
        yield MENDED
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        mended(site, file, half())
    children = site.root / ".filemill" / "children"
    serving.until(lambda: os.listdir(children) == [])
    assert told_of(site, file)["state"] == "dead"


def test_encrypted_it_is_never_plain_on_the_way(tmp_path, monkeypatch):
    table = b"a,b\n%b,one\n" % CANARY
    site = SealedSite(tmp_path)
    with site.running():
        config = tmp_path / "filemill.yaml"
        failing = (
            "steps: [read_csv, {derive: {c: a}}, {derive: {d: 'CAST(b AS INTEGER)'}}, {write: out}]"
        )
        config.write_text(config.read_text().replace("steps: [read_csv, {write: out}]", failing))
        command(tmp_path, "reload")
        file = sent(site, "orders.csv", table)
        run = told_of(site, file)["runs"][0]
        assert run["state"] == "dead"
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        monkeypatch.setenv("TMPDIR", str(elsewhere / "tmp"))  # there is none: memory is taken
        over(site, elsewhere, "dead", "input", run["id"], "-o", "given")
        assert CANARY in (elsewhere / "given").read_bytes()
        fix = editor(elsewhere, b",one", b",1")
        out, _ = over(site, elsewhere, "dead", "edit", file, "--json", EDITOR=fix)
        assert site.leaks() == []
        child = json.loads(out)["child"]
        serving.until(lambda: told_of(site, child)["state"] == "done")
        assert CANARY + b",1" in site.output("orders.csv")
        assert site.leaks() == []


@pytest.mark.crash
@pytest.mark.parametrize("point", ["web.sync_file:1:kill", "web.sync_directory:1:kill"])
def test_what_was_not_handed_over_when_the_child_died_is_sent_again(tmp_path, point):
    site, once = Site(tmp_path, CONFIG), tmp_path / "once"
    once.mkdir()
    more = {"FILEMILL_FAIL": point, "FILEMILL_FAIL_ONCE": str(once)}
    with serving.serving(tmp_path, site.environ | more):
        serving.until(site.answers)
        file = sent(site, "killed.csv", ORDERS)
        with pytest.raises(httpx2.HTTPError):
            mended(site, file, MENDED)
        serving.until(site.answers)
        assert told_of(site, file)["state"] == "dead"
        child = mended(site, file, MENDED).json()["child"]
        serving.until(lambda: told_of(site, child)["state"] == "done")
    with site.running():
        assert os.listdir(tmp_path / ".filemill" / "children") == []
    assert (tmp_path / "out" / "killed.csv").read_bytes() == MENDED


@pytest.mark.crash
def test_a_server_killed_while_it_takes_a_mended_file_loses_neither(tmp_path):
    """At each of its renames: the dead run stays, or its child comes, also where nobody was told of it."""
    site = Site(tmp_path, CONFIG)
    with site.running():
        assert site.key, "its folders are there from here on"
    ends = []
    while "told" not in ends:
        ends.append(killed_at(site, len(ends) + 4))  # the first ones are before it is sent
    assert "nobody was told" in ends, "it was killed between the commit and the answer"


def killed_at(site, number):
    """A server that dies at its rename of that number while a file is sent and mended; what came of it."""
    name, once = f"k{number}.csv", site.root / f"once-{number}"
    once.mkdir()
    more = {"FILEMILL_FAIL": f"server.rename:{number}:kill", "FILEMILL_FAIL_ONCE": str(once)}
    server = serving.begin(site.root, site.environ | more, site.root / "server.log")
    file, answered = "", False
    try:
        serving.until(lambda: site.answers() or server.poll() is not None)
        with contextlib.suppress(httpx2.HTTPError, AssertionError):  # it died, and said so or not
            file = sent(site, name, ORDERS)
            answered = mended(site, file, MENDED).status_code == 201
        if answered:
            server.send_signal(signal.SIGINT)
            server.wait()
    finally:
        server.kill()
        server.wait()
    with site.running():
        if not file:
            return "was not sent"
        serving.until(lambda: told_of(site, file)["state"] in {"dead", "discarded"})
        history = told_of(site, file)
        assert os.listdir(site.root / ".filemill" / "children") == []
        if history["state"] == "dead":
            assert not answered, "what was acknowledged was done"
            assert history["children"] == []
            return "nothing was done"
        (child,) = history["children"]
        serving.until(lambda: told_of(site, child)["state"] == "done")
        assert (site.root / "out" / name).read_bytes() == MENDED
        return "told" if answered else "nobody was told"
