"""A real server that serves HTTP on a port of its own, and clients that speak to it."""

from __future__ import annotations

from collections.abc import Iterator

import httpx2
import pytest
from sites import Site


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Site(tmp_path_factory.mktemp("site")).running() as made:
        yield made


@pytest.fixture
def client(site: Site) -> Iterator[httpx2.Client]:
    with site.client() as made:
        yield made


@pytest.fixture
def stranger(site: Site) -> Iterator[httpx2.Client]:
    with site.stranger() as made:
        yield made
