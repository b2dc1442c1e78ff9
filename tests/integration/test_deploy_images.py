"""The two images, as their Dockerfiles make them: what is in them, and that their programs work from that alone."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from client.ports import HeldPorts
from client.program import clean_environment, command
from tests.architecture.source import ROOT
from tests.architecture.test_imports import SDKS, SERVERS
from tests.fakes.authority import Authority
from tests.fakes.delegates import keyring_file, world_of_today
from tests.fakes.image import Image

FIND = """
import importlib.util, sys
def there(name):
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False
print(*[name for name in sys.argv[1:] if there(name)])
"""
PATIENCE_SECONDS = 60


@pytest.fixture
def held() -> Iterator[HeldPorts]:
    with HeldPorts() as ports:
        yield ports


@pytest.fixture(scope="module")
def manager(tmp_path_factory: pytest.TempPathFactory) -> Image:
    return Image("manager", tmp_path_factory.mktemp("manager"))


@pytest.fixture(scope="module")
def delegate(tmp_path_factory: pytest.TempPathFactory) -> Image:
    return Image("delegate", tmp_path_factory.mktemp("delegate"))


def importable(image: Image, *names: str) -> list[str]:
    """Which of these the image's Python finds."""
    done = image.run(str(image.python), "-c", FIND, *names)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def ours(image: Image) -> set[str]:
    """The modules of this repository in the image, by the first two parts of their names."""
    found = set()
    for top in ("manager", "delegate", "client", "shared", "tests", "deploy"):
        for path in (image.packages / top).rglob("*.py"):
            found.add(".".join(path.relative_to(image.packages).with_suffix("").parts[:2]))
    return found


def test_the_managers_image_can_neither_open_a_value_nor_call_a_cloud(manager: Image) -> None:
    done = manager.run(str(manager.python), "-c", "import shared.crypto")
    assert done.returncode == 1
    assert "ModuleNotFoundError: No module named 'shared.crypto'" in done.stderr
    assert importable(manager, "manager.main", "shared.trust.warrant") == ["manager.main", "shared.trust.warrant"]
    assert importable(manager, "delegate", "client", *SDKS, "ahocorasick_rs", "pip", "tests", "deploy") == []


def test_the_managers_image_has_all_of_shared_but_its_cryptography(manager: Image) -> None:
    parts = {f"shared.{path.stem}" for path in (ROOT / "shared").iterdir() if path.stem[0] != "_"}
    assert {name for name in ours(manager) if name.startswith("shared.")} - {"shared.__init__"} == parts - {
        "shared.crypto"
    }


def test_the_delegates_image_has_neither_the_manager_nor_the_client(delegate: Image) -> None:
    assert importable(delegate, "delegate.main", "shared.crypto.seal") == ["delegate.main", "shared.crypto.seal"]
    assert importable(delegate, "manager", "client", *SERVERS, "click", "pip", "tests", "deploy") == []


def test_every_built_in_kind_can_be_loaded_in_the_delegates_image(delegate: Image) -> None:
    program = (
        "from delegate.secret_managers.registry import BUILT_IN, installed_kinds\n"
        "kinds = installed_kinds()\n"
        "assert set(kinds) == set(BUILT_IN), kinds\n"
        "print(*[kind.load().__name__ for kind in kinds.values()])"
    )
    done = delegate.run(str(delegate.python), "-c", program)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Local" in done.stdout.split()


def test_nothing_of_this_repository_is_reached_from_an_image(manager: Image, delegate: Image) -> None:
    for image in (manager, delegate):
        done = image.run(str(image.python), "-c", "import shared, sys; print(shared.__file__, *sys.path, sep='\\n')")
        origin, *path = done.stdout.splitlines()
        assert Path(origin).is_relative_to(image.root)
        assert not [one for one in path if Path(one).is_relative_to(ROOT)]


@pytest.mark.parametrize(
    ("name", "module", "flag"),
    [("manager", "manager.main", "--delegate-listen"), ("delegate", "delegate.main", "--keyring-file")],
)
def test_the_programs_tell_their_options_and_version(
    name: str, module: str, flag: str, request: pytest.FixtureRequest
) -> None:
    image: Image = request.getfixturevalue(name)
    for words in (image.entry, [str(image.python), "-m", module]):
        done = image.run(*words, "--help")
        assert (done.returncode, done.stderr) == (0, "")
        assert flag in done.stdout
    assert image.run(*image.entry, "--version").stdout == f"privyseal-{name} 0.1.0\n"


def test_the_managers_image_refuses_to_speak_plain_text_to_the_world(manager: Image) -> None:
    done = manager.run(*manager.entry)
    assert done.returncode == 2
    assert "plain text is for loopback only" in done.stderr


def test_a_delegate_without_settings_says_what_it_needs(delegate: Image) -> None:
    done = delegate.run(*delegate.entry)
    assert done.returncode == 2
    assert "the setting manager is missing" in done.stderr
    assert "PRIVYSEAL_DELEGATE_MANAGER" in done.stderr


