"""What a stranger's key opens: its own files, and nothing that is another's."""

import json
import subprocess

import pytest

import serving


def make(site, *words):
    done = subprocess.run(
        [*serving.FILEMILL, "keys", "create", *words, "--json"],
        cwd=site.root,
        env=site.environ,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def command(site, *words):
    subprocess.run(
        [*serving.FILEMILL, *words],
        cwd=site.root,
        env=site.environ,
        capture_output=True,
        check=True,
    )


def test_an_upload_in_parts_is_there_for_the_key_that_began_it(site):
    tus = {"tus-resumable": "1.0.0"}
    keys = [make(site, name, "--role", "uploader")["key"] for name in ("ann-parts", "bob-parts")]
    with site.client(keys[0]) as ann, site.client(keys[1]) as bob:
        said = {"upload-metadata": "filename YS5jc3Y=", "upload-length": "3"}
        location = ann.post("/uploads", headers=tus | said).headers["location"]
        part = tus | {"content-type": "application/offset+octet-stream", "upload-offset": "0"}
        assert bob.head(location, headers=tus).status_code == 404
        assert bob.patch(location, headers=part, content=b"a\n1").status_code == 404
        assert bob.delete(location, headers=tus).status_code == 404
        done = ann.patch(location, headers=part, content=b"a\n1")
        assert done.status_code == 204, done.text
        assert ann.get(done.headers["filemill-file"]).status_code == 200


def send(client, name):
    answer = client.post(
        "/upload?wait=20s", files={"file": (name, f"id\n{name}\n".encode(), "text/csv")}
    )
    assert answer.status_code == 201, answer.text
    return answer.json()["files"][0]["id"]


@pytest.fixture(scope="module")
def people(site):
    """Clients with keys of two who send, and of one who may look at the files of one source."""
    made = {
        "acme": make(site, "acme", "--role", "uploader"),
        "bo": make(site, "bo", "--role", "uploader"),
        "viewer": make(site, "viewer", "--role", "viewer-meta", "--source", "other"),
    }
    clients = {name: site.client(each["key"]) for name, each in made.items()}
    yield clients
    for client in clients.values():
        client.close()


def test_who_sends_sees_what_became_of_it_and_of_nothing_else(site, client, people):
    acme, bo = people["acme"], people["bo"]
    mine, theirs, ours = send(acme, "mine.csv"), send(bo, "theirs.csv"), send(client, "ours.csv")
    assert {each["id"] for each in acme.get("/files?limit=500").json()["items"]} == {mine}
    assert acme.get(f"/files/{mine}").json()["principal"] == "key:acme"
    for other in (theirs, ours):
        for path in (f"/files/{other}", f"/files/{other[:8]}"):
            answer = acme.get(path)
            assert answer.status_code == 404
        assert acme.get("/files", params={"name": "theirs"}).json()["items"] == []
    assert acme.get("/stats").status_code == 403, "numbers of the whole system are not its own"
    everything = {each["id"] for each in client.get("/files?limit=500").json()["items"]}
    assert {mine, theirs, ours} <= everything, "the control: who may look sees all"


def test_a_viewer_of_one_source_sees_only_that(site, client, people):
    send(client, "hidden.csv")
    viewer = people["viewer"]
    assert viewer.get("/files").json()["items"] == []
    answer = client.post(
        "/partners/acme?wait=20s", files={"file": ("seen.csv", b"id\n1\n", "text/csv")}
    )
    assert answer.status_code == 201
    assert [each["name"] for each in viewer.get("/files").json()["items"]] == ["seen.csv"]
    assert viewer.get("/stats").json()["total"] == 1
    assert viewer.post("/upload", files={"file": ("a.csv", b"id\n", "text/csv")}).status_code == 403


def test_a_revoked_key_opens_nothing_at_once(site):
    made = make(site, "short", "--role", "viewer-meta")
    with site.client(made["key"]) as short:
        assert short.get("/files").status_code == 200
        command(site, "keys", "revoke", "short", "--yes")
        assert short.get("/files").status_code == 401


def test_when_a_key_was_used_is_noted(site):
    made = make(site, "noted", "--role", "viewer-meta")
    with site.client(made["key"]) as noted:
        noted.get("/files")

    def used():
        listed = subprocess.run(
            [*serving.FILEMILL, "keys", "ls", "--json"],
            cwd=site.root, env=site.environ, capture_output=True, check=True,
        )  # fmt: skip
        return next(k for k in json.loads(listed.stdout)["items"] if k["id"] == made["id"])[
            "used_at"
        ]

    serving.until(used)
