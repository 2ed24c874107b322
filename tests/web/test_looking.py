"""What is told over HTTP of runs, and the bytes that are handed out."""

import os
from pathlib import Path

import pytest
from sites import DOCUMENTS, Site

import serving
from filemill.web.downloading import open_below
from filemill.web.errors import ApiError

TABLE = b"a,b\n1,2\n3,4\n"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    with Site(tmp_path_factory.mktemp("looking"), DOCUMENTS).running() as made:
        yield made


@pytest.fixture(scope="module")
def files(site):
    """A file that is done, two that are dead, one that is held."""
    sent = {"one.csv": TABLE, "a.json": b'{"a": ', "b.json": b'{"b": ', "x.bin": b"\0\1"}
    with site.client() as client:
        made = {
            name: client.post("/upload?wait=20s", files={"file": (name, content)}).json()
            for name, content in sent.items()
        }
    return {name: each["files"][0] for name, each in made.items()}


def get(client, path, **asked):
    answer = client.get(path, params=asked)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_dead_letters_are_told_by_group_and_page_by_page(client, files):
    first = get(client, "/dead", limit=1)
    assert (first["schema"], first["total"], len(first["items"])) == ("filemill.dead/1", 2, 1)
    second = get(client, "/dead", limit=1, cursor=first["next"])
    assert second["next"] is None
    ids = {each["id"] for page in (first, second) for each in page["items"]}
    assert ids == {files["a.json"]["id"], files["b.json"]["id"]}
    (group,) = first["groups"]
    cause = get(client, f"/dead/{group['group']}")
    assert cause["group"]["count"] == 2
    assert {each["id"] for each in cause["items"]} == ids
    assert get(client, "/dead", pipeline="tables")["items"] == []
    assert client.get("/dead/D-ffffff").status_code == 404


def test_what_is_held_is_told(client, files):
    (item,) = get(client, "/held")["items"]
    assert (item["id"], item["reason"]) == (files["x.bin"]["id"], "unrouted")
    assert get(client, "/held", reason="other")["items"] == []


def test_runs_are_told(client, files):
    done = get(client, "/runs", state="done", pipeline="tables")["items"]
    assert [each["file"] for each in done] == [files["one.csv"]["id"]]
    run = get(client, f"/runs/{done[0]['id'][:10]}")
    assert run["id"] == done[0]["id"]
    assert [each["name"] for each in run["outputs"]] == ["one.csv"]
    assert client.get(f"/runs/{files['one.csv']['id']}").status_code == 404, "that is a file"


def test_pipelines_revisions_sources_sinks_workers_are_told(client, files):
    standing = {each["pipeline"]: each for each in get(client, "/pipelines")["items"]}
    assert standing["tables"]["runs"] == {"done": 1}
    assert standing["documents"]["configured"] is True
    (revision,) = get(client, "/revisions")["items"]
    assert (revision["revision"], revision["current"]) == (1, True)
    sources = {each["source"]: each for each in get(client, "/sources")["items"]}
    assert (sources["upload"]["kind"], sources["upload"]["path"]) == ("http", "/upload")
    assert (sources["inbox"]["kind"], sources["inbox"]["path"]) == ("folder", None)
    assert get(client, "/sinks")["items"] == [{"sink": "out", "kind": "folder", "trouble": None}]
    workers = get(client, "/workers")["items"]
    assert workers
    assert all(os.path.exists(f"/proc/{each['pid']}") for each in workers)
    assert all(each["revision"] == 1 for each in workers)


def test_a_span_narrows_files(client, files):
    assert len(get(client, "/files", since="1h", name="*.csv")["items"]) == 1
    assert get(client, "/files", since="1ms")["items"] == []
    assert client.get("/files", params={"since": "long"}).status_code == 400


def test_readiness_is_told_to_all_and_details_to_few(client, stranger):
    assert stranger.get("/readyz").json() == {"status": "ready"}
    assert stranger.get("/readyz?verbose=true").status_code == 401
    assert get(client, "/readyz", verbose=True)["server"]["troubles"] == []


