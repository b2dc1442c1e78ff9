"""A second zone in an account: its keyring, its connector, and nobody who serves it yet."""

from __future__ import annotations

from pathlib import Path

import pytest

from client import Client
from shared.crypto.keyring import Keyring
from shared.errors import Conflict, NotReady
from tests.fakes.delegates import world_of_today
from tests.fakes.running import found
from tests.fakes.running import manager as running_manager


async def test_a_second_keyring_is_made_with_a_connector_of_its_own(tmp_path: Path) -> None:
    world, out = world_of_today(), tmp_path / "edge.keyring"
    async with running_manager(tmp_path, world) as running:
        await found(running)
        async with Client(running.url, world.id, world.administrator) as client:
            await client.keyrings.create("edge", out)
            assert out.stat().st_mode & 0o777 == 0o600
            assert Keyring.parse(out.read_bytes()).name == "edge"
            assert [one.document.id for one in await client.keyrings.all()] == ["edge", "main"]
            with pytest.raises(NotReady) as why:
                await client.store("account.there", b"x", connector="account.local_edge")
            assert why.value.code == "no_delegate"
            with pytest.raises(Conflict):
                await client.keyrings.create("edge", tmp_path / "again.keyring")
