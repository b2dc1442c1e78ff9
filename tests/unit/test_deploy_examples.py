"""What stands in deploy/examples is what the programs read, with every option explained where it stands."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
import yaml

import delegate.configuration
import manager.options
from client.descriptions import Description, body_of, describe, yaml_of
from client.manifest import Manifest, read_files
from client.template_descriptions import describe_template
from delegate.policy import _KEYS as POLICY_KEYS
from delegate.policy import LocalPolicy
from shared.connectors.aws import CREDENTIAL_TYPES
from shared.connectors.aws_kms import AwsKmsSettings
from shared.connectors.catalogue import Catalogue
from shared.connectors.custom_secret_manager import CustomSecretManagerSettings
from shared.connectors.kinds import KINDS
from shared.connectors.local import LocalSettings
from shared.settings import Program
from shared.template_inputs import connector_gap
from tests.fakes.image import DEPLOY
from tests.fakes.world import KEYRING, World
from tests.unit.test_docs_cli import calls, parse

EXAMPLES = DEPLOY / "examples"
CONNECTORS = sorted((EXAMPLES / "connectors").glob("*.yaml"))
EACH = pytest.mark.parametrize("file", CONNECTORS, ids=lambda one: one.stem)


def manifests(*files: Path) -> list[Manifest]:
    """As `privyseal apply -f FILE` reads them."""
    return read_files([str(file) for file in files], io.BytesIO())


def described(file: Path) -> Description:
    (one,) = manifests(file)
    return describe(one, Catalogue())


def paths(value: Any, above: str = "") -> Iterator[str]:
    """The path of every field of an object; what lies below `tags` is its author's."""
    for key, member in value.items():
        yield above + key
        if isinstance(member, dict) and key != "tags":
            yield from paths(member, f"{above}{key}.")


def fields(model: type[msgspec.Struct], above: str = "") -> Iterator[str]:
    """The path of every field that a model takes, those of each of its alternatives included."""
    tag = model.__struct_config__.tag_field
    if tag:
        yield above + tag
    for one in msgspec.structs.fields(model):
        yield above + one.encode_name
        for member in get_args(one.type) or (one.type,):
            if isinstance(member, type) and issubclass(member, msgspec.Struct):
                yield from fields(member, f"{above}{one.encode_name}.")


@pytest.mark.parametrize(
    ("file", "program"), [("manager.toml", manager.options.PROGRAM), ("delegate.toml", delegate.configuration.PROGRAM)]
)
def test_a_programs_example_explains_every_option_and_is_read_by_it(file: str, program: Program) -> None:
    text = (EXAMPLES / file).read_text()
    settings = program.parse([], {}, text)
    for option in program.options:
        assert re.search(rf"^# .*\n(?:#.*\n)*(?:# )?{option.name} = ", text, re.MULTILINE), option.name
        if option.default is not None:
            assert settings.values[option.name] == program.parse([], {}, _required(program)).values[option.name]


def _required(program: Program) -> str:
    return "".join(f'{one.name} = "{one.example}"\n' for one in program.options if one.required)


def test_the_policys_example_explains_every_key_and_is_read() -> None:
    text = (EXAMPLES / "delegate-policy.toml").read_text()
    policy = LocalPolicy.parse(text, ["Local"])
    assert not policy.exec
    for key in POLICY_KEYS:
        assert re.search(rf"^# .*\n(?:#.*\n)*(?:{key} = |\[{key}\])", text, re.MULTILINE), key


def test_there_is_an_example_of_every_kind_and_every_way_to_be_somebody() -> None:
    every = [described(file) for file in CONNECTORS]
    assert {one.type for one in every} == set(KINDS)
    aws = [one.settings for one in every if isinstance(one.settings, AwsKmsSettings)]
    assert {one.credential.__struct_config__.tag for one in aws} == set(CREDENTIAL_TYPES)
    (platform,) = [one for one in every if not one.settings.execute_on_delegate]
    assert platform.keyring == "platform"
    assert platform.settings.references() == ()


def test_all_of_them_can_be_applied_together() -> None:
    every = [describe(one, Catalogue()) for one in manifests(*CONNECTORS)]
    assert len(every) == len(CONNECTORS) == len({one.place for one in every})


