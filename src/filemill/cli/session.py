"""What the global options chose, and where configuration and data are."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from filemill.cli.output import Output
from filemill.config.locating import DATA, data_directory, locate
from filemill.model.errors import UsageError

if TYPE_CHECKING:
    from filemill.client.address import Address

_OWN_DATA = re.compile(rb"^(data|[\"']data[\"'])\s*:", re.MULTILINE)


class ServerWords(NamedTuple):
    """What the options say of the server that a command may ask over HTTP."""

    url: str = ""
    key_file: str = ""
    ca: str = ""
    cert: str = ""
    plain_http: bool = False


class Session:
    """One command's settings. `server` is None where the command asks no server over HTTP."""

    def __init__(
        self,
        *,
        config: str | None,
        quiet: bool,
        verbose: bool,
        output: Output,
        color: str = "auto",
        environ: Mapping[str, str] = os.environ,
        server: ServerWords | None = None,
    ) -> None:
        self._server = server
        self._address: Address | None = None
        self.quiet = quiet
        self.verbose = verbose
        self.output = output
        self.environ = environ
        self.color = color
        self.named = config
        """What `-c` named."""

    def address(self) -> Address | None:
        """The server that is to be asked over HTTP; None where this machine's own data directory is meant.

        Raises:
            UsageError: it cannot be asked so.
        """
        if self._address is None and self._server is not None:
            if not self._server.url and not self.environ.get("FILEMILL_URL"):
                return None
            from filemill.client.address import Wanted, named

            self._address = named(Wanted(*self._server), self.environ)
        return self._address

    def upload_address(self) -> Address:
        """The server that files are sent to: the one that is named, else the one of this machine.

        Raises:
            UsageError: none is named, and none runs here that takes files.
        """
        from filemill.client.address import Wanted, local

        wanted = Wanted(*(self._server or ServerWords()))
        return self.address() or local(self.data(), wanted, self.environ)

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
