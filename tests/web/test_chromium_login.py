"""The login in a real browser: what it sends by itself is what we count on."""

from __future__ import annotations

import http.server
import threading

import pytest
from browsing import ME, link
from chromium import chromium
from test_oidc import Trusting

import serving


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    made = Trusting(tmp_path_factory.mktemp("browsed"), tmp_path_factory.mktemp("browsed-provider"))
    with made.provider.running(), made.running():
        yield made


@pytest.fixture(scope="module")
def browsing(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("chromium")) as made:
        yield made


@pytest.fixture
def elsewhere(site):
    """A page at another port of this machine: to a browser it is the same site, and our cookies are sent along."""
    page = (
        f'<form method=post action="{site.url}/logout"><button id=out>out</button></form>'
        f'<form method=post action="{site.url}/drain"><button id=drain>drain</button></form>'
    ).encode()

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def test_a_person_logs_in_by_a_link_and_out_again(site, browsing):
    browsing.go(site.url + link(site))
    browsing.press("button")
    serving.until(lambda: "POST /dead/redrive" in browsing.source)
    assert browsing.url == f"{site.url}/docs"
    cookie = browsing.cookies()[f"filemill-{site.port}"]
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Lax")
    assert browsing.run("return document.cookie") == ""
    browsing.go(f"{site.url}/login")
    assert ME in browsing.source
    browsing.press("button")
    serving.until(lambda: "Run <code>filemill open" in browsing.source)
    browsing.go(f"{site.url}/docs")
    assert "unauthenticated" in browsing.source


def test_a_person_logs_in_at_the_provider(site, browsing):
    browsing.go(f"{site.url}/login")
    browsing.press('a[href="/login/oidc"]')
    serving.until(lambda: browsing.url.startswith(site.provider.url))
    browsing.write("input[name=username]", "olga")
    browsing.write("input[name=password]", "olga-password")
    browsing.press("button[type=submit]")
    serving.until(lambda: "POST /dead/redrive" in browsing.source)
    assert browsing.url == f"{site.url}/docs"


def test_another_page_has_nothing_done_with_the_browsers_cookie(site, browsing, elsewhere):
    browsing.go(site.url + link(site))
    browsing.press("button")
    serving.until(lambda: browsing.url == f"{site.url}/docs")
    for button in ("#out", "#drain"):
        browsing.go(elsewhere)
        browsing.press(button)
        serving.until(
            lambda: "cross-origin" in browsing.source or "unauthenticated" in browsing.source
        )
    browsing.go(f"{site.url}/session")
    assert ME in browsing.source, "still logged in"
