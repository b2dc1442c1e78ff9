"""What more than one file of attacks stands on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.adversary.aws_stage import IDENTITY, Case, casting
from tests.adversary.stage import Stage
from tests.servers.emulators import Moto


@pytest.fixture(scope="module")
def moto() -> Iterator[Moto]:
    with Moto() as one:
        yield one


@pytest.fixture
async def stage(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    """One delegate, `alpha`, whose owner allows what the file's `POLICY` says."""
    async with Stage(tmp_path) as one:
        await one.delegate("alpha", policy=getattr(request.module, "POLICY", ""))
        yield one


@pytest.fixture
async def case(tmp_path: Path, moto: Moto, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Case]:
    """A secret under AWS KMS that is stored, the delegate's own identity besides."""
    for name, text in IDENTITY.items():
        monkeypatch.setenv(name, text)
    async with casting(tmp_path, moto) as one:
        yield one
