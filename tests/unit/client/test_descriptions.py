"""Descriptions: a connector's YAML is read field by field, and what is written back reads the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from msgspec import structs

from client.changes import MOST_AT_ONCE
from client.changes import described as all_described
from client.connectors import ConnectorChange
from client.descriptions import Description, body_of, describe, identifier_of, yaml_of
from client.manifest import Manifest, parse
from shared.connectors.catalogue import Catalogue
from shared.connectors.kinds import KINDS
from shared.documents.connector import ConnectorDocument
from shared.errors import Malformed
from shared.names import Reference, Scope
from tests.fakes.world import KEYRING, World

DOCUMENTS = Path(__file__).parents[2] / "compat" / "documents"


def manifest(**body: Any) -> Manifest:
    return Manifest("file.yaml", 7, "connector", body)


def described(**body: Any) -> Description:
    return describe(manifest(**{"name": "x", "type": "Local", **body}), Catalogue())


def refused(**body: Any) -> Malformed:
    with pytest.raises(Malformed) as caught:
        described(**body)
    assert caught.value.detail.startswith(f"file.yaml:7: {caught.value.facts['path']}: ")
    return caught.value


def document_of(world: World, one: Description) -> ConnectorDocument:
    """The document that the description would be published as."""
    return world.connector_document(
        one.place.identifier,
        str(one.place.scope),
        name=one.name,
        description=one.description,
        tags=one.tags,
        type=one.type,
        spec=one.spec,
        selectors=one.settings.selectors(),
    )


@pytest.mark.parametrize("file", sorted(DOCUMENTS.glob("*.yaml")), ids=lambda file: file.stem)
def test_what_is_written_reads_as_what_was_read(file: Path) -> None:
    world = World()
    for one in parse(file.read_bytes(), file.name):
        document = world.sign(document_of(world, describe(one, Catalogue())), world.administrator).document
        text = yaml_of(body_of(document, KEYRING))
        # An empty description and empty tags mean the same as none.
        said = {name: value for name, value in one.body.items() if value or name not in {"description", "tags"}}
        assert yaml.safe_load(text) == {"connector": said}


@pytest.mark.parametrize(
    ("name", "identifier"),
    [
        ("kms1", "kms1"),
        (" My  KMS-key.2 ", "My_KMSkey2"),
        ("2 keys", "_keys"),
        ("---", ""),
        ("_a", "_a"),
        ("x" * 300, "x" * 128),
    ],
)
def test_a_name_gives_an_identifier(name: str, identifier: str) -> None:
    assert identifier_of(name) == identifier


def test_an_identifier_is_made_from_the_name_where_none_is_given() -> None:
    assert described(name="My connector").place == Reference(Scope(), "My_connector")
    assert refused(name="...").facts["path"] == "connector.identifier"


def test_organisation_and_project_say_where_it_lives() -> None:
    assert described(orgIdentifier="o", projectIdentifier="p").place.scope == Scope("o", "p")
    assert described(orgIdentifier="o", projectIdentifier=None).place.scope == Scope("o")
    assert refused(projectIdentifier="p").facts["path"] == "connector.projectIdentifier"


def test_tags_are_a_mapping_or_a_list_with_or_without_values() -> None:
    assert described(tags={"a": "b", "bare": None}).tags == {"a": "b", "bare": ""}
    assert described(tags=["a: b", "bare"]).tags == {"a": "b", "bare": ""}
    assert described(tags=None).tags == {}
    for wrong in (5, [5], ["a:1", "a:2"], {"a": 5}, {"a b": "c"}, {"": "x"}):
        assert refused(tags=wrong).facts["path"] == "connector.tags"


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"name": None}, "name"),
        ({"name": 5}, "name"),
        ({"name": "?"}, "name"),
        ({"identifier": "a-b"}, "identifier"),
        ({"description": "x" * 1025}, "description"),
        ({"orgIdentifier": "-"}, "orgIdentifier"),
        ({"keyring": ""}, "keyring"),
        ({"spec": "text"}, "spec"),
        ({"spec": {"region": "x"}}, "spec.region"),
        ({"accountIdentifier": "x"}, "accountIdentifier"),
    ],
)
def test_a_wrong_field_is_refused_by_its_path(body: Any, path: str) -> None:
    assert refused(**body).facts["path"] == f"connector.{path}"


def test_what_a_field_may_be_is_told() -> None:
    assert refused(type=None).facts["allowed"] == sorted(KINDS)
    assert refused(type="Vault9").facts["allowed"] == sorted(KINDS)
    assert "identifier" in refused(id="x").facts["allowed"]
    assert "region" in refused(type="AwsKms", spec={"reigon": "x"}).facts["allowed"]


def test_the_built_in_keeps_its_names() -> None:
    assert described(identifier="local").place == Reference(Scope(), "local")
    for body in ({"identifier": "harnessSecretManager"}, {"identifier": "local", "orgIdentifier": "o"}):
        assert refused(**body).facts["path"] == "connector.identifier"


def test_a_keyring_is_written_where_it_is_not_the_accounts_own() -> None:
    document = structs.replace(World().connector_document("x"), keyring="europe")
    assert body_of(document, "main")["keyring"] == "europe"
    assert "keyring" not in body_of(document, "europe")


def batch(manifests: list[Manifest]) -> list[Description]:
    return all_described(manifests, lambda one: describe(one, Catalogue()), lambda one: one.place, most=MOST_AT_ONCE)


def test_one_batch_names_a_connector_once_and_tells_all_that_is_wrong() -> None:
    twice = [manifest(name="x", type="Local"), Manifest("other.yaml", 3, "connector", {"name": "x", "type": "Local"})]
    with pytest.raises(Malformed) as caught:
        batch([*twice, manifest(name="y", type="Vault9")])
    assert "the connector stands twice, first at file.yaml:7" in caught.value.detail
    assert [one.partition(": give")[0] for one in caught.value.facts["problems"]] == [
        "file.yaml:7: connector.type: the connector's type is not a known kind"
    ]
    with pytest.raises(Malformed, match="more than 200 connectors"):
        batch([manifest(name=f"x{at}", type="Local") for at in range(201)])


def test_a_change_says_what_it_does_and_shows_it() -> None:
    world = World()
    wanted = described(identifier="x", spec={"delegateSelectors": ["a"]})
    document = document_of(world, wanted)
    made = ConnectorChange(wanted, None, document, KEYRING)
    assert made.action == "create"
    assert made.diff().startswith("--- /dev/null\n+++ account/x (file.yaml:7)\n")
    before = world.publish(document)
    assert (
        ConnectorChange(wanted, before, document, KEYRING).action,
        ConnectorChange(wanted, before, document, KEYRING).diff(),
    ) == (
        "none",
        "",
    )
    changed = ConnectorChange(wanted, before, structs.replace(document, name="y"), KEYRING)
    assert changed.action == "change"
    assert "-  name: x\n+  name: y\n" in changed.diff()
