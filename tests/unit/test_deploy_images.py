"""The Dockerfiles keep to what docs/operations.md says of the images, and the locks to what each program may have."""

from __future__ import annotations

import json
import re
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest

from manager.options import PROGRAM as MANAGER
from tests.architecture.source import ROOT
from tests.fakes.image import DEPLOY, Dockerfile, copy, dockerfile

NAMES = ("manager", "delegate")
IMAGES = pytest.mark.parametrize("name", NAMES)
COMMON = ["LICENSE", "README.md", "deploy/healthcheck.py", "deploy/locks/uv.txt", "pyproject.toml"]
SDKS = (
    r"(aio)?boto.*|aiobotocore|s3transfer|hvac|azure-.*|msal.*|google-(cloud|api|auth).*|grpc-google-.*|ahocorasick.*"
)
CLIENTS = r"aiohttp|pyyaml|requests|httpx"
SERVERS = r"alembic|sqlalchemy|starlette|uvicorn|psycopg.*"


def sources(file: Dockerfile) -> list[str]:
    """What the image takes from the repository, as its COPY lines name it."""
    copies = [one for one in file.all() if one.word == "COPY" and "--from" not in one.flags]
    return sorted(source for one in copies for source in one.words()[:-1])


def packages(lock: str) -> list[str]:
    return re.findall(r"^([a-z0-9][a-z0-9._-]*)(?:\[[^\]]*\])?==", (DEPLOY / "locks" / f"{lock}.txt").read_text(), re.M)


def test_each_image_takes_what_is_named_here_and_nothing_else() -> None:
    shared = [f"shared/{one}" for one in ("*.py", "connectors", "documents", "trust", "wire")]
    assert sources(dockerfile("manager")) == sorted([*COMMON, "deploy/locks/manager.txt", "manager", *shared])
    assert sources(dockerfile("delegate")) == sorted([*COMMON, "deploy/locks/delegate.txt", "delegate", "shared"])


@IMAGES
def test_the_builder_is_given_what_the_image_takes_and_nothing_else(name: str, tmp_path: Path) -> None:
    lines = (DEPLOY / f"{name}.Dockerfile.dockerignore").read_text().splitlines()
    everything, *rules = [line for line in lines if not line.startswith("#")]
    assert everything == "**"
    given = {rule.removeprefix("!") for rule in rules if rule.startswith("!")}
    kept_out = {rule for rule in rules if not rule.startswith("!")}
    assert given == {source.split("/")[0] if source.startswith("shared") else source for source in sources(dockerfile(name))}  # fmt: skip
    assert kept_out == {"**/__pycache__", *(["shared/crypto"] if name == "manager" else [])}
    copy(dockerfile(name).stages[0], tmp_path)
    copied = [path.relative_to(tmp_path / "source").as_posix() for path in (tmp_path / "source").rglob("*")]
    assert not [path for path in copied for rule in kept_out if fnmatch(path, rule.replace("**", "*"))]


@IMAGES
def test_an_image_begins_from_one_base_that_can_be_pinned(name: str) -> None:
    file = dockerfile(name)
    assert [(one.word, one.text) for one in file.before] == [("ARG", "BASE=python:3.11-slim")]
    assert [stage[0].text for stage in file.stages] == ["${BASE} AS build", "${BASE}"]
    assert not [one for one in file.all() if one.word == "ADD"]


@IMAGES
def test_everything_is_installed_from_the_hashed_locks(name: str) -> None:
    installs = [
        step.strip()
        for one in dockerfile(name).all()
        if one.word == "RUN"
        for step in one.text.split("&&")
        if re.search(r"\b(pip|uv|apt|apt-get|curl|wget)\b", step) and " -m venv " not in step
    ]
    assert len(installs) == 3
    assert "pip install --quiet --require-hashes --requirement /locks/uv.txt" in installs[0]
    assert f"uv pip sync --require-hashes /locks/{name}.txt" in installs[1]
    assert "uv pip install --offline --no-deps /wheels/*.whl" in installs[2]