@asynccontextmanager
async def started(image: Image, **settings: str) -> AsyncIterator[Process]:
    """The image's program; told to end at the end, with what it says in `said.log` of the image."""
    with (image.root / "said.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *image.entry, stdin=DEVNULL, stdout=log, stderr=log, cwd=image.root, env=image.environment(**settings)
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def well(image: Image, url: str) -> None:
    """Until the image's own health check says so."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            check = await asyncio.create_subprocess_exec(*image.health(url), stderr=PIPE, env=image.environment())
            _, said = await check.communicate()
            if check.returncode == 0:
                return
            assert check.returncode == 1, said


def privyseal(home: Path, *words: str, given: bytes = b"") -> str:
    """The command line, from this environment."""
    done = subprocess.run(
        [*command("privyseal", "client.cli"), "--home", str(home), *words],
        input=given,
        capture_output=True,
        check=False,
        env=clean_environment(os.environ),
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.decode()


async def test_a_value_goes_round_between_the_two_images_over_tls(
    manager: Image, delegate: Image, tmp_path: Path, held: HeldPorts
) -> None:
    authority = Authority()
    key, certificate = authority.issue()
    for name, pem in (("tls.key", key), ("tls.crt", certificate), ("ca.pem", authority.certificate)):
        (tmp_path / name).write_bytes(pem)
    http, grpc, health = held.take(3)
    served = {
        "PRIVYSEAL_MANAGER_LISTEN": f"127.0.0.1:{http}",
        "PRIVYSEAL_MANAGER_DELEGATE_LISTEN": f"127.0.0.1:{grpc}",
        "PRIVYSEAL_MANAGER_DATABASE": f"sqlite:///{tmp_path}/manager.db",
        "PRIVYSEAL_MANAGER_TLS_CERTIFICATE": str(tmp_path / "tls.crt"),
        "PRIVYSEAL_MANAGER_TLS_KEY": str(tmp_path / "tls.key"),
    }
    dialled = {
        "PRIVYSEAL_DELEGATE_MANAGER": f"https://127.0.0.1:{grpc}",
        "PRIVYSEAL_DELEGATE_KEYRING_FILE": str(tmp_path / "keyring.json"),
        "PRIVYSEAL_DELEGATE_CA_FILE": str(tmp_path / "ca.pem"),
        "PRIVYSEAL_DELEGATE_HEALTH_ADDRESS": f"127.0.0.1:{health}",
        "PRIVYSEAL_DELEGATE_TAGS": "zone:a",
        "PRIVYSEAL_DELEGATE_CPU_LIMIT_PERCENT": "0",
    }
    async with started(manager, **served) as one:
        await well(manager, f"https://127.0.0.1:{http}/readyz")
        added = manager.run(*manager.entry, "account", "add", **served)
        (tmp_path / "token").write_text(added.stdout)
        await asyncio.to_thread(found, tmp_path, f"https://127.0.0.1:{http}")
        async with started(delegate, **dialled) as other:
            await well(delegate, f"http://127.0.0.1:{health}/readyz")
            home = tmp_path / "home"
            privyseal(home, "secret", "set", "account.token", "--from-stdin", given=b"correct horse")
            assert privyseal(home, "reveal", "account.token", "--delegate", "zone:a") == "correct horse"
            other.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(other.wait(), PATIENCE_SECONDS) == 0
        one.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(one.wait(), PATIENCE_SECONDS) == 0
    events = [json.loads(line) for line in (delegate.root / "said.log").read_text().splitlines()]
    assert events[0]["version"] == "0.1.0"
    for image in (manager, delegate):
        assert "correct horse" not in (image.root / "said.log").read_text()


def found(folder: Path, url: str) -> None:
    """An account at the manager, its keyring in `folder`."""
    privyseal(
        folder / "home",
        *("init", "--manager", url, "--ca-file", str(folder / "ca.pem"), "--name", "acme", "--no-passphrase"),
        *("--token-file", str(folder / "token"), "--root-out", str(folder / "root.pem"), "--i-have-a-backup"),
        *("--recovery-out", str(folder / "recovery"), "--keyring-out", str(folder / "keyring.json")),
    )


async def test_a_delegate_whose_manager_is_away_is_well_and_says_so(
    delegate: Image, tmp_path: Path, held: HeldPorts
) -> None:
    health, nobodys = held.take(2)
    settings = {
        "PRIVYSEAL_DELEGATE_MANAGER": f"https://127.0.0.1:{nobodys}",
        "PRIVYSEAL_DELEGATE_KEYRING_FILE": str(keyring_file(world_of_today(), tmp_path)),
        "PRIVYSEAL_DELEGATE_HEALTH_ADDRESS": f"127.0.0.1:{health}",
    }
    async with started(delegate, **settings) as one:
        await well(delegate, f"http://127.0.0.1:{health}/healthz")
        async with asyncio.timeout(PATIENCE_SECONDS):
            while "link.failed" not in (said := (delegate.root / "said.log").read_text()):
                await asyncio.sleep(0.02)
        assert "manager_unreachable" in said
        unready = await asyncio.create_subprocess_exec(
            *delegate.health(f"http://127.0.0.1:{health}/readyz"), stderr=PIPE, env=delegate.environment()
        )
        _, told = await unready.communicate()
        assert unready.returncode == 1
        assert told.startswith(b"503: ")
        one.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(one.wait(), PATIENCE_SECONDS) == 0


@pytest.mark.parametrize(
    "words", [[], ["https://127.0.0.1:1/", "more"], ["http://manager.example/healthz"], ["ftp://127.0.0.1/"]]
)
def test_the_health_check_asks_nobody_but_its_own_machine(words: list[str]) -> None:
    done = asked(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("usage: ")


def test_the_health_check_says_no_where_nobody_answers(held: HeldPorts) -> None:
    done = asked(f"http://127.0.0.1:{held.take(1)[0]}/healthz")
    assert (done.returncode, done.stderr) == (1, "no answer: ConnectionRefusedError\n")


def asked(*words: str) -> subprocess.CompletedProcess[str]:
    """The health check, asked with these words."""
    script = str(ROOT / "deploy" / "healthcheck.py")
    return subprocess.run([sys.executable, "-I", script, *words], capture_output=True, text=True, check=False)
