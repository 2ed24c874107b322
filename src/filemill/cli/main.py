"""The door: `filemill ...`. Help and version answer at once; a command loads only what it needs."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

COMMANDS = {
    "init": "make a project: configuration, a step with its test, an inbox",
    "demo": "six files through a fresh project, and what becomes of each",
    "run": "watch the sources and process what arrives; --once for what is there",
    "check": "judge the configuration; every problem at once, nothing started",
    "try": "what a file would become, step by step; nothing written",
    "explain": "how a file would be tagged and routed, and why; nothing written",
    "graph": "what is wired to what: ascii, mermaid, dot or json",
    "doctor": "what is guaranteed on this machine and these folders, what is missing",
    "upload": "send files to a server; none is lost, none comes twice",
    "status": "counts and trouble at a glance",
    "tail": "read along with what becomes of files",
    "files": "list files, show the whole history of one, replay or cancel it",
    "dead": "what failed for good, grouped by cause; redrive or discard it",
    "held": "what waits for a person, and why; release or discard it",
    "pause": "begin no runs of a pipeline any more, until it is resumed",
    "resume": "begin runs of a paused pipeline again",
    "reload": "have the running server take the configuration on the disk",
    "drain": "have the running server finish what runs, and end",
    "open": "log a browser in: a link that counts once",
    "keys": "who may come in over HTTP: make, list, revoke keys",
    "sessions": "which browsers are logged in; log them out",
    "audit": "what people and keys did; whether anybody changed what is written of it",
    "backfill": "old files for the first time, behind whatever comes in",
    "gc": "remove now what `retention:` says may go",
    "backup": "copy ledger and content as they are at one moment, beside a running server",
    "restore": "make a data directory of a backup",
    "verify": "whether the ledger is sound and all content is there",
    "encryption": "make an identity; for whom content is encrypted, what reads it",
    "steps": "the steps that are installed, with their options",
    "config": "what is in force and where it comes from; what ran, diffs, rollback; JSON Schema",
    "completion": "completion of commands, ids, tags for bash, zsh, fish, powershell",
}
"""Every command and its line in the help. `filemill/cli/<name>.py` adds it to the application."""
_MODULES = {
    "try": ("trying",),
    "dead": ("dead", "redriving", "editing", "inputting"),
    "held": ("held", "releasing"),
    "files": ("files", "replaying", "erasing"),
    "pause": ("pausing",),
    "resume": ("pausing",),
    "reload": ("reloading",),
    "drain": ("draining",),
    "open": ("opening",),
    "config": ("config", "revising"),
}
"""Commands that are not one module of their own name."""

EXAMPLES = """\
Examples:
  filemill init demo && cd demo && filemill run     watch demo/inbox
  filemill run --once orders.csv                    process one file and end
  filemill files show 3fk2                          what happened to a file"""

GLOBALS = """\
Everywhere: -h, --help; -c FILE, the configuration (default: filemill.yaml here or in a parent); --json;
  -q, -v: say less, more; --color auto|always|never (also NO_COLOR); --version.
Exit codes: 0 well; 1 something failed; 2 usage or configuration; 75 busy, try later; 130 Ctrl-C."""


def help_text() -> str:
    """What `filemill` alone and `filemill --help` print."""
    width = max(map(len, COMMANDS))
    commands = "\n".join(f"  {name:<{width}}  {what}" for name, what in COMMANDS.items())
    return (
        "Usage: filemill COMMAND [OPTIONS]\n\n"
        "Files in, results out, nothing lost, everything seen.\n\n"
        f"Commands:\n{commands}\n\n{EXAMPLES}\n\n{GLOBALS}\n"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line on `arguments` (default: the process's) and exit with its code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    # The command line library alone takes longer to load than these answers may take.
    if not words or words in (["-h"], ["--help"]):
        _end(help_text())
    if words == ["--version"]:
        from filemill.cli.version import version

        _end(f"filemill {version()}\n")
    if words[0] == "__complete":  # a shell asks what could come next; see cli/completing.py
        from filemill.cli.completing import answer

        sys.exit(answer(words[1:]))
    from filemill.engine.garbage import look_seldom

    look_seldom()  # what is imported from here on is no garbage: to look for some among it takes a tenth of the start
    from filemill.cli.application import run

    sys.exit(run(words, _wanted(words)))


def _wanted(words: Sequence[str]) -> list[str]:
    """The commands that these words may mean; all of them when none is named, for did-you-mean."""
    return [name for name in COMMANDS if name in words] or list(COMMANDS)


def load(name: str) -> None:
    """Import the module of one command, which adds itself to the application."""
    for module in _MODULES.get(name, (name,)):
        importlib.import_module(f"filemill.cli.{module}")


def _end(text: str) -> None:
    code = 0
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        from filemill.cli.failing import dispose_of_stdout, lost_output

        if isinstance(error, BrokenPipeError):
            dispose_of_stdout()
        else:
            code = lost_output(error.strerror)
    sys.exit(code)