@IMAGES
def test_an_image_runs_as_a_numeric_user_and_ends_on_sigterm(name: str) -> None:
    file = dockerfile(name)
    assert file.last("USER").text == "10001:10001"
    words = [one.word for one in file.stages[-1]]
    assert max(at for at, word in enumerate(words) if word in {"RUN", "COPY"}) < words.index("USER")
    assert file.last("STOPSIGNAL").text == "SIGTERM"
    assert file.last("ENTRYPOINT").words() == [f"/opt/privyseal/bin/privyseal-{name}"]
    assert "CMD" not in words
    environment = file.environment()
    assert environment["PYTHONDONTWRITEBYTECODE"] == environment["PYTHONSAFEPATH"] == "1"


@IMAGES
def test_health_is_asked_with_python_at_the_port_that_the_program_has(name: str) -> None:
    check = dockerfile(name).last("HEALTHCHECK")
    assert check.text.startswith("CMD [")
    program, isolated, script, url = json.loads(check.text.removeprefix("CMD "))
    assert (program, isolated) == ("/opt/privyseal/bin/python", "-I")
    assert (ROOT / "deploy" / Path(script).name).exists()
    listening = {
        "manager": dockerfile("manager").environment()["PRIVYSEAL_MANAGER_LISTEN"].replace("0.0.0.0", "https://127.0.0.1"),
        "delegate": f"http://{default('delegate', 'health_address')}",
    }  # fmt: skip
    assert url == f"{listening[name]}/healthz"


def default(program: str, option: str) -> str:
    text = (DEPLOY / "examples" / f"{program}.toml").read_text()
    return str(tomllib.loads(text)[option])


def test_what_the_managers_image_sets_are_settings_of_the_manager() -> None:
    environment = dockerfile("manager").environment()
    settings = MANAGER.parse([], environment, None)
    given = {name for name, origin in settings.origins.items() if origin == "environment"}
    assert given == {"listen", "delegate_listen", "database"}
    ports = {settings.get(name, str).rpartition(":")[2] for name in ("listen", "delegate_listen")}
    assert set(dockerfile("manager").last("EXPOSE").words()) == ports
    assert settings.get("database", str).startswith(f"sqlite:///{dockerfile('manager').last('WORKDIR').text}/")


def test_the_delegates_image_opens_no_port_and_holds_no_setting() -> None:
    file = dockerfile("delegate")
    assert not [one for one in file.all() if one.word in {"EXPOSE", "VOLUME"}]
    assert not [name for name in file.environment() if name.startswith("PRIVYSEAL_")]


@IMAGES
def test_the_labels_tell_the_programs_version(name: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    file = dockerfile(name)
    assert f"VERSION={project['version']}" in [one.text for one in file.stages[-1] if one.word == "ARG"]
    assert f'org.opencontainers.image.title="privyseal-{name}"' in file.last("LABEL").text
    assert f'org.opencontainers.image.licenses="{project["license"]}"' in file.last("LABEL").text


def test_the_managers_lock_names_no_sdk_and_nothing_that_a_client_needs() -> None:
    names = packages("manager")
    assert {"cryptography", "sqlalchemy", "starlette"} <= set(names)
    assert [one for one in names if re.fullmatch(f"{SDKS}|{CLIENTS}", one)] == []


def test_the_delegates_lock_names_no_server() -> None:
    names = packages("delegate")
    assert {"aiobotocore", "ahocorasick-rs", "cryptography", "hvac"} <= set(names)
    assert [one for one in names if re.fullmatch(SERVERS, one)] == []


@pytest.mark.parametrize("lock", [*NAMES, "uv"])
def test_every_package_of_an_images_lock_has_its_hashes(lock: str) -> None:
    text = (DEPLOY / "locks" / f"{lock}.txt").read_text()
    blocks = re.split(r"\n(?=[a-z0-9])", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE))
    assert len(blocks) == len(packages(lock)) > 3
    assert not [block.split("=")[0] for block in blocks if "--hash=sha256:" not in block]
    assert "://" not in text
