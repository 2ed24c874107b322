"""filemill doctor on who gets in, and on what others of the machine can read or change."""

import json
import os
import sqlite3
import time

import pytest

from filemill.model.plan import Plan, SinkPlan, TlsPlan, WebPlan
from filemill.ports.clock import SystemClock
from filemill.service.examining import examine_access

DAY = 86_400 * 10**9


def said(found):
    return [(str(each.level), each.what) for each in found]


def served(tmp_path, **web):
    """What is said of HTTP that is served so."""
    plan = Plan(1, str(tmp_path), str(tmp_path / "data"), web=WebPlan(port=8600, **web))
    config = tmp_path / "filemill.yaml"
    config.touch(mode=0o600)
    return examine_access(plan, str(config), {}, SystemClock())


@pytest.mark.parametrize(
    ("web", "levels", "told"),
    [
        ({}, ["ok"], "only this machine reaches it"),
        ({"behind_proxy": True, "hosts": ("a.example",)}, ["ok"], "a proxy on it lets others in"),
        ({"behind_proxy": True}, ["ok", "warning"], "no host names are listed"),
        (
            {"host": "0.0.0.0", "behind_proxy": True, "hosts": ("a.example",)},
            ["warning"],
            "gets past the proxy",
        ),
        ({"host": "10.0.0.7", "behind_proxy": True, "hosts": ("a",)}, ["ok"], "speaks that"),
        (
            {"host": "::", "hosts": ("a",), "tls": TlsPlan("c", "k", "ca")},
            ["ok"],
            "under TLS, to clients with a certificate only",
        ),
        ({"host": "10.0.0.7", "tls": TlsPlan("c", "k")}, ["ok", "warning"], "(421)"),
    ],
)
def test_who_reaches_the_port_is_said(tmp_path, web, levels, told):
    found = served(tmp_path, **web)
    assert [level for level, _ in said(found)] == levels
    assert told in " ".join(what for _, what in said(found))
    assert all(each.help for each in found if each.level != "ok")


@pytest.fixture
def project(filemill, tmp_path):
    filemill("init")
    return tmp_path


def access(filemill, *, code=0, **environ):
    """What doctor says of access, by its words."""
    told = json.loads(filemill("doctor", "--json", code=code, **environ).stdout)
    return {each["what"]: each for each in told["items"] if each["about"] == "access"}


def only(found, words):
    (each,) = (each for what, each in found.items() if words in what)
    return each


def test_keys_that_end_soon_and_a_pepper_that_is_gone(filemill, project):
    for name, expires in (("soon", "10d"), ("later", "90d"), ("ever", None), ("over", "90d")):
        more = ["--expires", expires] if expires else []
        filemill("keys", "create", name, "--role", "viewer-meta", *more)
    ledger = sqlite3.connect(project / ".filemill" / "ledger.db")
    ledger.execute("UPDATE principal SET expires_ns = ? WHERE name = 'over'", (time.time_ns(),))
    ledger.commit()
    ledger.close()
    found = access(filemill)
    soon = only(found, "`soon` ends in 9 days")
    assert (soon["level"], soon["values"]) == ("warning", {"days": 9})
    assert "keys revoke soon" in soon["help"]
    assert not any("`later`" in what or "`over`" in what for what in found)
    assert only(found, "keys in force")["values"] == {"keys": 3, "endless": 1}
    (project / ".filemill" / "pepper").unlink()
    assert only(access(filemill, code=1), "pepper is gone")["level"] == "problem"


def test_files_that_nobody_else_may_read(filemill, project):
    filemill("keys", "create", "a", "--role", "viewer-meta")
    assert only(access(filemill), "this user's alone")["level"] == "ok"
    data = project / ".filemill"
    (data / "pepper").chmod(0o644)
    assert only(access(filemill), "pepper")["level"] == "warning"
    (data / "local.key").write_text("fm_local_x\n")
    (data / "local.key").chmod(0o640)
    found = only(access(filemill, code=1), "local.key")
    assert (found["level"], found["help"]) == ("problem", f"chmod 600 {data / 'local.key'}")


def test_secrets_and_a_configuration_that_are_everybodys(filemill, project):
    config = project / "filemill.yaml"
    text = config.read_text()
    assert "out/orders" in text
    config.write_text(text.replace("out/orders", "{secret: PLACE}"))
    (project / "place").write_text("out/orders")
    (project / "place").chmod(0o644)
    place = {"PLACE_FILE": str(project / "place")}
    assert only(access(filemill, **place), "secret `PLACE`")["level"] == "warning"
    (project / "place").chmod(0o600)
    found = access(filemill, **place)
    assert not any("secret" in what for what in found)
    config.chmod(0o666)
    assert only(access(filemill, code=1, **place), "have code of theirs run")["level"] == "problem"


@pytest.mark.parametrize(
    ("mask", "level", "told"), [(0o027, "ok", "mode 0640"), (0, "warning", "may change them")]
)
def test_the_umask_says_what_others_may_do_with_outputs(tmp_path, mask, level, told):
    config = tmp_path / "filemill.yaml"
    config.touch(mode=0o600)
    sink = SinkPlan("out", "folder", {"folder": "out", "mode": None})
    plan = Plan(1, str(tmp_path), str(tmp_path / "data"), sinks=(sink,))
    former = os.umask(mask)
    try:
        ((found, what),) = said(examine_access(plan, str(config), {}, SystemClock()))
    finally:
        os.umask(former)
    assert (found, told in what) == (level, True), what
    own = SinkPlan("out", "folder", {"folder": "out", "mode": 0o640})
    plan = Plan(1, str(tmp_path), str(tmp_path / "data"), sinks=(own,))
    assert examine_access(plan, str(config), {}, SystemClock()) == []
