"""One running installation for all tests of the command line."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.installation import Installation


@pytest.fixture(scope="session")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """`privyseal dev` with two delegates; tests use names of their own in it."""
    running = Installation(tmp_path_factory.mktemp("installation"))
    running.start()
    yield running
    assert running.stop() == 0
