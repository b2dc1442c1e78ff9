"""The units of systemd are hardened, and call the programs by options that they have."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from delegate.configuration import PROGRAM as DELEGATE
from manager.options import PROGRAM as MANAGER
from shared.settings import Program, Settings
from tests.fakes.image import DEPLOY

PROGRAMS: dict[str, Program] = {"manager": MANAGER, "delegate": DELEGATE}
UNITS = pytest.mark.parametrize("name", sorted(PROGRAMS))
HARDENED = {
    "NoNewPrivileges": "yes",
    "CapabilityBoundingSet": "",
    "AmbientCapabilities": "",
    "ProtectSystem": "strict",
    "ProtectHome": "yes",
    "PrivateTmp": "yes",
    "PrivateDevices": "yes",
    "ProtectKernelModules": "yes",
    "ProtectKernelTunables": "yes",
    "ProtectControlGroups": "yes",
    "ProtectProc": "invisible",
    "RestrictNamespaces": "yes",
    "RestrictSUIDSGID": "yes",
    "RestrictAddressFamilies": "AF_INET AF_INET6 AF_UNIX",
    "SystemCallArchitectures": "native",
    "UMask": "0077",
    "LimitCORE": "0",
}


def unit(name: str) -> Path:
    return DEPLOY / "systemd" / f"privyseal-{name}.service"


def service(name: str) -> dict[str, list[str]]:
    """The settings of the section Service, each with its values in their order."""
    section, found = "", dict[str, list[str]]()
    for line in unit(name).read_text().splitlines():
        if line.startswith("["):
            section = line
        elif section == "[Service]" and line and line[0] not in "#;":
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


def settings(name: str) -> tuple[list[str], Settings]:
    """What the unit runs, and what the program makes of its flags and its example file."""
    program, *flags = shlex.split(service(name)["ExecStart"][0])
    text = (DEPLOY / "examples" / f"{name}.toml").read_text()
    return [program, *flags], PROGRAMS[name].parse(flags, {}, text)


@UNITS
def test_a_unit_is_hardened(name: str) -> None:
    found = service(name)
    assert {key: found[key] for key in HARDENED} == {key: [value] for key, value in HARDENED.items()}
    assert found["SystemCallFilter"] == ["@system-service", "~@privileged"]


@UNITS
def test_a_unit_calls_its_program_by_flags_that_it_has(name: str) -> None:
    (program, *_), found = settings(name)
    assert Path(program).name == PROGRAMS[name].name
    assert found.get("log_format", str) == "json"
    assert PROGRAMS[name].request(shlex.split(service(name)["ExecStart"][0])[1:], {}).config == f"/etc/privyseal/{name}.toml"  # fmt: skip


@pytest.mark.parametrize(("name", "option"), [("manager", "tls_key"), ("delegate", "keyring_file")])
def test_a_secret_is_handed_over_by_systemd(name: str, option: str) -> None:
    _, found = settings(name)
    path = found.get(option, str)
    assert path.startswith("%d/")
    assert service(name)["LoadCredential"] == [f"{path.removeprefix('%d/')}:/etc/privyseal/{path.removeprefix('%d/')}"]


@pytest.mark.parametrize(("name", "option"), [("manager", "drain"), ("delegate", "drain_seconds")])
def test_a_unit_gives_the_time_that_its_program_drains_for(name: str, option: str) -> None:
    _, found = settings(name)
    assert float(service(name)["TimeoutStopSec"][0]) > found.get(option, float)


def test_nobody_runs_as_root_and_no_value_is_swapped_out() -> None:
    assert service("manager")["User"] == ["privyseal"]
    assert service("delegate")["DynamicUser"] == ["yes"]
    assert service("delegate")["MemorySwapMax"] == ["0"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
@UNITS
def test_systemd_takes_a_unit_without_a_remark(name: str, tmp_path: Path) -> None:
    copy = tmp_path / unit(name).name
    # The program isn't installed here, and that it isn't would be a remark.
    copy.write_text(unit(name).read_text().replace(f"/opt/privyseal/bin/privyseal-{name}", "/bin/true"))
    done = subprocess.run(["systemd-analyze", "verify", str(copy)], capture_output=True, text=True, check=False)
    about_it = [line for line in done.stderr.splitlines() if copy.name in line]
    assert (done.returncode, about_it) == (0, [])
