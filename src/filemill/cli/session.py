"""What the global options chose, and where configuration and data are."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from filemill.cli.output import Output
from filemill.model.errors import UsageError

CONFIG_NAME = "filemill.yaml"
_OWN_DATA = re.compile(rb"^(data|[\"']data[\"'])\s*:", re.MULTILINE)


class Session:
    """One command's settings."""

    def __init__(
        self,
        *,
        config: str | None,
        quiet: bool,
        verbose: bool,
        output: Output,
        color: str = "auto",
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self.quiet = quiet
        self.verbose = verbose
        self.output = output
        self.environ = environ
        self.color = color
        self.named = config
        """What `-c` named."""

    def config(self) -> str:
        """Absolute path of the configuration.

        Raises:
            UsageError: there is none; says where it was looked for.
        """
        found = find_config(self.named, self.environ)
        if found is None:
            raise UsageError(
                f"no {CONFIG_NAME} here, in a folder above, or under the configuration folders",
                help="filemill init makes one; -c FILE names one",
            )
        return found

    def data(self) -> str:
        """Absolute path of the data directory, found without reading the configuration where possible.

        Raises:
            UsageError: neither a data directory nor a configuration is named.
            ConfigProblems: the configuration names a data directory and is wrong.
        """
        if named := self.environ.get("FILEMILL_DATA_DIR"):
            return os.path.abspath(named)
        config = self.config()
        overridden = any(name.upper() == "FILEMILL__DATA" for name in self.environ)
        if not overridden and not _names_data(config):
            return os.path.join(os.path.dirname(config), ".filemill")
        from filemill.cli.configuring import load_config

        return load_config(self).plan.data


def find_config(named: str | None, environ: Mapping[str, str]) -> str | None:
    """`-c`, else FILEMILL_CONFIG, else filemill.yaml here or above, else the user's, else the machine's."""
    if named or (named := environ.get("FILEMILL_CONFIG")):
        return os.path.abspath(named)
    folder = os.getcwd()
    folders = [folder]
    while (above := os.path.dirname(folder)) != folder:
        folder = above
        folders.append(folder)
    home = environ.get("XDG_CONFIG_HOME") or os.path.join(environ.get("HOME", "/"), ".config")
    folders += [os.path.join(home, "filemill"), "/etc/filemill"]
    candidates = (os.path.join(each, CONFIG_NAME) for each in folders)
    return next((path for path in candidates if os.path.isfile(path)), None)


def _names_data(config: str) -> bool:
    """Say whether the configuration or a file merged into it may set `data:`; cheap, errs to yes."""
    folder = os.path.join(os.path.dirname(config), "conf.d")
    paths = [config]
    if os.path.isdir(folder):
        paths += [
            os.path.join(folder, name) for name in os.listdir(folder) if name.endswith(".yaml")
        ]
    try:
        for path in paths:
            with open(path, "rb") as file:
                if _OWN_DATA.search(file.read()):
                    return True
    except OSError:
        return True
    return False
