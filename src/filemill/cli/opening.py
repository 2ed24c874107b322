"""`filemill open`: a link that logs a browser in as whoever asks for it, and the browser, where there is one."""

from __future__ import annotations

import os
import sys
import webbrowser
from html import escape
from typing import Annotated

import typer

from filemill.cli.application import command
from filemill.cli.failing import OK
from filemill.cli.session import Session
from filemill.telemetry.wording import utc

PAGE = "open.html"
"""In the data directory, for the browser: a link among its arguments could be read by every user of this machine."""


@command("open", epilog="Example: filemill open")
def open_(
    session: Session,
    *,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Print the link and nothing else.")
    ] = False,
) -> int:
    """Print a link that logs a browser in, once and within two minutes; open it where there is a browser."""
    from filemill.service.asking import ask_link

    data = session.data()
    made = ask_link(data)
    output = session.output
    if output.json:
        output.document("filemill.open/1", url=made.url, expires_at=utc(made.expires_ns))
        return OK
    output.print(made.url)
    if not session.quiet:
        output.say("good once, for two minutes: whoever opens it is you")
    if (
        not no_browser
        and _has_screen()
        and not webbrowser.open(f"file://{_written(data, made.url)}")
    ):
        output.say("help: no browser was found; open the link in one")
    return OK


def _has_screen() -> bool:
    """A browser of the terminal would take the terminal away."""
    if sys.platform == "darwin":
        return True
    return sys.stdout.isatty() and bool(
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    )


def _written(data: str, url: str) -> str:
    path = os.path.join(os.path.abspath(data), PAGE)
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
    with os.fdopen(os.open(path, flags, 0o600), "w", encoding="utf-8") as file:
        file.write(
            '<!doctype html><meta charset="utf-8"><title>filemill</title>'
            f'<meta http-equiv="refresh" content="0; url={escape(url)}">'
        )
    return path
