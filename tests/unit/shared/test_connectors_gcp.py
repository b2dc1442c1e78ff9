"""Settings of Google's kinds: today's YAML is read, and what is wrong is told by path and by what is allowed."""

from __future__ import annotations

from typing import Any

import pytest

from shared.connectors.gcp_kms import MOST_PREVIOUS, GcpKmsSettings
from shared.connectors.gcp_secret_manager import GcpSecretManagerSettings
from shared.connectors.kinds import settings
from shared.errors import Malformed

KEY: dict[str, Any] = {"projectId": "acme-prod", "region": "europe-west1", "keyRing": "ring", "keyName": "key"}
POOL = {
    "workloadPoolId": "pool-1",
    "providerId": "privyseal",
    "gcpProjectId": "417203918273",
    "serviceAccountEmail": "robot@acme-prod.iam.gserviceaccount.com",
}
NAME = "projects/acme-prod/locations/europe-west1/keyRings/ring/cryptoKeys/"


def kms(**changes: Any) -> GcpKmsSettings:
    found = settings("GcpKms", {**KEY, "credentials": "account.robot", **changes})
    assert isinstance(found, GcpKmsSettings)
    return found


def store(**spec: Any) -> GcpSecretManagerSettings:
    found = settings("GcpSecretManager", spec)
    assert isinstance(found, GcpSecretManagerSettings)
    return found


def refusal(kind: str, spec: dict[str, Any]) -> tuple[str, str]:
    with pytest.raises(Malformed) as caught:
        settings(kind, spec)
    assert caught.value.code == "connector_malformed"
    return str(caught.value.facts["path"]), caught.value.detail


def test_the_key_is_named_by_its_parts() -> None:
    plain = kms()
    assert (plain.key, plain.previous) == (NAME + "key", ())
    assert plain.references() == ("account.robot",)
    assert plain.oidc_audience is None
    older = kms(previousKeyNames=["old", NAME.replace("ring", "other") + "older"])
    assert older.previous == (NAME + "old", NAME.replace("ring", "other") + "older")


def test_the_pools_provider_is_the_audience_and_the_subject_of_the_exchange() -> None:
    provider = "projects/417203918273/locations/global/workloadIdentityPools/pool-1/providers/privyseal"
    for one in (kms(credentials=None, oidcDetails=POOL), store(credential=POOL)):
        assert one.oidc_audience == f"https://iam.googleapis.com/{provider}"
        assert one.references() == ()
        federation = one.identity().federation
        assert federation is not None
        assert federation.provider == provider


def test_the_three_ways_to_be_somebody() -> None:
    assert store(credentialsRef="org.robot").identity().key == "org.robot"
    assert store(credentialsRef="org.robot").oidc_audience is None
    own = store(assumeCredentialsOnDelegate=True, delegateSelectors=["gcp"], credentialsRef=None)
    assert own.identity().own
    assert kms(credentials=None, assumeCredentialsOnDelegate=True, delegateSelectors=["gcp"]).identity().own
    assert store(credentialsRef="robot", assumeCredentialsOnDelegate=False, default=True).default


@pytest.mark.parametrize("project", ["acme-prod", "417203918273", "example.com:acme-prod"])
def test_a_project_is_an_id_or_a_number(project: str) -> None:
    assert kms(projectId=project).project_id == project
    assert store(credentialsRef="robot", projectId=project).project_id == project


@pytest.mark.parametrize(
    ("changes", "path", "told"),
    [
        ({"projectId": None}, "spec.projectId", "Project cannot be empty"),
        ({"projectId": "a/b"}, "spec.projectId", "the id of a project"),
        ({"region": None}, "spec.region", "Region cannot be empty"),
        ({"region": "../x"}, "spec.region", "a location of Cloud KMS"),
        ({"keyRing": None}, "spec.keyRing", "Key ring cannot be empty"),
        ({"keyRing": "a/b"}, "spec.keyRing", "the name of a key ring"),
        ({"keyName": None}, "spec.keyName", "Key name cannot be empty"),
        ({"keyName": "k" * 64}, "spec.keyName", "the name of a key"),
        ({"previousKeyNames": ["a/b"]}, "spec.previousKeyNames[...]", "names of keys"),
        ({"previousKeyNames": ["k"] * (MOST_PREVIOUS + 1)}, "spec.previousKeyNames", "names of keys"),
        ({"credentials": "{}"}, "spec.credentials", "the reference of a secret"),
        ({"credentials": None}, "spec.credentials", "give one of credentials"),
        ({"oidcDetails": POOL}, "spec.credentials", "give one of credentials"),
        ({"assumeCredentialsOnDelegate": True}, "spec.credentials", "give one of credentials"),
        ({"credentials": None, "assumeCredentialsOnDelegate": True}, "spec.delegateSelectors", "cannot be Empty"),
        ({"unheard": 1}, "spec.unheard", "there is no such field"),
    ],
)
def test_what_is_wrong_with_a_key_is_told_by_its_field(changes: dict[str, Any], path: str, told: str) -> None:
    found, detail = refusal("GcpKms", {**KEY, "credentials": "account.robot", **changes})
    assert found.replace("[0]", "[...]") == path
    assert told in detail


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("workloadPoolId", "", "the field is missing"),
        ("workloadPoolId", "A", "the id of a pool"),
        ("providerId", None, "the field is missing"),
        ("providerId", "a/b/c/d", "the id of the pool's provider"),
        ("gcpProjectId", "", "the field is missing"),
        ("gcpProjectId", "x", "the number of the pool's project"),
        ("gcpProjectId", 417203918273, "in quotes"),
        ("serviceAccountEmail", "robot@example.com", "the e-mail address of a service account"),
        ("unheard", "x", "there is no such field"),
    ],
)
def test_what_is_wrong_with_a_pool_is_told_by_its_field(field: str, value: Any, told: str) -> None:
    wrong = {**POOL, field: value}
    for kind, name, more in (("GcpKms", "oidcDetails", KEY), ("GcpSecretManager", "credential", {})):
        path, detail = refusal(kind, {**more, name: wrong})
        assert path == f"spec.{name}.{field}"
        assert told in detail


def test_a_pools_principal_needs_no_service_account() -> None:
    federation = store(credential={**POOL, "serviceAccountEmail": None}).identity().federation
    assert federation is not None
    assert federation.service_account_email == ""


def test_nobody_and_somebody_twice_are_refused() -> None:
    wrong: list[dict[str, Any]] = [{}, {"credentialsRef": "a", "credential": POOL}, {"credential": {}}]
    for spec in wrong:
        path, detail = refusal("GcpSecretManager", spec)
        assert path == "spec.credentialsRef"
        assert "assumeCredentialsOnDelegate" in detail
    path, _ = refusal("GcpSecretManager", {"assumeCredentialsOnDelegate": True})
    assert path == "spec.delegateSelectors"
    path, _ = refusal("GcpSecretManager", {"credentialsRef": "a", "projectId": "A"})
    assert path == "spec.projectId"
