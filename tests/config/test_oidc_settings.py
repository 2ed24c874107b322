"""`web: {oidc: ...}`: what is wrong is said at its place, and the client's secret is shown nowhere."""

import msgspec
import pytest
from test_config_checks import GOOD

from filemill.model.plan import ClaimPlan, SessionsPlan

OIDC = """
web:
  oidc:
    issuer: https://login.example.org/realms/acme
    audience: filemill
    client_id: filemill
    client_secret: {secret: OIDC_SECRET}
    roles: {claim: groups, map: {ops: operator, both: [uploader, viewer-meta]}}
    sources: {claim: partner, map: {acme: in, staff: "*"}}
"""
SECRET = "s3cret-of-the-client"
ENVIRON = {"OIDC_SECRET": SECRET}


def written(old="", new=""):
    assert old in OIDC
    return GOOD + OIDC.replace(old, new)


def test_what_is_written_is_what_the_web_child_goes_by(project):
    plan = project.load(written(), environ=ENVIRON).plan
    oidc = plan.web.oidc
    assert oidc.issuer == "https://login.example.org/realms/acme"
    assert oidc.roles == ClaimPlan(
        "groups", {"ops": ("operator",), "both": ("uploader", "viewer-meta")}
    )
    assert oidc.sources == ClaimPlan("partner", {"acme": ("in",), "staff": ("*",)})
    assert oidc.pipelines is None
    assert oidc.client_secret == SECRET
    assert plan.web.sessions == SessionsPlan(3600.0, 43_200.0)


def test_the_secret_is_shown_nowhere_and_no_worker_knows_it(project):
    loaded = project.load(written(), environ=ENVIRON)
    assert SECRET not in loaded.text + repr(loaded.effective) + repr(loaded.warnings)
    assert loaded.plan.secrets == ("OIDC_SECRET",), "workers do not get the variable"
    assert SECRET.encode() not in msgspec.msgpack.encode(loaded.plan.for_workers())
    assert SECRET.encode() in msgspec.msgpack.encode(loaded.plan), "the control"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("https://login", "http://login", "write it with https"),
        ("https://login.example.org/realms/acme", "login", "is no issuer"),
        ("{secret: OIDC_SECRET}", SECRET, "is written out"),
        ("ops: operator", "ops: king", "no role `king`"),
        ("client_id: filemill", "scopes: [groups]", "without `openid`"),
        ("acme: in", "acme: inn", "no source `inn`"),
        ("audience: filemill", "audiense: filemill", "did you mean `audience`"),
        ("    audience: filemill\n", "", "audience"),
        ("{claim: groups, map", "{map", "claim"),
        ("client_id: filemill", "client_id: filemill\n    ca: missing.pem", "cannot be read"),
    ],
)
def test_what_is_wrong_is_said(project, old, new, said):
    told = project.said(written(old, new), environ=ENVIRON)
    assert said in told
    assert SECRET not in told


def test_a_secret_that_is_not_set_is_said_once(project):
    told = project.said(written())
    assert told.count("secret `OIDC_SECRET` is not set") == 1
    assert told.count("error[") == 1


def test_a_provider_on_this_machine_may_be_without_tls(project):
    text = written("https://login.example.org/realms/acme", "http://127.0.0.1:9000")
    assert project.load(text, environ=ENVIRON).plan.web.oidc.issuer == "http://127.0.0.1:9000"


def test_how_long_a_login_lasts_can_be_said(project):
    plan = project.load(GOOD + "web: {sessions: {idle: 10m, longest: 8h}}\n").plan
    assert plan.web.sessions == SessionsPlan(600.0, 28_800.0)
    assert "greater" in project.said(
        GOOD + "web: {sessions: {idle: 0s}}\n"
    ) or "more than" in project.said(GOOD + "web: {sessions: {idle: 0s}}\n")
