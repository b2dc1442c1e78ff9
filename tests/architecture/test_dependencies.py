"""Each dependency has its reason and its lock, and no lock says where it came from."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.architecture.source import ROOT

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
BASE = "Every program"
SECTIONS = {
    # heading in docs/dependencies.md: the extra or group of pyproject.toml
    "The manager": "manager",
    "The manager on PostgreSQL": "postgresql",
    "The delegate": "delegate",
    "The delegate, for AWS": "aws",
    "The delegate, for Azure": "azure",
    "The delegate, for Google Cloud": "gcp",
    "The delegate, for Vault": "vault",
    "The delegate, for age files": "age",
    "The delegate, for hardware modules": "pkcs11",
    "The delegate, for CyberArk, Kubernetes and 1Password": "rest",
    "The delegate, for hosts over SSH": "ssh",
    "Traces": "otel",
    "The demonstration": "demo",
    "The client": "client",
    "Setting up": "setup",
    "Development": "dev",
}
NODE = "The independent verifier (Node)"
LOCKS = {
    "manager": ("manager", "postgresql", "otel"),
    "delegate": ("delegate", "aws", "azure", "gcp", "vault", "age", "pkcs11", "rest", "ssh", "otel"),
    "client": ("client",),
    "runtime": ("manager", "delegate", "aws", "demo", "client", "setup"),
    "dev": (
        "manager",
        "postgresql",
        "delegate",
        "aws",
        "azure",
        "gcp",
        "vault",
        "age",
        "pkcs11",
        "rest",
        "ssh",
        "otel",
        "demo",
        "client",
        "setup",
        "dev",
    ),
    "uv": ("setup",),
}


def required() -> dict[str, list[Requirement]]:
    """What pyproject.toml asks for, by extra or group; what every program needs is under ""."""
    wanted = {"": PYPROJECT["project"]["dependencies"]}
    wanted |= PYPROJECT["project"]["optional-dependencies"] | PYPROJECT["dependency-groups"]
    return {name: [Requirement(line) for line in lines] for name, lines in wanted.items()}


def described() -> dict[str, dict[str, str]]:
    """What docs/dependencies.md says: heading, then name and reason."""
    found: dict[str, dict[str, str]] = {}
    for part in (ROOT / "docs/dependencies.md").read_text().split("\n## ")[1:]:
        heading, _, body = part.partition("\n")
        found[heading] = dict(re.findall(r"^- `([^`]+)`: (.+)$", body, re.MULTILINE))
    return found


def locked(text: str) -> dict[str, tuple[str, int]]:
    """Name: version and number of hashes, of each package in a lock."""
    found: dict[str, tuple[str, int]] = {}
    for block in re.split(r"\n(?=[A-Za-z0-9])", text):
        if named := re.match(r"([A-Za-z0-9._-]+)==([^\s;\\]+)", block):
            found[canonicalize_name(named[1])] = (named[2], block.count("--hash=sha256:"))
    return found


def places(text: str) -> list[str]:
    """Lines of a lock that tell where packages came from."""
    return re.findall(r"^.*(?:\w+://|--index|--find-links|--extra-index|\bresolved\b).*$", text, re.MULTILINE)


def test_each_dependency_has_its_reason_in_the_right_section() -> None:
    said = described()
    assert set(said) == {BASE, *SECTIONS, NODE}
    for heading, name in {BASE: "", **SECTIONS}.items():
        assert set(said[heading]) == {canonicalize_name(one.name) for one in required()[name]}, heading
    node = json.loads((ROOT / "tests/node/package.json").read_text())
    assert set(said[NODE]) == set(node["dependencies"])


def test_every_extra_is_described_and_locked() -> None:
    assert set(required()) == {"", *SECTIONS.values()} == {"", *LOCKS["dev"]}


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_holds_what_pyproject_asks_for_with_hashes(name: str) -> None:
    found = locked((ROOT / f"deploy/locks/{name}.txt").read_text())
    assert [package for package, (_, hashes) in found.items() if hashes == 0] == []
    for extra in ("", *LOCKS[name]) if name != "uv" else LOCKS[name]:
        for one in required()[extra]:
            version, _ = found[canonicalize_name(one.name)]
            assert one.specifier.contains(Version(version)), f"{name}: {one} is locked at {version}: make lock"


@pytest.mark.parametrize("name", LOCKS)
def test_every_program_runs_the_versions_that_were_tested(name: str) -> None:
    tested = locked((ROOT / "deploy/locks/dev.txt").read_text())
    found = locked((ROOT / f"deploy/locks/{name}.txt").read_text())
    assert {package: version for package, (version, _) in found.items()}.items() <= {
        package: version for package, (version, _) in tested.items()
    }.items()


def test_every_lock_is_known() -> None:
    assert {path.stem for path in (ROOT / "deploy/locks").iterdir()} == {*LOCKS, "ministack"}


@pytest.mark.parametrize(
    "path", [*(ROOT / "deploy/locks").iterdir(), ROOT / "tests/node/package-lock.json"], ids=lambda one: one.name
)
def test_no_lock_names_a_host(path: Path) -> None:
    assert places(path.read_text()) == []


def test_a_host_in_a_lock_is_seen() -> None:
    assert places('  "resolved": "https://registry.example/a.tgz",\n  "integrity": "sha512-"') != []
    assert places("--index-url https://packages.example/simple\na==1") != []
    assert places("# found under file:///opt/wheels\na==1") != []


def test_nodes_packages_are_exact_and_have_hashes() -> None:
    package = json.loads((ROOT / "tests/node/package.json").read_text())
    lock = json.loads((ROOT / "tests/node/package-lock.json").read_text())
    assert package["private"] is True
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in package["dependencies"].values())
    assert all(one.get("integrity", "").startswith("sha512-") for name, one in lock["packages"].items() if name)


def test_every_program_is_started_by_its_own_script() -> None:
    scripts = PYPROJECT["project"]["scripts"]
    assert scripts == {
        "privyseal": "client.cli:main",
        "privyseal-manager": "manager.main:main",
        "privyseal-delegate": "delegate.main:main",
    }
