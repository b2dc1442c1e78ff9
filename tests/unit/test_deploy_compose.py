"""deploy/compose.yaml is hardened, and every name in it is one of the programs', the images' or its own."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from delegate.address import Address
from delegate.configuration import PROGRAM as DELEGATE
from delegate.familiar import environment as familiar
from manager.options import PROGRAM as MANAGER
from manager.options import address, origins
from shared.errors import Malformed
from shared.options import Option
from shared.settings import Program, Settings
from tests.architecture.source import ROOT
from tests.fakes.image import DEPLOY, dockerfile

TEXT = (DEPLOY / "compose.yaml").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
PROGRAMS: dict[str, Program] = {"manager": MANAGER, "delegate": DELEGATE}
SERVICES = pytest.mark.parametrize("name", sorted(PROGRAMS))
VARIABLE = re.compile(r"\$\{([A-Z][A-Z0-9_]*):-([^}]*)\}")
# From where Docker takes a service's files, below the folder of the compose file.
FILES = "./files/"


def service(name: str) -> dict[str, Any]:
    found: dict[str, Any] = COMPOSE["services"][name]
    return found


def environment(name: str) -> dict[str, str]:
    """The service's variables where nothing else is set."""
    return {key: VARIABLE.sub(lambda found: found[2], text) for key, text in service(name)["environment"].items()}


def settings(name: str) -> Settings:
    """What the program makes of its image's variables and the service's."""
    return PROGRAMS[name].parse([], familiar({**dockerfile(name).environment(), **environment(name)}), None)


def mounted(name: str) -> dict[str, str]:
    """What the service finds in its container: the path there, and what it is outside."""
    found = {f"/run/secrets/{one}": COMPOSE["secrets"][one]["file"] for one in service(name)["secrets"]}
    for volume in service(name)["volumes"]:
        source, target, *_ = volume.split(":")
        found[target] = source
    return found


def seconds(text: str) -> float:
    return float(text.removesuffix("s"))


@SERVICES
def test_a_service_may_do_nothing_that_it_need_not(name: str) -> None:
    one = service(name)
    assert one["user"] == dockerfile(name).last("USER").text == "10001:10001"
    assert one["read_only"] is True
    assert one["cap_drop"] == ["ALL"]
    assert one["security_opt"] == ["no-new-privileges:true"]
    (scratch,) = one["tmpfs"]
    path, _, options = scratch.partition(":")
    assert path == "/tmp"  # noqa: S108 (the container's own)
    assert {"noexec", "nosuid", "nodev"} <= set(options.split(","))
    assert one["pids_limit"] > 0
    assert one["mem_limit"]
    forbidden = {"privileged", "cap_add", "network_mode", "pid", "ipc", "devices", "userns_mode", "env_file", "command"}
    assert not forbidden & set(one)


def test_a_delegate_is_out_of_reach_and_never_swapped_out() -> None:
    one = service("delegate")
    assert "ports" not in one
    assert "expose" not in one
    assert one["memswap_limit"] == one["mem_limit"]
    assert one["init"] is True


def test_only_the_managers_port_for_clients_is_published_and_on_loopback() -> None:
    assert service("manager")["ports"] == ["127.0.0.1:8470:8470"]
    _, port = address(settings("manager"), "listen")
    assert port == 8470


@SERVICES
def test_every_variable_is_a_setting_of_its_program(name: str) -> None:
    found = settings(name)
    given = {PROGRAMS[name].prefix + one.upper() for one, origin in found.origins.items() if origin == "environment"}
    assert set(environment(name)) <= given


def test_a_misspelt_variable_would_be_noticed() -> None:
    with pytest.raises(Malformed, match="unknown environment variable PRIVYSEAL_DELEGATE_KEYRING"):
        DELEGATE.parse([], {**environment("delegate"), "PRIVYSEAL_DELEGATE_KEYRING": "x"}, None)


@SERVICES
def test_every_file_that_a_setting_names_is_mounted_read_only(name: str) -> None:
    found, there = settings(name), mounted(name)
    paths = {one.name: found.values[one.name] for one in PROGRAMS[name].options if one.type == "path"}
    named = {path for path in paths.values() if path is not None}
    assert named <= set(there)
    assert all(there[str(path)].startswith(FILES) for path in named)
    binds = [volume for volume in service(name)["volumes"] if volume.startswith(".")]
    assert all(volume.endswith(":ro") for volume in binds)


@SERVICES
def test_what_holds_a_secret_is_a_secret(name: str) -> None:
    found = settings(name)
    secret: list[Option] = [one for one in PROGRAMS[name].options if one.secret_path]
    assert {one.name for one in secret} <= {"keyring_file", "tls_key"}
    for one in secret:
        assert str(found.values[one.name]).startswith("/run/secrets/")


def test_the_managers_store_is_a_volume() -> None:
    database = settings("manager").get("database", str).removeprefix("sqlite:///")
    volume = mounted("manager")[str(Path(database).parent)]
    assert volume in COMPOSE["volumes"]


def test_delegates_dial_what_the_manager_proves_itself_for() -> None:
    served = settings("manager")
    dialled = Address.parse(settings("delegate").get("manager", str))
    assert dialled.origin in origins(served, "delegate_url", "delegate_listen", "https")
    _, port = address(served, "delegate_listen")
    assert dialled.origin == f"https://manager:{port}"
    assert origins(served, "url", "listen", "https") == ("https://localhost:8470",)


@SERVICES
def test_a_service_is_built_from_its_dockerfile_and_called_by_its_version(name: str) -> None:
    one = service(name)
    file = DEPLOY / one["build"]["context"] / one["build"]["dockerfile"]
    assert file.resolve() == DEPLOY / f"{name}.Dockerfile"
    versions = [
        arg.text for arg in dockerfile(name).stages[-1] if arg.word == "ARG" and arg.text.startswith("VERSION=")
    ]
    assert one["image"] == f"privyseal-{name}:{versions[0].removeprefix('VERSION=')}"


@SERVICES
def test_health_is_readiness_by_the_images_own_means(name: str) -> None:
    *image, url = dockerfile(name).last("HEALTHCHECK").text.removeprefix('CMD ["').removesuffix('"]').split('", "')
    assert service(name)["healthcheck"]["test"] == ["CMD", *image, url.replace("/healthz", "/readyz")]


def test_a_delegate_is_started_when_its_manager_is_ready() -> None:
    assert service("delegate")["depends_on"] == {"manager": {"condition": "service_healthy"}}


@pytest.mark.parametrize(("name", "option"), [("manager", "drain"), ("delegate", "drain_seconds")])
def test_a_service_is_given_the_time_that_it_drains_for(name: str, option: str) -> None:
    assert seconds(service(name)["stop_grace_period"]) > settings(name).get(option, float)


def test_what_lies_beside_it_is_never_committed() -> None:
    ignored = (DEPLOY / "files" / ".gitignore").read_text().splitlines()
    assert "*" in ignored
    sources = [path for name in PROGRAMS for path in mounted(name).values() if path.startswith(".")]
    assert all(path.startswith(FILES) for path in sources)


def test_the_walk_through_makes_every_file_that_is_mounted() -> None:
    page = (ROOT / "docs" / "operations.md").read_text()
    for name in PROGRAMS:
        for source in mounted(name).values():
            if source.startswith(FILES):
                assert source.removeprefix("./") in page
