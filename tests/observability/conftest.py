"""One server with everything on, under load, for all tests of a module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.conftest import Server
from tests.observability import traffic


@pytest.fixture(scope="module")
def busy_server(tmp_path_factory) -> Iterator[Server]:
    with traffic.served(tmp_path_factory.mktemp("observed")) as (server, file):
        with traffic.Load(server):
            # A change that is taken up, and one that is not.
            file.write_text(file.read_text().replace("max_queue_size: 64", "max_queue_size: 128"))
            yield server
