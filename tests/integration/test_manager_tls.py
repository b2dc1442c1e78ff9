"""Both ports over TLS, end to end, and nobody who trusts another authority."""

from __future__ import annotations

import asyncio
import ssl
import warnings
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from client import Client
from delegate.daemon import Daemon
from shared.errors import Unavailable
from tests.fakes.authority import Authority
from tests.fakes.delegates import running as running_delegate
from tests.fakes.delegates import world_of_today
from tests.fakes.running import Manager, found
from tests.fakes.running import manager as running_manager
from tests.fakes.world import World


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    one = Authority()
    key, certificate = one.issue()
    (tmp_path / "tls.key").write_bytes(key)
    (tmp_path / "tls.crt").write_bytes(certificate)
    (tmp_path / "ca.pem").write_bytes(one.certificate)
    return one


@pytest.fixture
def world() -> World:
    return world_of_today()


@pytest.fixture
async def running(tmp_path: Path, authority: Authority, world: World) -> AsyncIterator[Manager]:
    async with running_manager(tmp_path, world, tls=(tmp_path / "tls.crt", tmp_path / "tls.key")) as one:
        await found(one)
        yield one


async def until_ready(daemon: Daemon) -> None:
    async with asyncio.timeout(45):
        while not daemon.ready()[0]:
            await asyncio.sleep(0.01)


async def test_a_secret_travels_over_tls_from_end_to_end(
    running: Manager, world: World, authority: Authority, tmp_path: Path
) -> None:
    url = running.configuration.delegate_urls[0]
    async with running_delegate(world, url, authorities=authority.certificate) as daemon:
        await until_ready(daemon)
        async with Client(running.url, world.id, world.administrator, ca_file=str(tmp_path / "ca.pem")) as client:
            await client.store("account.token", b"over TLS")
            assert (await client.reveal("account.token")).reveal() == b"over TLS"


async def test_a_client_of_another_authority_sends_nothing(running: Manager, world: World, tmp_path: Path) -> None:
    (tmp_path / "other.pem").write_bytes(Authority("other").certificate)
    async with Client(running.url, world.id, world.administrator, ca_file=str(tmp_path / "other.pem")) as client:
        with pytest.raises(Unavailable):
            await client.reveal("account.token")


async def test_a_delegate_of_another_authority_stays_away(running: Manager, world: World) -> None:
    url = running.configuration.delegate_urls[0]
    async with running_delegate(world, url, authorities=Authority("other").certificate):
        for _ in range(50):  # it dials again after 10 to 50 ms, so that these requests take several of its attempts
            _, listed = await running.call("GET", "delegates", ssl=False)
            assert listed == {"delegates": []}


async def test_old_versions_of_tls_are_refused(running: Manager) -> None:
    old = ssl.create_default_context()
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    old.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that they are old is the point
        old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    with pytest.raises(aiohttp.ClientError):
        await running.http.get(f"{running.url}/healthz", ssl=old)
