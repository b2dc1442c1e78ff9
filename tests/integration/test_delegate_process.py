"""`privyseal-delegate` as a process: how it starts, what it refuses to start with, and how it ends."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from asyncio.subprocess import Process
from collections.abc import Iterator
from pathlib import Path

import pytest

from client.ports import HeldPorts
from delegate.configuration import PROGRAM
from tests.fakes.authority import Authority
from tests.fakes.delegates import keyring_file, process, world_of_today
from tests.fakes.manager import FakeManager, read_answer, until
from tests.fakes.proxy import ConnectProxy
from tests.fakes.world import World


@pytest.fixture
def world() -> World:
    return world_of_today()


@pytest.fixture
def keyring(world: World, tmp_path: Path) -> Path:
    return keyring_file(world, tmp_path)


@pytest.fixture
def held() -> Iterator[HeldPorts]:
    with HeldPorts() as ports:
        yield ports


async def ended(started: Process) -> tuple[int, str, str]:
    """Exit code, standard output, standard error."""
    async with asyncio.timeout(90):
        out, err = await started.communicate()
    assert started.returncode is not None
    return started.returncode, out.decode(), err.decode()


async def attempt(*flags: str, **environ: str) -> tuple[int, str, str]:
    async with process(*flags, environ=environ) as started:
        return await ended(started)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_delegate_starts_serves_and_ends_with_zero_on_a_signal(
    world: World, keyring: Path, number: signal.Signals
) -> None:
    flags = (f"--keyring-file={keyring}", "--name=alpha", "--tags=EU, web", "--health-address=off")
    async with FakeManager(world) as manager, process(f"--manager={manager.url}", *flags) as started:
        link = await manager.connection()
        assert link.certificate is not None
        assert {"alpha", "eu", "web"} <= set(link.certificate.document.tags)
        version = world.store(world.secret("password"), b"hunter2")
        answer = read_answer(world, link, version.task, await link.perform(version.task, [version.input.raw]))
        assert answer.code == "ok"
        started.send_signal(number)
        code, out, err = await ended(started)
    assert (code, err) == (0, "")
    lines = [json.loads(line) for line in out.splitlines()]
    events = [line["event"] for line in lines]
    assert events[0] == "delegate.started"
    assert {"link.opened", "delegate.ready", "task.finished", "delegate.ended"} <= set(events)
    assert "hunter2" not in out
    assert all("dropped" not in line for line in lines)


async def test_health_readiness_and_metrics_are_served_on_the_local_port(
    world: World, keyring: Path, held: HeldPorts
) -> None:
    (port,) = held.take(1)
    flags = (f"--keyring-file={keyring}", f"--health-address=127.0.0.1:{port}")
    async with FakeManager(world) as manager, process(f"--manager={manager.url}", *flags):
        link = await manager.connection()
        await until(lambda: link.session.credits)
        assert (await _get(port, "/healthz")).startswith("HTTP/1.1 200")
        async with asyncio.timeout(45):
            while not (await _get(port, "/readyz")).startswith("HTTP/1.1 200"):
                await asyncio.sleep(0.01)
        assert "privyseal_delegate_connected 1.0" in await _get(port, "/metrics")


async def test_settings_come_from_variables_and_a_file_too(world: World, keyring: Path, tmp_path: Path) -> None:
    authority = Authority()
    (tmp_path / "ca.pem").write_bytes(authority.certificate)
    async with ConnectProxy() as proxy, FakeManager(world, tls=authority.issue()) as manager:
        toml = f'manager = "{manager.url}"\nca_file = "{tmp_path}/ca.pem"\nhealth_address = "off"\n'
        (tmp_path / "delegate.toml").write_text(toml)
        environ = {
            "PRIVYSEAL_DELEGATE_CONFIG": str(tmp_path / "delegate.toml"),
            "PRIVYSEAL_DELEGATE_KEYRING_FILE": str(keyring),
            "DELEGATE_NAME": "familiar",
            "DELEGATE_TAGS": "one,two",
            "HTTPS_PROXY": proxy.url,
        }
        async with process(environ=environ):
            link = await manager.connection()
            assert link.certificate is not None
            assert link.certificate.document.name == "familiar"
            assert {"one", "two"} <= set(link.certificate.document.tags)
        assert proxy.targets == [f"127.0.0.1:{manager.port}"]


async def test_a_container_of_another_delegate_keeps_its_variables(world: World, keyring: Path, tmp_path: Path) -> None:
    authority = Authority()
    (tmp_path / "ca.pem").write_bytes(authority.certificate)
    async with ConnectProxy() as proxy, FakeManager(world, tls=authority.issue()) as manager:
        host, _, port = proxy.url.removeprefix("http://").rpartition(":")
        environ = {
            "MANAGER_HOST_AND_PORT": f"127.0.0.1:{manager.port}",
            "DELEGATE_TASK_CAPACITY": "3",
            "LOGGING_LEVEL": "TRACE",
            "PROXY_HOST": host,
            "PROXY_PORT": port,
            "PROXY_SCHEME": "http",
            "PROXY_USER": "user",
            "PROXY_PASSWORD": "p@ss:word",
            "NO_PROXY": "10.0.0.0/8,.svc.cluster.local,127.0.0.1:1",
        }
        flags = (f"--keyring-file={keyring}", f"--ca-file={tmp_path}/ca.pem", "--health-address=off")
        async with process(*flags, environ=environ):
            link = await manager.connection()
            await until(lambda: link.session.credits == 3)
        assert proxy.targets == [f"127.0.0.1:{manager.port}"]


async def test_check_config_shows_every_setting_and_starts_nothing(keyring: Path) -> None:
    code, out, _ = await attempt("--check-config", "--manager=https://localhost", f"--keyring-file={keyring}")
    assert code == 0
    assert "drain_seconds" in out
    assert "are fine" in out


async def test_help_and_version_need_no_settings() -> None:
    for flag, text in (("--help", "--keyring-file"), ("--version", "privyseal-delegate ")):
        code, out, err = await attempt(flag)
        assert (code, err) == (0, "")
        assert text in out


MANAGER = "--manager=https://localhost:1"


@pytest.mark.parametrize(
    ("flags", "code", "said"),
    [
        ([MANAGER], 2, "keyring_file is missing"),
        ([MANAGER, "--keyring-file=/nowhere/keyring.json"], 5, "there is no keyring file"),
        (["--manager=http://manager.example:8443", "--keyring-file={keyring}"], 2, "plain text to another machine"),
        (["--manager=ftp://x", "--keyring-file={keyring}"], 2, "manager's URL is malformed"),
        ([MANAGER, "--keyring-file={keyring}", "--ca-file=/nowhere/ca.pem"], 5, "there is no ca file"),
        ([MANAGER, "--keyring-file={keyring}", "--ca-file={keyring}"], 2, "no certificate in PEM"),
        ([MANAGER, "--keyring-file={keyring}", "--policy-file={keyring}"], 2, "policy file is not valid TOML"),
        ([MANAGER, "--keyring-file={keyring}", "--name=not a selector"], 2, "name can't be a selector"),
        ([MANAGER, "--keyring-file={keyring}", "--tags=a,b c"], 2, "tag of the delegate"),
        ([MANAGER, "--keyring-file={keyring}", "--capacity=0"], 2, "capacity"),
        ([MANAGER, "--keyring-file={keyring}", "--health-address=nonsense"], 2, "health_address"),
        ([MANAGER, "--keyring-file={keyring}", "--proxy=https://proxy:1"], 2, "proxy's URL is not http"),
        ([MANAGER, "--keyring-file={keyring}", "--nonsense=1"], 2, "unknown flag"),
        ([MANAGER, "--keyring-file={folder}"], 2, "is not a file"),
    ],
)
async def test_what_can_not_work_is_refused_at_the_start_with_a_remedy(
    keyring: Path, tmp_path: Path, flags: list[str], code: int, said: str
) -> None:
    (tmp_path / "folder").mkdir(mode=0o700)
    filled = [flag.format(keyring=keyring, folder=tmp_path / "folder") for flag in flags]
    got, out, err = await attempt(*filled)
    assert (got, out) == (code, "")
    assert said in err
    assert err.startswith("privyseal-delegate: ")
    assert err.count("\n") == 2, "what is wrong, and what to do"


async def test_a_keyring_that_others_can_read_is_refused_with_the_command_that_mends_it(keyring: Path) -> None:
    keyring.chmod(0o644)
    code, _, err = await attempt(MANAGER, f"--keyring-file={keyring}")
    assert code == 4
    assert "mode 0644" in err
    assert f"chmod 0600 {keyring}" in err
    assert json.loads(keyring.read_bytes())["generations"][0]["seed"] not in err


async def test_a_taken_health_port_ends_the_start_with_a_remedy(world: World, keyring: Path) -> None:
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    async with server, FakeManager(world) as manager:
        port = server.sockets[0].getsockname()[1]
        code, _, err = await attempt(
            f"--manager={manager.url}", f"--keyring-file={keyring}", f"--health-address=127.0.0.1:{port}"
        )
    assert code == 9
    assert "free that port" in err


async def test_a_delegate_whose_manager_is_away_stays_alive_and_unready(keyring: Path, held: HeldPorts) -> None:
    port, nobodys = held.take(2)
    flags = (f"--keyring-file={keyring}", f"--health-address=127.0.0.1:{port}", "--backoff-max-seconds=0.5")
    async with process(f"--manager=http://127.0.0.1:{nobodys}", *flags) as started:
        assert started.stdout is not None
        async with asyncio.timeout(45):
            while json.loads(await started.stdout.readline())["event"] != "link.failed":
                pass
        assert (await _get(port, "/healthz")).startswith("HTTP/1.1 200")
        assert "manager_unreachable" in await _get(port, "/readyz")
        started.send_signal(signal.SIGTERM)
        assert (await ended(started))[0] == 0


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_an_idle_delegate_is_small(world: World, keyring: Path) -> None:
    async with (
        FakeManager(world) as manager,
        process(f"--manager={manager.url}", f"--keyring-file={keyring}", "--health-address=off") as started,
    ):
        link = await manager.connection()
        await until(lambda: link.session.credits)
        status = Path(f"/proc/{started.pid}/status").read_text()
        resident = int(status.partition("VmRSS:")[2].split()[0]) / 1024
        assert resident < 120, "a sanity check; the bench measures"


def test_a_delegates_core_imports_no_sdk_and_no_web_framework() -> None:
    program = "import sys, delegate.main, delegate.build; print(' '.join(sys.modules))"
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    out = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environ
    ).stdout
    roots = {name.partition(".")[0] for name in out.split()}
    assert not roots & {"starlette", "sqlalchemy", "aiohttp", "uvicorn", "boto3", "aioboto3", "hvac", "azure", "click"}
    assert not {name for name in out.split() if name.startswith(("google.cloud", "manager", "client"))}


def test_the_example_file_is_made_from_the_options() -> None:
    example = Path(__file__).parents[2] / "deploy/examples/delegate.toml"
    assert example.read_text() == PROGRAM.example()


async def _get(port: int, path: str) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        return (await reader.read()).decode()
    finally:
        writer.close()
        await writer.wait_closed()
