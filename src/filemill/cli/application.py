"""The typer application: global options for every command, and one way for every error to end."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Annotated, Any

import typer

from filemill.cli.failing import (
    BUSY,
    FAILED,
    INTERRUPTED,
    OK,
    USAGE,
    dispose_of_stdout,
    lost_output,
    report,
    stdout_is_lost,
    tell,
    unexpected,
)
from filemill.cli.main import COMMANDS, GLOBALS, load
from filemill.cli.output import Output, OutputLost
from filemill.cli.reaching import REACH, Reach, reaches
from filemill.cli.session import ServerWords, Session
from filemill.cli.version import version
from filemill.cli.wrong_words import worded
from filemill.model.errors import Busy, FilemillError, NotFound, UsageError

__all__ = ["BUSY", "FAILED", "INTERRUPTED", "OK", "USAGE", "app", "command", "group", "run"]

_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
app = typer.Typer(
    name="filemill",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings=_SETTINGS,
    epilog=GLOBALS.rsplit("\n", 1)[-1],
)


class Color(StrEnum):
    """When to colour."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


ConfigOption = Annotated[
    str | None,
    typer.Option(
        "--config", "-c", metavar="FILE", help="The configuration; default: filemill.yaml."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Say less.")]
VerboseOption = Annotated[bool, typer.Option("--verbose", "-v", help="Say more.")]
ColorOption = Annotated[Color | None, typer.Option("--color", help="When to colour.")]
UrlOption = Annotated[
    str | None,
    typer.Option("--url", metavar="URL", help="Ask this server over HTTP; also FILEMILL_URL."),
]
KeyFileOption = Annotated[
    str | None,
    typer.Option("--key-file", metavar="FILE", help="The key to ask with; also FILEMILL_KEY."),
]
CaOption = Annotated[
    str | None,
    typer.Option("--ca", metavar="FILE", help="Certificates to trust, and no others; FILEMILL_CA."),
]
CertOption = Annotated[
    str | None,
    typer.Option("--cert", metavar="FILE", help="Our certificate and key to show; FILEMILL_CERT."),
]
PlainHttpOption = Annotated[
    bool,
    typer.Option("--plain-http", help="Send the key to another machine without TLS all the same."),
]
HiddenUrl = Annotated[str | None, typer.Option("--url", hidden=True)]
HiddenKeyFile = Annotated[str | None, typer.Option("--key-file", hidden=True)]
HiddenCa = Annotated[str | None, typer.Option("--ca", hidden=True)]
HiddenCert = Annotated[str | None, typer.Option("--cert", hidden=True)]
HiddenPlainHttp = Annotated[bool, typer.Option("--plain-http", hidden=True)]
_HIDDEN = {
    "url": HiddenUrl,
    "key_file": HiddenKeyFile,
    "ca": HiddenCa,
    "cert": HiddenCert,
    "plain_http": HiddenPlainHttp,
}
_GLOBALS = {
    "url": (UrlOption, None),
    "key_file": (KeyFileOption, None),
    "ca": (CaOption, None),
    "cert": (CertOption, None),
    "plain_http": (PlainHttpOption, False),
    "config": (ConfigOption, None),
    "json": (JsonOption, False),
    "quiet": (QuietOption, False),
    "verbose": (VerboseOption, False),
    "color": (ColorOption, None),
}


def _print_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"filemill {version()}\n")
        raise typer.Exit(OK)


@app.callback()
def root(
    context: typer.Context,
    *,
    config: ConfigOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
    color: ColorOption = None,
    url: HiddenUrl = None,
    key_file: HiddenKeyFile = None,
    ca: HiddenCa = None,
    cert: HiddenCert = None,
    plain_http: HiddenPlainHttp = False,
    show_version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Files in, results out, nothing lost, everything seen."""
    del show_version
    _remember(context, config=config, json=json, quiet=quiet, verbose=verbose, color=color)
    _remember(context, url=url, key_file=key_file, ca=ca, cert=cert, plain_http=plain_http)


def _between(
    context: typer.Context,
    *,
    config: ConfigOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
    color: ColorOption = None,
    url: HiddenUrl = None,
    key_file: HiddenKeyFile = None,
    ca: HiddenCa = None,
    cert: HiddenCert = None,
    plain_http: HiddenPlainHttp = False,
) -> None:
    _remember(context, config=config, json=json, quiet=quiet, verbose=verbose, color=color)
    _remember(context, url=url, key_file=key_file, ca=ca, cert=cert, plain_http=plain_http)


def _remember(context: typer.Context, **values: Any) -> None:
    """Keep the global options given so far; the nearest to the command wins."""
    chosen = context.find_root().ensure_object(dict)
    chosen.update({key: value for key, value in values.items() if value})


def group(name: str) -> typer.Typer:
    """A command with commands below it (`files ls`)."""
    made = typer.Typer(
        name=name,
        help=_capital(COMMANDS[name]),
        no_args_is_help=True,
        rich_markup_mode=None,
        context_settings=_SETTINGS,
    )
    made.callback(help=_capital(COMMANDS[name]))(_between)
    app.add_typer(made)
    return made


def command(
    name: str, below: typer.Typer | None = None, epilog: str | None = None
) -> Callable[[Callable[..., int | None]], Callable[..., int | None]]:
    """Register a function `(session, ...)` under `name`; it answers with its exit code, None for 0.

    The global options are added to its own, so that they may stand before or behind the command.
    """

    def register(function: Callable[..., int | None]) -> Callable[..., int | None]:
        own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]
        words = f"{below.info.name} {name}" if below is not None else name

        def call(context: typer.Context, **values: Any) -> None:
            _remember(context, **{key: values.pop(key) for key in _GLOBALS})
            chosen = dict.fromkeys(_GLOBALS) | context.find_root().ensure_object(dict)
            said = {key: str(chosen[key] or "") for key in ("url", "key_file", "ca", "cert")}
            server = ServerWords(**said, plain_http=bool(chosen["plain_http"]))
            session = Session(
                server=server if reaches(words, server.url, os.environ) else None,
                config=chosen["config"],
                quiet=bool(chosen["quiet"]),
                verbose=bool(chosen["verbose"]),
                color=str(chosen["color"] or "auto"),
                output=Output.for_process(str(chosen["color"] or "auto"), bool(chosen["json"])),
            )
            raise typer.Exit(function(session, **values) or OK)

        kind = inspect.Parameter.KEYWORD_ONLY
        parameters = [inspect.Parameter("context", kind, annotation=typer.Context)]
        parameters += [each.replace(kind=kind) for each in own]
        parameters += [
            inspect.Parameter(key, kind, default=default, annotation=_shown(words, key, annotation))
            for key, (annotation, default) in _GLOBALS.items()
        ]
        call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        call.__name__, call.__doc__ = function.__name__, function.__doc__
        call.__annotations__ = {each.name: each.annotation for each in parameters}
        (below or app).command(name, epilog=epilog)(call)
        return function

    return register


def _shown(words: str, option: str, annotation: Any) -> Any:
    """The option as this command's help has it: what it takes but few need there is not listed."""
    if option not in _HIDDEN or words == "upload":
        return annotation
    if option == "url" and REACH.get(words) is Reach.HTTP:
        return annotation
    return _HIDDEN[option]


_CODES: tuple[tuple[type[FilemillError], int], ...] = (
    (Busy, BUSY),
    (UsageError, USAGE),
    (NotFound, USAGE),
    (FilemillError, FAILED),
)


def run(words: Sequence[str], commands: Sequence[str]) -> int:
    """Load these commands, run `words`, and answer with the exit code. Raises nothing."""
    try:
        code = _run(words, commands)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader had enough (`filemill files ls | head`)
        dispose_of_stdout()
        code = OK
    except Exception as error:  # noqa: BLE001 -- the last door: said in one line, kept in full
        if isinstance(error, OutputLost) or (isinstance(error, OSError) and stdout_is_lost()):
            return lost_output(error.strerror)
        code = unexpected(error, verbose="-v" in words or "--verbose" in words)
    return code


def _run(words: Sequence[str], commands: Sequence[str]) -> int:
    try:
        for name in commands:
            load(name)
        code = app(list(words), prog_name="filemill", standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except FilemillError as error:
        code = report(error, next(code for kind, code in _CODES if isinstance(error, kind)))
    except Exception as error:
        if not _is_misuse(error):
            raise
        code = _misused(error)
    return int(code or OK)


def _is_misuse(error: Exception) -> bool:
    """Say whether the words themselves were wrong (an unknown option, a missing argument)."""
    return hasattr(error, "format_message") and hasattr(error, "exit_code")


def _misused(error: Any) -> int:
    """Say what was wrong with the words; a group without a command shows its help instead."""
    context = getattr(error, "ctx", None)
    if context is not None and type(error).__name__ == "NoArgsIsHelpError":
        sys.stdout.write(f"{context.get_help()}\n")
        return OK
    where = context.command_path if context is not None else "filemill"
    message, meant = worded(error)
    asked = f"did you mean `{meant}`?  " if meant else ""
    tell(f"error: {message}\nhelp: {asked}{where} --help\n")
    return int(error.exit_code)


def _capital(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."
