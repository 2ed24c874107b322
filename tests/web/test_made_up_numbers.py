"""Numbers that are none, or larger than anything is: refused, and never a defect."""

import pytest


@pytest.mark.parametrize("cursor", ["²", "٣", "9" * 19, "9" * 5000, "-1", "1.5", "1e3", ""])
@pytest.mark.parametrize("path", ["/files", "/runs", "/dead", "/held", "/audit"])
def test_what_is_no_cursor_is_refused(client, path, cursor):
    answer = client.get(path, params={"cursor": cursor})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "bad-request")


@pytest.mark.parametrize("span", ["99999999999999999d", "9" * 400 + "d", "300000d"])
@pytest.mark.parametrize("path", ["/files", "/runs", "/dead", "/audit"])
def test_what_begins_before_all_times_is_refused(client, path, span):
    answer = client.get(path, params={"since": span})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "bad-request")


@pytest.mark.parametrize("number", ["²", "9" * 20, "-1", "x"])
def test_what_is_no_id_of_an_event_is_refused(client, number):
    asked = {"last-event-id": number.encode("latin-1")}
    assert client.get("/events", headers=asked).status_code == 400


@pytest.mark.parametrize("key", [b"\xe9\xff", b"fm_\xb2_x", b"fm_aaaaaaaa_" + b"\xc3" * 58])
def test_a_key_of_strange_letters_is_none(stranger, key):
    assert stranger.get("/stats", headers={"authorization": b"Bearer " + key}).status_code == 401
