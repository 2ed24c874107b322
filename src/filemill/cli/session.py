"""What the global options chose, and where configuration and data are."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from filemill.cli.output import Output
from filemill.config.locating import DATA, data_directory, locate
from filemill.model.errors import UsageError

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
        return locate(self.named, self.environ)

    def root(self) -> str:
        """The project's folder, where users' own code is; empty when there is no configuration to be found."""
        try:
            return os.path.dirname(self.config())
        except UsageError:
            return ""

    def data(self) -> str:
        """Absolute path of the data directory, found without reading the configuration where possible.

        Raises:
            UsageError: neither a data directory nor a configuration is named.
            ConfigProblems: the configuration names a data directory and is wrong.
        """
        if self.environ.get(DATA):
            return data_directory("", None, self.environ)
        config = self.config()
        overridden = any(name.upper() == "FILEMILL__DATA" for name in self.environ)
        if not overridden and not _names_data(config):
            return data_directory(os.path.dirname(config), None, self.environ)
        from filemill.cli.configuring import load_config

        return load_config(self, deep=False).plan.data


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
