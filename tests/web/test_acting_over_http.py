"""What people do through HTTP: the same acts as the commands', with the same answers."""

import pytest
from sites import DOCUMENTS, Site

import serving
from filemill.model.access import Principal
from filemill.queries.choosing import Target
from filemill.web.api.held import may_release
from filemill.web.errors import ApiError
from filemill.web.scopes import must_be_for_pipeline, must_be_whole

TABLE = b"a,b\n1,2\n"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    with Site(tmp_path_factory.mktemp("acting"), DOCUMENTS).running() as made:
        yield made


def send(client, name, content=TABLE, wait="20s"):
    answer = client.post(f"/upload?wait={wait}", files={"file": (name, content)})
    assert answer.status_code == 201, answer.text
    return answer.json()["files"][0]


def dead_one(client, name):
    file = send(client, name, b'{"a": ')
    assert file["state"] == "dead", file
    return file["id"]


def state_of(client, file):
    return client.get(f"/files/{file}").json()["state"]


def audit(client, file):
    return [(each["action"], each["by"]) for each in client.get(f"/files/{file}").json()["deeds"]]


def error_of(answer):
    return answer.status_code, answer.json()["error"]["code"]


def test_a_dead_run_is_tried_again_and_discarded(client):
    file = dead_one(client, "broken.json")
    plan = client.post("/dead/redrive", json={"ids": [file], "dry_run": True}).json()
    assert (plan["schema"], plan["what"]) == ("filemill.plan/1", "would redrive")
    assert [each["moved"] for each in plan["items"]] == [False]
    assert audit(client, file) == [], "a dry run does nothing"

    done = client.post("/dead/redrive", json={"ids": [file[:8]], "from": "start", "reason": "now"})
    assert done.status_code == 200, done.text
    document = done.json()
    assert (document["schema"], document["live"]) == ("filemill.redrive/1", True)
    (item,) = document["items"]
    assert (item["file"], item["pipeline"], item["moved"]) == (file, "documents", True)
    serving.until(lambda: client.get(f"/files/{file}").json()["runs"][0]["attempts"][1:])
    serving.until(lambda: state_of(client, file) == "dead")
    assert audit(client, file) == [("redrive", "local")]

    given_up = client.post("/dead/discard", json={"ids": [file], "reason": "of no use"})
    assert given_up.json()["schema"] == "filemill.discard/1"
    assert state_of(client, file) == "discarded"
    again = client.post("/dead/discard", json={"ids": [file]})
    assert error_of(again) == (409, "conflict"), "it is there, and not dead any more"


def test_all_of_a_group_and_its_cause(client):
    files = {dead_one(client, f"group-{number}.json") for number in range(3)}
    group = client.get(f"/files/{next(iter(files))}").json()["runs"][0]["error"]["group"]
    resolved = client.post("/dead/resolve", json={"groups": [group], "reason": "mended"})
    assert resolved.json() == {"schema": "filemill.resolve/1", "groups": [group]}
    done = client.post("/dead/discard", json={"query": {"group": group, "pipeline": "documents"}})
    assert {each["file"] for each in done.json()["items"]} >= files
    assert all(each["moved"] for each in done.json()["items"])
    assert done.json()["more"] is False
    assert {state_of(client, file) for file in files} == {"discarded"}
    assert error_of(client.post("/dead/discard", json={"ids": [group]})) == (404, "not-found")


def test_what_is_held_goes_on_or_is_given_up(client):
    first, second = (send(client, f"unknown-{n}.bin", bytes([n, 0]))["id"] for n in (1, 2))
    assert state_of(client, first) == state_of(client, second) == "held"
    released = client.post("/held/release", json={"ids": [first]}).json()
    assert [each["moved"] for each in released["items"]] == [True]
    assert released["items"][0]["run"] is None
    serving.until(lambda: state_of(client, first) == "held")  # nothing wants it, still
    done = client.post("/held/discard", json={"query": {"reason": "unrouted"}})
    assert {each["file"] for each in done.json()["items"]} == {first, second}
    assert state_of(client, second) == "discarded"
    answer = client.post("/held/release", json={"ids": [second]})
    assert error_of(answer) == (409, "conflict")


def test_a_pipeline_pauses_a_run_is_called_back_and_done_again(client):
    paused = client.post("/pipelines/tables/pause", json={"reason": "warehouse"})
    assert paused.json()["items"] == [{"pipeline": "tables", "moved": True}]
    assert client.post("/pipelines/tables/pause").json()["items"][0]["moved"] is False
    file = send(client, "waits.csv", wait="1s")["id"]
    cancelled = client.post("/runs/cancel", json={"ids": [file]})
    assert [each["moved"] for each in cancelled.json()["items"]] == [True]
    assert state_of(client, file) == "cancelled"
    assert error_of(client.post("/runs/cancel", json={"ids": [file]})) == (409, "conflict")
    resumed = client.post("/pipelines/tables/resume")
    assert resumed.json()["items"] == [{"pipeline": "tables", "moved": True}]
    again = client.post("/files/replay", json={"ids": [file]})
    assert again.json()["items"][0]["moved"], again.text
    serving.until(
        lambda: "done" in {r["state"] for r in client.get(f"/files/{file}").json()["runs"]}
    )


