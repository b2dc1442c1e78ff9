"""The way to the manager: TLS, authorities, proxies, and a manager that isn't there."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.fakes.authority import Authority
from tests.fakes.delegates import running
from tests.fakes.manager import FakeManager, read_answer, until
from tests.fakes.proxy import ConnectProxy
from tests.fakes.world import World


@pytest.fixture
def world() -> World:
    return World()


def events(logs: Iterable[Any], name: str) -> list[Any]:
    return [line for line in logs if line["event"] == name]


async def test_tls_with_a_custom_authority_works_and_without_it_is_refused(world: World) -> None:
    authority = Authority()
    async with FakeManager(world, tls=authority.issue()) as manager:
        async with running(world, manager.url, authorities=authority.certificate) as daemon:
            await manager.connection()
            await until(lambda: daemon.ready()[0])
        before = len(manager.connections)
        async with running(world, manager.url, authorities=Authority("another").certificate) as daemon:
            await until(lambda: daemon.link.state == "manager_untrusted")
        async with running(world, manager.url) as daemon:
            await until(lambda: daemon.link.state == "manager_untrusted")
        assert len(manager.connections) == before


async def test_a_certificate_for_another_host_is_refused(world: World) -> None:
    authority = Authority()
    async with (
        FakeManager(world, tls=authority.issue("manager.example")) as manager,
        running(world, manager.url, authorities=authority.certificate) as daemon,
    ):
        await until(lambda: daemon.link.state == "manager_untrusted")


async def test_a_delegate_goes_through_an_http_connect_proxy(world: World) -> None:
    authority = Authority()
    async with ConnectProxy() as proxy, FakeManager(world, tls=authority.issue()) as manager:
        async with running(world, manager.url, authorities=authority.certificate, proxy=proxy.url) as daemon:
            link = await manager.connection()
            await until(lambda: daemon.ready()[0])
            task = world.check(world.connector)
            assert read_answer(world, link, task, await link.perform(task)).code == "ok"
        assert proxy.targets == [f"127.0.0.1:{manager.port}"]


async def test_a_proxy_that_refuses_is_named_in_the_reason(world: World) -> None:
    authority = Authority()
    with capture_logs() as logs:
        async with ConnectProxy(refusing=True) as proxy, FakeManager(world, tls=authority.issue()) as manager:
            async with running(world, manager.url, authorities=authority.certificate, proxy=proxy.url):
                await until(lambda: events(logs, "link.failed"))
            assert not manager.connections
    assert events(logs, "link.failed")[0]["code"] == "manager_unreachable"
    assert "proxy" in events(logs, "link.failed")[0]["hint"]


async def test_proxies_in_variables_do_not_catch_loopback(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async with ConnectProxy() as proxy, FakeManager(world) as manager:
        for name in ("http_proxy", "https_proxy", "grpc_proxy"):
            monkeypatch.setenv(name, proxy.url)
        async with running(world, manager.url):
            await manager.connection()
        assert proxy.targets == []


async def test_an_unreachable_manager_is_dialled_again_and_again(world: World) -> None:
    async with FakeManager(world) as manager:
        url = manager.url
    with capture_logs() as logs:
        async with running(world, url) as daemon:
            await until(lambda: len(events(logs, "link.failed")) >= 3)
            assert daemon.link.state == "manager_unreachable"
            assert daemon.alive()
