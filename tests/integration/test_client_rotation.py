"""Rotating a keyring: interrupted anywhere, or done twice at once, it never leaves the account with a key that nobody has."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from client.dev import DevEnvironment
from client.home import only_one, write_private
from client.sdk import Client
from shared.crypto.keyring import Keyring
from shared.crypto.plaintext import Plaintext
from shared.errors import Conflict
from tests.fakes.refusal import refused

VALUE = Plaintext(b"value")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def environment(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[DevEnvironment]:
    async with DevEnvironment(tmp_path_factory.mktemp("rotation") / "dev", delegates=1) as running:
        async with running.client() as client:
            await client.store("account.token", VALUE)
        yield running


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def published(client: Client, path: Path) -> bool:
    """Whether the account's keyring is the one in that file, in its newest generation."""
    keyring = Keyring.parse(path.read_bytes())
    (document,) = await client.keyrings.all()
    return keyring.matches(document.document) and keyring.newest.number == document.document.gen


async def test_one_that_stopped_after_its_file_was_written_goes_on_with_the_same_seed(
    environment: DevEnvironment,
) -> None:
    path = environment.keyring
    written = Keyring.parse(path.read_bytes()).rotated(os.urandom(32))
    write_private(path, written.text())
    async with environment.client() as client:
        assert not await published(client, path)
        done = await client.keyrings.rotate("main", path, compromised=False)
        assert done.numbers == written.numbers
        assert path.read_bytes() == written.text()
        assert await published(client, path)


async def test_two_people_who_rotate_copies_at_once_do_not_overwrite_each_other(
    environment: DevEnvironment, tmp_path: Path
) -> None:
    copy = tmp_path / "keyring.json"
    shutil.copy2(environment.keyring, copy)
    async with environment.client() as one, environment.client() as other:
        ended = await asyncio.gather(
            one.keyrings.rotate("main", environment.keyring, compromised=False),
            other.keyrings.rotate("main", copy, compromised=False),
            return_exceptions=True,
        )
        paths = [environment.keyring, copy]
        winners = [path for path, end in zip(paths, ended, strict=True) if isinstance(end, Keyring)]
        losers = [end for end in ended if not isinstance(end, Keyring)]
        assert len(winners) == 1, ended
        assert isinstance(losers[0], Conflict)
        assert losers[0].code == "keyring_file_differs"
        assert await published(one, winners[0])
        if winners[0] is copy:
            shutil.copy2(copy, environment.keyring)


async def test_two_commands_on_one_file_come_one_after_the_other(environment: DevEnvironment) -> None:
    async with environment.client() as client:
        with only_one(environment.keyring), refused(Conflict, "file_busy"):
            await client.keyrings.rotate("main", environment.keyring, compromised=False)
        await client.keyrings.rotate("main", environment.keyring, compromised=False)
        assert await published(client, environment.keyring)


async def test_a_file_of_other_keys_is_not_published(environment: DevEnvironment, tmp_path: Path) -> None:
    right = Keyring.parse(environment.keyring.read_bytes())
    seeds = [(number, os.urandom(32)) for number in (*right.numbers, right.newest.number + 1)]
    path = tmp_path / "keyring.json"
    write_private(path, Keyring(right.account, "main", seeds).text())
    async with environment.client() as client:
        with refused(Conflict, "keyring_file_differs"):
            await client.keyrings.rotate("main", path, compromised=False)


async def test_administrators_who_change_the_status_at_once_both_get_their_change(environment: DevEnvironment) -> None:
    async with environment.client() as one, environment.client() as other:
        await asyncio.gather(one.publisher.renew(80), other.publisher.renew(70))
        await one.account.sync(force=True)
        await other.account.sync(force=True)
        assert one.publisher.status().digest == other.publisher.status().digest
