"""The audit knows whom a door was shut to and who took bytes away; a sender learns no place of the server."""

import asyncio

from test_keys_over_http import make

import serving
from filemill.ports.clock import SystemClock
from filemill.web.noting import AFTER, MOST, STRANGER, AccessNotes

TABLE = b"id\n1\n"


def rows(client, **narrowed):
    return client.get("/audit", params=narrowed).json()["items"]


def test_denials_and_downloads_are_noted(site, client, stranger):
    viewer = make(site, "looker", "--role", "viewer-content")["key"]
    sent = client.post("/upload", files={"file": ("noted.csv", TABLE)}).json()["files"][0]["id"]
    assert stranger.get("/stats", headers={"authorization": "Bearer fm_wrong"}).status_code == 401
    with site.client(viewer) as looking:
        assert looking.get("/audit").status_code == 403
        assert looking.get(f"/files/{sent}/content").content == TABLE
    serving.until(lambda: rows(client, action="download", object=sent))
    (download,) = rows(client, action="download", object=sent)
    assert download["by"] == "key:looker"
    denied = rows(client, action="denied", who="key:looker")
    assert denied[0]["object"] == "GET /audit"
    assert denied[0]["detail"]["address"] == "127.0.0.1"
    assert rows(client, action="denied", who="stranger")[0]["object"] == "/stats"
    assert "fm_wrong" not in client.get("/audit?limit=500").text


def test_a_deed_has_the_address_that_it_was_asked_from(site, client):
    assert client.post("/pipelines/tables/pause", json={"reason": "a look"}).status_code == 200
    assert client.post("/pipelines/tables/resume").status_code == 200
    (paused,) = rows(client, action="pause")
    assert paused["detail"] == {"reason": "a look", "address": "127.0.0.1"}
    make(site, "local-deed", "--role", "scraper")
    made = rows(client, action="create-key")[0]
    assert "address" not in made["detail"], "who asks on the machine has none"


def test_a_sender_learns_no_place_of_the_server(site):
    sender = make(site, "sender", "--role", "uploader")["key"]
    with site.client(sender) as sending:
        answer = sending.post("/upload?wait=20s", files={"file": ("placed.csv", TABLE)})
        (receipt,) = answer.json()["files"]
        shown = sending.get(receipt["url"])
    assert receipt["state"] == "done"
    assert shown.json()["runs"][0]["outputs"][0]["name"] == "placed.csv"
    for text in (answer.text, shown.text):
        assert str(site.root) not in text


def test_of_a_flood_the_rest_is_counted():
    asyncio.run(flooded())


async def flooded():
    told = []

    async def tell(accesses):
        told.append(accesses)

    notes = AccessNotes(SystemClock(), tell)
    for number in range(MOST + 50):
        notes.note(STRANGER, "denied", f"/{number}")
    await asyncio.sleep(AFTER + 0.2)
    (accesses,) = told
    assert len(accesses) == MOST + 1
    assert accesses[-1].detail == {"more": 50}