def test_what_is_done_is_done_again_only_with_a_word_about_its_outputs(client, site):
    file = send(client, "twice.csv")["id"]
    answer = client.post("/files/replay", json={"ids": [file]})
    assert answer.status_code == 422
    assert "supersede" in answer.json()["error"]["help"]
    done = client.post("/files/replay", json={"ids": [file], "supersede": False})
    assert done.status_code == 200, done.text
    serving.until((site.root / "out" / "twice-2.csv").exists)
    serving.until(lambda: state_of(client, file) == "done")  # its name is there a moment before
    query = {"query": {"pipeline": "tables", "since": "1h"}, "supersede": True, "dry_run": True}
    assert file in {e["file"] for e in client.post("/files/replay", json=query).json()["items"]}


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/dead/redrive", {}, 400),
        ("/dead/redrive", {"ids": ["a"], "query": {}}, 400),
        ("/dead/redrive", {"ids": []}, 422),
        ("/dead/redrive", {"ids": ["a"] * 501}, 422),
        ("/dead/redrive", {"ids": ["zzzzzz"]}, 404),
        ("/dead/redrive", {"ids": ["a"], "form": "start"}, 422),
        ("/dead/discard", {"query": {"pipelines": "tables"}}, 422),
        ("/dead/discard", {"query": {"since": "long"}}, 400),
        ("/dead/redrive", {"query": {}, "revision": "newest"}, 422),
        ("/dead/resolve", {"groups": ["D-ffffff"]}, 404),
        ("/files/replay", {"query": {"state": "dead"}}, 422),
        ("/pipelines/nothing/pause", {}, 404),
        ("/drain", {"reason": 5}, 422),
    ],
)
def test_what_is_not_meant_is_refused(client, path, body, status):
    """A word that is not known must not widen what is done."""
    answer = client.post(path, json=body)
    assert answer.status_code == status, answer.text
    assert set(answer.json()["error"]) == {"code", "message", "help", "request_id"}


def test_the_configuration_is_taken_anew(client, site):
    before = client.post("/config/reload").json()
    assert before["revision"] == before["former"]
    file = site.root / "filemill.yaml"
    try:
        file.write_text(
            DOCUMENTS.replace("[read_json, {write: out}]", "[read_json, {write: nowhere}]")
        )
        bad = client.post("/config/reload")
        assert error_of(bad) == (422, "bad-configuration")
        assert "nowhere" in bad.json()["error"]["message"]
        file.write_text(DOCUMENTS + "  more: {folder: more}\n")
        done = client.post("/config/reload", json={"reason": "one more sink"}).json()
        assert done["revision"] == before["revision"] + 1
    finally:
        file.write_text(DOCUMENTS)


def test_the_server_ends_when_it_is_told(tmp_path):
    site = Site(tmp_path, DOCUMENTS)
    log = tmp_path / "server.log"
    server = serving.begin(site.root, site.environ, log)
    try:
        serving.until(lambda: f"web {site.url}".encode() in log.read_bytes())
        with site.client() as client:
            answer = client.post("/drain", json={"reason": "maintenance"})
        assert (answer.status_code, answer.json()["schema"]) == (202, "filemill.drain/1")
        assert server.wait(serving.LONG) == 0, log.read_text()
    finally:
        server.kill()
        server.wait()


def refused(call, *arguments):
    with pytest.raises(ApiError) as raised:
        call(*arguments)
    return raised.value.status


def test_a_principal_acts_within_its_scope():
    known = ("orders", "returns")
    whole = Principal(name="a", roles=("operator",))
    of_orders = Principal(name="b", roles=("operator",), pipelines=("orders",))
    of_acme = Principal(name="c", roles=("operator",), sources=("acme",))
    must_be_whole(whole)
    must_be_for_pipeline(whole, "returns", known)
    must_be_for_pipeline(of_orders, "orders", known)
    assert refused(must_be_for_pipeline, of_orders, "returns", known) == 404
    assert refused(must_be_for_pipeline, of_orders, "nothing", known) == 404
    assert refused(must_be_for_pipeline, of_acme, "orders", known) == 403
    assert refused(must_be_whole, of_orders) == refused(must_be_whole, of_acme) == 403


def test_a_quarantined_file_needs_a_right_of_its_own():
    operator = Principal(name="a", roles=("operator",))
    releaser = Principal(name="b", roles=("releaser",))
    unsafe, unrouted = Target("1", "x", state="quarantined"), Target("2", "y", state="held")
    may_release(operator, unrouted)
    may_release(releaser, unsafe)
    assert refused(may_release, operator, unsafe) == refused(may_release, releaser, unrouted) == 403
