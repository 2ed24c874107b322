"""What is sent is scanned before anything looks into it; what is infected goes on only when two people say so."""

import io
import tarfile
import time
import zipfile

import pytest
from sites import Site
from tenants import PART, TUS, make_key, metadata

import serving
from clamav import running_clamd
from filemill.ports.scanner import EICAR

CONFIG = """\
version: 1
workers: 1
scan: {{clamd: '{address}', timeout: 5s}}
quarantine: {{release: two-people}}
sources:
  upload: {{http: /upload}}
tags:
  archive: {{name: ["*.zip", "*.tar.gz"]}}
  plain: {{name: "*.txt"}}
pipelines:
  open: {{when: archive, steps: [unpack]}}
  copy: {{when: plain, steps: [read_lines, {{write: out}}]}}
sinks:
  out: {{folder: out}}
"""
pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    with running_clamd() as clamd:
        root = tmp_path_factory.mktemp("scanned")
        with Site(root, CONFIG.format(address=clamd.unix)).running() as made:
            yield made


@pytest.fixture(scope="module")
def people(site):
    """Clients with keys: who sends, looks, operates; and two who release what is unsafe."""
    roles = {
        "sender": ("uploader",),
        "looker": ("viewer-content",),
        "operator": ("operator",),
        "ann": ("releaser",),
        "bea": ("releaser",),
        "trusted": ("viewer-content", "releaser"),
    }
    clients = {name: site.client(make_key(site, name, *of)) for name, of in roles.items()}
    yield clients
    for client in clients.values():
        client.close()


def zipped(name, data):
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, data)
    return made.getvalue()


def tarred(name, data):
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as archive:
        entry = tarfile.TarInfo(name)
        entry.size = len(data)
        archive.addfile(entry, io.BytesIO(data))
    return made.getvalue()


SAMPLES = {
    "plain.txt": EICAR,
    "zipped.zip": zipped("a.txt", EICAR),
    "nested.tar.gz": tarred("b.tar.gz", tarred("c.zip", zipped("a.txt", EICAR))),
}


def send(client, name, data):
    answer = client.post(f"/upload?wait=30s&name={name}", content=data)
    assert answer.status_code == 201, answer.text
    return answer.json()["files"][0]


@pytest.mark.parametrize("name", SAMPLES)
def test_what_is_infected_reaches_no_step_however_it_is_wrapped(site, client, people, name):
    file = send(people["sender"], name, SAMPLES[name])
    assert (file["state"], file["runs"]) == ("quarantined", [])
    assert "Eicar" in file["reason"]
    shown = client.get(f"/files/{file['id']}").json()
    assert shown["media"] == "", "its type is not even looked at"
    assert shown["children"] == []
    # Its sender is told, and nobody gets the bytes without the right to let them go on.
    path = f"/files/{file['id']}/content"
    told = {who: people[who].get(path).status_code for who in ("sender", "looker", "operator")}
    assert told == {"sender": 403, "looker": 403, "operator": 403}
    assert people["trusted"].get(path).content == SAMPLES[name]
    assert not list(site.root.glob(f"out/{name.partition('.')[0]}*"))


def test_the_same_in_parts(client, people):
    sender = people["sender"]
    said = {"upload-length": str(len(EICAR)), "upload-metadata": metadata(filename="parts.txt")}
    location = sender.post("/uploads", headers=TUS | said).headers["location"]
    half = len(EICAR) // 2
    for at in (0, half):
        headers = PART | {"upload-offset": str(at)}
        end = half if at == 0 else None
        answer = sender.patch(location, headers=headers, content=EICAR[at:end])
        assert answer.status_code == 204, answer.text
    file = answer.headers["filemill-file"]
    serving.until(lambda: client.get(file).json()["state"] == "quarantined")


def release(client, file, **said):
    return client.post("/held/release", json={"ids": [file], "reason": "false alarm", **said})


def state_of(client, file):
    return client.get(f"/files/{file}").json()["state"]


def test_two_people_release_it_and_one_of_them_alone_never(site, client, people):
    file = send(people["sender"], "two.txt", EICAR)["id"]
    assert release(people["sender"], file, unsafe=True).status_code == 403
    assert release(people["operator"], file, unsafe=True).status_code == 403
    assert release(people["operator"], file).status_code == 403
    mild = release(people["ann"], file)
    assert (mild.status_code, "unsafe" in mild.json()["error"]["help"]) == (422, True)
    assert state_of(client, file) == "quarantined"
    for _ in range(2):  # the same person twice is one
        alone = release(people["ann"], file, unsafe=True)
        assert [each["moved"] for each in alone.json()["items"]] == [False], alone.text
    time.sleep(0.3)
    assert state_of(client, file) == "quarantined"
    assert not (site.root / "out" / "two.txt").exists()

    both = release(people["bea"], file, unsafe=True)
    assert [each["moved"] for each in both.json()["items"]] == [True], both.text
    serving.until(lambda: state_of(client, file) == "done")
    assert (site.root / "out" / "two.txt").read_bytes() == EICAR + b"\n"
    deeds = client.get(f"/files/{file}").json()["deeds"]
    assert {each["by"] for each in deeds} == {"key:ann", "key:bea"}
    (moved,) = client.get("/audit", params={"action": "readmit", "object": file}).json()["items"]
    assert moved["by"] == "key:bea"

    def refused():
        asked = {"action": "denied", "who": "key:operator"}
        items = client.get("/audit", params=asked).json()["items"]
        return "POST /held/release" in {each["object"] for each in items}

    serving.until(refused)  # who wanted to and might not is known, too
    assert people["looker"].get(f"/files/{file}/content").status_code == 200, "it is safe now"


def test_what_was_given_up_stays_shut(client, people):
    """Nobody wants it any more, and its bytes are as infected as they were."""
    file = send(people["sender"], "given-up.txt", EICAR)["id"]
    gone = people["operator"].post("/held/discard", json={"ids": [file], "reason": "malware"})
    assert [each["moved"] for each in gone.json()["items"]] == [True]
    assert state_of(client, file) == "discarded"
    assert people["looker"].get(f"/files/{file}/content").status_code == 403
    assert people["trusted"].get(f"/files/{file}/content").content == EICAR


def test_what_is_clean_goes_on(client, people):
    """The control."""
    assert send(people["sender"], "clean.txt", b"fine\n")["state"] == "done"
    file = send(people["sender"], "clean.zip", zipped("in.txt", b"fine, too\n"))
    assert file["state"] == "done"
    (child,) = client.get(f"/files/{file['id']}").json()["children"]
    serving.until(lambda: state_of(client, child) == "done")
