"""The description is whole, and behind a key."""

from filemill.web.api.health import OPEN
from filemill.web.application import ROUTERS


def test_every_route_is_described_with_its_errors_and_its_key(client):
    found = client.get("/openapi.json").json()
    told = {
        (path, method.upper())
        for path, operations in found["paths"].items()
        for method in operations
    }
    there = {
        (route.path.replace(":path", ""), method)
        for router in ROUTERS
        for route in router.routes
        for method in route.methods
        if route.include_in_schema
    }
    assert told == there
    for path, operations in found["paths"].items():
        for method, operation in operations.items():
            assert operation["summary"]
            assert "default" in operation["responses"]
            is_open = path in OPEN or method == "options"
            assert operation["security"] == ([] if is_open else [{"key": []}])
    assert found["components"]["securitySchemes"]["key"]["scheme"] == "bearer"


def test_the_page_lists_the_routes_and_loads_nothing(client):
    answer = client.get("/docs")
    assert "POST /dead/redrive" in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "<script" not in answer.text
    assert "//" not in answer.text.replace("<!doctype", "")


def test_strangers_are_told_nothing(stranger):
    assert stranger.get("/openapi.json").status_code == 401
    assert stranger.get("/docs").status_code == 401
