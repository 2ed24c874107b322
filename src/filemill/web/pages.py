"""The few pages that people see before there is anything else: plain HTML, no script, nothing from elsewhere."""

from __future__ import annotations

from html import escape

from starlette.responses import Response

HEADERS = {
    "content-security-policy": (
        "default-src 'none'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    # With `no-referrer` browsers would not say of a form where it comes from.
    "referrer-policy": "same-origin",
}
_FORM = '<form method="post" action="{action}">{fields}<p><button>{button}</button></p></form>'


def ask_to_log_in(*, oidc: bool) -> Response:
    """The ways in."""
    ways = (
        "<h2>With a key</h2>"
        + _form("/login/key", "Log in", _asked("key", "Key", "password"))
        + "<h2>As the owner of this server</h2>"
        + "<p>Run <code>filemill open</code> where it runs.</p>"
    )
    if oidc:
        ways = '<p><a href="/login/oidc">Log in with your account</a></p>' + ways
    return _page("Log in", ways)


def confirm_link(secret: str) -> Response:
    """What a link leads to; only the button uses it up, so that nobody does who merely looks where it leads."""
    hidden = _hidden("t", secret)
    return _page("Log in", _form("/login/link", "Log in", hidden))


def already_in(who: str, csrf: str, *, docs: bool) -> Response:
    """Who is logged in, and the way out."""
    onward = '<p><a href="/docs">What can be asked here</a></p>' if docs else ""
    text = f"<p>You are logged in as <code>{escape(who)}</code>.</p>{onward}"
    return _page("filemill", text + _form("/logout", "Log out", _hidden("csrf", csrf)))


def lead_on(place: str) -> Response:
    """A page that goes on by itself: what it asks for is asked from here, as a redirect's target would not be."""
    more = f'<meta http-equiv="refresh" content="0; url={escape(place)}">'
    return _page("Logged in", f'<p><a href="{escape(place)}">Go on</a></p>', head=more)


def refuse(status: int, why: str, help: str) -> Response:  # noqa: A002 -- the word users read
    """Why nobody is logged in, and what helps."""
    text = f'<p>{escape(why)}</p><p>{escape(help)}</p><p><a href="/login">Log in</a></p>'
    return _page("Not logged in", text, status)


def _page(title: str, body: str, status: int = 200, head: str = "") -> Response:
    text = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width">{head}</head>'
        f"<body><h1>{escape(title)}</h1>{body}</body></html>"
    )
    return Response(text, status, HEADERS, "text/html")


def _form(action: str, button: str, fields: str) -> str:
    return _FORM.format(action=action, button=button, fields=fields)


def _hidden(name: str, value: str) -> str:
    return f'<input type="hidden" name="{name}" value="{escape(value)}">'


def _asked(name: str, label: str, kind: str) -> str:
    return (
        f'<p><label>{label} <input type="{kind}" name="{name}" size="80" required '
        'autocomplete="off"></label></p>'
    )