@EACH
def test_an_example_reads_as_apply_reads_it_and_is_given_back_equal(file: Path) -> None:
    world, one = World(), described(file)
    document = world.connector_document(
        one.place.identifier,
        str(one.place.scope),
        name=one.name,
        description=one.description,
        tags=one.tags,
        type=one.type,
        spec=one.spec,
        selectors=one.settings.selectors(),
        where=one.settings.condition(),
    )
    given_back = yaml.safe_load(yaml_of(body_of(document, KEYRING)))["connector"]
    assert given_back == {key: member for key, member in one.manifest.body.items() if key != "keyring"}


@EACH
def test_an_example_begins_with_what_it_is_and_how_it_is_applied(file: Path) -> None:
    text = file.read_text()
    assert text.startswith("# ")
    commands = re.findall(r"^#   (privyseal .*)$", text, re.MULTILINE)
    assert f"privyseal apply -f {file.name}" in commands
    for command in commands:
        for words in calls(command):
            parse(words)


@EACH
def test_every_secret_that_an_example_names_is_stored_in_its_first_lines(file: Path) -> None:
    text = file.read_text()
    for path, reference in described(file).settings.named_references().items():
        first = "apply -f ../secrets/ssh-key.yaml" if path == "connectorRef" else f"secret set {reference} --from-stdin"
        assert f"#   privyseal {first}\n" in text


def test_a_templates_example_is_taken_and_explained() -> None:
    for file in sorted((EXAMPLES / "templates").glob("*.yaml")):
        (one,) = manifests(file)
        template = describe_template(one)
        lines = file.read_text().splitlines()
        for path in paths(one.body["spec"]):
            explained = lines[one.line_of(f"template.spec.{path}") - 2].lstrip().startswith("#")
            assert explained or "." in path or path == "executionTarget", path
        for reference in template.content.secrets:
            assert f"#   privyseal secret set {reference} --from-stdin\n" in file.read_text()
        for command in re.findall(r"^#   (privyseal .*)$", file.read_text(), re.MULTILINE):
            for words in calls(command):
                parse(words)
        users = [described(one).settings for one in CONNECTORS]
        custom = [one for one in users if isinstance(one, CustomSecretManagerSettings)]
        bound = [one for one in custom if one.template.template_ref == f"account.{template.place.identifier}"]
        assert len(bound) == 2 and not any(connector_gap(template.content, one) for one in bound)


@pytest.mark.parametrize(("kind", "model"), [("Local", LocalSettings), ("AwsKms", AwsKmsSettings)])
def test_every_field_that_a_kind_takes_stands_in_an_example(kind: str, model: type[msgspec.Struct]) -> None:
    found: set[str] = set()
    for one in (described(file) for file in CONNECTORS):
        if one.type == kind:
            found |= set(paths(one.spec))
    assert found == set(fields(model))


@pytest.mark.parametrize("kind", ["AzureKeyVault", "AzureKeyVaultKey"])
def test_every_field_of_azure_beside_those_of_every_kind_stands_in_an_example(kind: str) -> None:
    found = {
        path for one in map(described, CONNECTORS) if one.type.startswith("AzureKeyVault") for path in paths(one.spec)
    }
    assert set(fields(KINDS[kind])) - set(fields(LocalSettings)) <= found


@pytest.mark.parametrize("kind", ["GcpKms", "GcpSecretManager"])
def test_every_field_of_google_beside_those_of_every_kind_stands_in_an_example(kind: str) -> None:
    found = {path for one in map(described, CONNECTORS) if one.type == kind for path in paths(one.spec)}
    assert set(fields(KINDS[kind])) - set(fields(LocalSettings)) <= found


def test_every_field_of_an_example_is_explained_above_it_somewhere() -> None:
    explained, named = set(), set()
    for file in CONNECTORS:
        (one,) = manifests(file)
        lines = file.read_text().splitlines()
        for path in paths(one.body):
            named.add(path)
            if lines[one.line_of(f"connector.{path}") - 2].lstrip().startswith("#"):
                explained.add(path)
    # Groups are explained by their fields, and this one together with the field above it.
    together = {"projectIdentifier"}
    assert named - explained == {"spec", "spec.credential.spec", *together}
