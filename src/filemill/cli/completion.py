"""`filemill completion`: the script that makes a shell ask `filemill` what could come next."""

from __future__ import annotations

from enum import StrEnum
from importlib.resources import files
from typing import Annotated

import typer

from filemill.cli.application import command
from filemill.cli.session import Session

_INSTALL = """\
To install, for all shells to come:
  bash        filemill completion bash > ~/.local/share/bash-completion/completions/filemill
  zsh         filemill completion zsh > "${fpath[1]}/_filemill"
  fish        filemill completion fish > ~/.config/fish/completions/filemill.fish
  powershell  filemill completion powershell >> $PROFILE
For this one only:  eval "$(filemill completion bash)" """


class Shell(StrEnum):
    """Whose script."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"
    POWERSHELL = "powershell"


@command("completion", epilog="\b\n" + _INSTALL.rstrip())
def completion(
    session: Session,
    shell: Annotated[Shell, typer.Argument(metavar="SHELL", help="bash, zsh, fish or powershell.")],
) -> None:
    """Print a shell's completion: commands, options, ids of files, groups, tags, pipelines, states."""
    script = files("filemill.cli").joinpath("completions", f"{shell.value}.txt")
    session.output.print(script.read_text(encoding="utf-8").rstrip("\n"))
