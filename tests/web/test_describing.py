"""The description is whole, behind a key, and what is served fits it."""

import copy
import json

import pytest
from conformance import REFUSED, Described

from filemill.web.answers import ANSWERS
from filemill.web.application import ROUTERS
from filemill.web.describing import ENTRANCE, OPEN


@pytest.fixture(scope="module")
def described(site):
    found = site.described()
    assert found is not None
    return found


def operations(whole):
    return [
        (path, method.upper(), operation)
        for path, each in whole["paths"].items()
        for method, operation in each.items()
    ]


def responses(whole):
    return [
        (f"{method} {path} {status}", status, response)
        for path, method, operation in operations(whole)
        for status, response in operation["responses"].items()
    ]


def test_every_route_is_described_with_its_answers_and_its_key(site, described):
    there = {
        (method, route.path.replace(":path", ""))
        for router in ROUTERS
        for route in router.routes
        for method in route.methods
    }
    assert set(ANSWERS) == there, "`web/answers.py` says of every route what it answers"
    told = {(method, path) for path, method, _ in operations(described.whole)}
    entrances = {("POST", "/upload"), ("POST", "/partners/acme")}
    assert told == there - {("POST", ENTRANCE)} | entrances
    for path, method, operation in operations(described.whole):
        assert operation["summary"]
        is_open = path in OPEN or method == "OPTIONS"
        session = {"session": []} if method in ("GET", "HEAD") else {"session": [], "csrf": []}
        assert operation["security"] == ([] if is_open else [{"key": []}, session])
        assert {"400", "413", "421", "429"} <= set(operation["responses"])
        assert is_open or {"401", "403", "503"} <= set(operation["responses"])
    names = [operation["operationId"] for _, _, operation in operations(described.whole)]
    assert len(set(names)) == len(names)
    schemes = described.whole["components"]["securitySchemes"]
    assert schemes["key"]["scheme"] == "bearer"
    assert schemes["session"]["name"] == f"filemill-{site.port}"


def test_no_answer_is_without_a_schema_and_an_example_that_fits(described):
    empty = []
    for where, status, response in responses(described.whole):
        assert response["description"]
        if "content" not in response:
            empty.append(where)
        for media, content in response.get("content", {}).items():
            assert content["schema"], where
            example = content["example"]
            if media == "application/json":
                assert described.problems(example, content["schema"]) == [], where
                assert example or "openapi" in where
        if status != "default":
            assert "X-Request-Id" in response["headers"]
        assert ("Retry-After" in response.get("headers", {})) == (status in {"429", "503", "507"})
    without = {each for each in empty if not each.startswith("HEAD")}
    assert without == {
        "OPTIONS /uploads 204",
        "POST /uploads 201",
        "OPTIONS /uploads/{file} 204",
        "PATCH /uploads/{file} 204",
        "POST /uploads/{file} 204",
        "DELETE /uploads/{file} 204",
        "POST /login/link 303",
        "POST /login/key 303",
        "GET /login/oidc 303",
        "POST /logout 303",
    }


def test_every_reference_leads_somewhere_and_every_part_is_used(described):
    text = json.dumps(described.whole)
    parts = described.whole["components"]
    for kind in ("schemas", "headers"):
        for name in parts[kind]:
            assert f'"#/components/{kind}/{name}"' in text, name
    used = {each.partition('"')[0] for each in text.split('"#/components/')[1:]}
    assert used == {f"{kind}/{name}" for kind in ("schemas", "headers") for name in parts[kind]}


def test_a_field_too_many_too_few_or_of_another_type_is_seen(client, described):
    """The judge of these tests is no rubber stamp."""
    document = client.get("/stats").json()
    schema = {"$ref": "#/components/schemas/Stats"}
    assert described.problems(document, schema) == []
    assert described.problems(document | {"more": 1}, schema)
    assert described.problems(document | {"total": "1"}, schema)
    assert described.problems({k: v for k, v in document.items() if k != "total"}, schema)
    broken = copy.deepcopy(described.whole)
    del broken["paths"]["/stats"]["get"]["responses"]["200"]
    with pytest.raises(AssertionError, match="not described"):
        Described(broken).check(client.get("/stats"))


def test_methods_that_are_not_listed_are_refused(client, described):
    refused = 0
    for path in described.whole["paths"]:
        here = path.replace("{", "").replace("}", "")
        for method in ("GET", "POST", "DELETE", "TRACE"):
            if described.operation(method, here) is REFUSED:
                answer = client.request(method, here)
                assert answer.status_code == 405, (method, here)
                assert answer.headers["allow"]
                refused += 1
    assert refused > 100


def test_the_page_lists_the_routes_and_loads_nothing(client):
    answer = client.get("/docs")
    assert "POST /dead/redrive" in answer.text
    assert "POST /upload</code>" in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "<script" not in answer.text
    assert "//" not in answer.text.replace("<!doctype", "")


def test_strangers_are_told_nothing(stranger):
    assert stranger.get("/openapi.json").status_code == 401
    assert stranger.get("/docs").status_code == 401


def test_strangers_are_asked_for_a_key_before_anything_that_they_send_is_read(stranger, described):
    for path, method, operation in operations(described.whole):
        if not operation["security"]:
            continue
        here = path.replace("{", "").replace("}", "")
        for body in (b'{"ids": [', b"\xff" * 70_000):
            headers = {"content-type": "application/json"}
            answer = stranger.request(method, here, content=body, headers=headers)
            assert answer.status_code == 401, (method, path)