def test_a_file_and_its_output_are_handed_out(client, files):
    file = files["one.csv"]["id"]
    answer = client.get(f"/files/{file}/content")
    assert (answer.status_code, answer.content) == (200, TABLE)
    assert answer.headers["content-disposition"] == 'attachment; filename="one.csv"'
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"].startswith("sandbox;")
    (output,) = get(client, f"/files/{file}")["runs"][0]["outputs"]
    found = client.get(f"/files/{file}/outputs/{output['publication']}")
    assert (found.status_code, found.content) == (200, TABLE)
    assert client.get(f"/files/{file}/outputs/zzz").status_code == 404


@pytest.mark.parametrize(
    ("asked", "status", "given"),
    [
        ("bytes=4-6", 206, TABLE[4:7]),
        ("bytes=-3", 206, TABLE[-3:]),
        ("bytes=4-", 206, TABLE[4:]),
        ("bytes=900-", 416, None),
        ("bytes=6-4", 200, TABLE),
        ("bytes=0-1,3-4", 200, TABLE),
        ("lines=1-2", 200, TABLE),
    ],
)
def test_a_range_is_handed_out(client, files, asked, status, given):
    path = f"/files/{files['one.csv']['id']}/content"
    answer = client.get(path, headers={"range": asked})
    assert answer.status_code == status
    if given is None:
        assert answer.headers["content-range"] == f"bytes */{len(TABLE)}"
        assert answer.json()["error"]["code"] == "range"
    else:
        assert answer.content == given


def test_an_odd_name_is_told_by_the_rules(client):
    name = 'Übung 1;"x.csv'
    sent = client.post("/upload", params={"name": name}, content=TABLE)
    file = sent.json()["files"][0]["id"]
    answer = client.get(f"/files/{file}/content")
    disposition = answer.headers["content-disposition"]
    assert disposition == "attachment; filename*=utf-8''%C3%9Cbung%201%3B%22x.csv"


def test_descriptors_are_given_back(client, site, files):
    def held():
        children = Path(f"/proc/{server}/task/{server}/children").read_text().split()
        lines = {child: Path(f"/proc/{child}/cmdline").read_bytes() for child in children}
        web = next(child for child, line in lines.items() if b"filemill.web" in line)
        return sum(1 for _ in Path(f"/proc/{web}/fd").iterdir())

    server = get(client, "/readyz", verbose=True)["server"]["pid"]
    path = f"/files/{files['one.csv']['id']}/content"
    client.get(path)
    before = held()
    for asked in ["bytes=900-"] * 10 + ["bytes=1-2"] * 10 + [""] * 10:
        client.get(path, headers={"range": asked} if asked else {})
    serving.until(lambda: held() <= before + 1)


def test_an_output_that_was_replaced_by_a_link_is_not_followed(client, site):
    sent = client.post("/upload?wait=20s&name=link.csv", content=TABLE).json()
    file = sent["files"][0]
    path = f"/files/{file['id']}/outputs/{file['runs'][0]['outputs'][0]['publication']}"
    assert client.get(path).status_code == 200, "the control: it is there"
    output = site.root / "out" / "link.csv"
    output.unlink()
    output.symlink_to(site.root / ".filemill" / "local.key")
    answer = client.get(path)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "gone")


@pytest.mark.parametrize(
    "relative", ["", ".", "../secret", "a/../../secret", "link/secret", "fifo", "a"]
)
def test_nothing_above_or_beside_is_opened(tmp_path, relative):
    root = tmp_path / "root"
    (root / "a").mkdir(parents=True)
    (tmp_path / "secret").write_text("secret")
    (root / "link").symlink_to(tmp_path)
    os.mkfifo(root / "fifo")
    (root / "a" / "file").write_text("told")
    os.close(open_below(os.fsencode(root), b"a/file"))
    with pytest.raises(ApiError) as raised:
        open_below(os.fsencode(root), relative.encode())
    assert raised.value.status == 404
