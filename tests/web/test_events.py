"""Reading along over HTTP: what happens comes, and comes again where a client left off."""

import json

TABLE = b"a,b\n1,2\n"


def frames(lines):
    """(id, event, data) of each event that the stream sends."""
    found = {}
    for line in lines:
        name, _, value = line.partition(": ")
        if line:
            found[name] = value
        elif "data" in found:
            yield found.get("id"), found["event"], json.loads(found["data"])
            found = {}
        else:
            found = {}


def send(client, name):
    answer = client.post(f"/upload?wait=20s&name={name}", content=TABLE)
    assert answer.json()["files"][0]["state"] == "done", answer.text
    return answer.json()["files"][0]["id"]


def until_told(told, file):
    """The id of the event that says that this file is done."""
    for number, event, data in told:
        if event == "RunFinished" and data["file"] == file:
            return number
    return None


def test_what_happens_is_told_and_told_again_after_a_break(site, client):
    with site.client() as listener, listener.stream("GET", "/events") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        told = frames(stream.iter_lines())
        last = until_told(told, first) if (first := send(client, "first.csv")) else None
    missed = send(client, "missed.csv")
    headers = {"last-event-id": last}
    with site.client() as listener, listener.stream("GET", "/events", headers=headers) as stream:
        assert until_told(frames(stream.iter_lines()), missed)


def test_it_is_narrowed(site, client):
    with site.client() as listener:
        asked = {"pipeline": "texts", "state": "done"}
        with listener.stream("GET", "/events", params=asked) as stream:
            told = frames(stream.iter_lines())
            send(client, "table.csv")
            client.post("/upload?wait=20s&name=text.txt", content=b"x\n")
            _, event, data = next(told)
            assert (event, data["pipeline"]) == ("RunFinished", "texts")


def test_what_is_no_id_or_state_is_refused(client, stranger):
    for no_id in ("x", "\xb2".encode("latin-1"), "9" * 5_000):
        assert client.get("/events", headers={"last-event-id": no_id}).status_code == 400
    assert client.get("/events?state=nonsense").status_code == 400
    assert stranger.get("/events").status_code == 401
