"""Settings of AWS Secrets Manager: today's YAML is read, and what is wrong is told by path and by what is allowed."""

from __future__ import annotations

from typing import Any

import pytest

from shared.connectors.aws import AssumedRoleSettings, AssumeIAMRole, OidcAuthentication
from shared.connectors.aws_secret_manager import (
    LONGEST_NAME,
    LONGEST_PREFIX,
    AssumeExternalRole,
    AwsSecretManagerSettings,
    credential_of,
)
from shared.connectors.kinds import settings
from shared.errors import Malformed

ROLE = "arn:aws:iam::123456789012:role/sm"
MANUAL = {"type": "ManualConfig", "spec": {"accessKey": "account.awsAccess", "secretKey": "org.awsSecret"}}
BASE: dict[str, Any] = {"credential": MANUAL, "region": "us-east-1"}


def aws(**changes: Any) -> AwsSecretManagerSettings:
    found = settings("AwsSecretManager", {**BASE, **changes})
    assert isinstance(found, AwsSecretManagerSettings)
    return found


def of(type: str, **spec: Any) -> dict[str, Any]:
    return {"type": type, "spec": spec}


def sts(**changes: Any) -> dict[str, Any]:
    return of("AssumeSTSRole", **{"delegateSelectors": ["d1"], "roleArn": ROLE, **changes})


def test_the_fields_are_those_of_todays_yaml() -> None:
    full = aws(
        credential=of("AssumeIAMRole"),
        secretNamePrefix="devops",
        delegateSelectors=["d1"],
        usePutSecret=False,
        forceDeleteWithoutRecovery=False,
        recoveryWindowInDays=30,
        executeOnDelegate=True,
        default=False,
    )
    assert (full.secret_name_prefix, full.use_put_secret, full.recovery_days) == ("devops", False, 30)
    assert full.selectors() == ("d1",)


def test_what_is_left_out_has_its_documented_default() -> None:
    plain = aws()
    assert (plain.secret_name_prefix, plain.use_put_secret, plain.recovery_days) == ("", False, 30)
    assert aws(recoveryWindowInDays=7).recovery_days == 7
    assert aws(forceDeleteWithoutRecovery=True).recovery_days is None


def test_an_access_keys_id_is_a_secret_or_stands_in_plain_text() -> None:
    assert aws().references() == ("account.awsAccess", "org.awsSecret")
    plain = aws(credential=of("ManualConfig", accessKeyPlainText="AKIAIOSFODNN7EXAMPLE", secretKey="s"))
    assert plain.named_references() == {"credential.spec.secretKey": "s"}


@pytest.mark.parametrize("word", ["externalId", "externalName"])
def test_a_roles_external_id_is_understood_in_both_words(word: str) -> None:
    given = aws(credential=sts(**{word: "ext"}, assumeStsRoleDuration=3600)).credential
    assert isinstance(given, AssumeExternalRole)
    assert credential_of(given).spec == AssumedRoleSettings(
        delegate_selectors=("d1",), role_arn=ROLE, external_name="ext", assume_sts_role_duration=3600
    )


@pytest.mark.parametrize(
    "credential",
    [of("AssumeIAMRole", delegateSelectors=["d1"]), of("OidcAuthentication", iamRoleArn=ROLE)],
    ids=lambda one: str(one["type"]),
)
def test_the_other_credentials_are_those_of_every_kind_of_aws(credential: Any) -> None:
    found = aws(credential=credential).credential
    assert isinstance(found, AssumeIAMRole | OidcAuthentication)
    assert credential_of(found) is found
    assert aws(credential=credential).oidc_audience == (
        "sts.amazonaws.com" if isinstance(found, OidcAuthentication) else None
    )


@pytest.mark.parametrize(
    ("prefix", "name"),
    [("", "db"), ("devops", "devops/db"), ("devops/", "devops/db"), ("/a/b", "/a/b/db"), ("/", "/db")],
)
def test_the_prefix_is_joined_with_one_slash(prefix: str, name: str) -> None:
    assert aws(secretNamePrefix=prefix).name("db") == name


def test_the_longest_identifiers_fit_behind_the_longest_prefix() -> None:
    last = ".".join(["i" * 128] * 3)
    assert len(aws(secretNamePrefix="p" * LONGEST_PREFIX).name(last)) <= LONGEST_NAME


@pytest.mark.parametrize(
    ("changes", "path", "text"),
    [
        ({"region": None}, "region", "Region cannot be empty"),
        ({"region": "Europe"}, "region", "give the code of a region, such as us-east-1"),
        ({"credential": None}, "credential", "Invalid credential type: the credential is missing"),
        ({"credential": {"type": "Iam"}}, "credential.type", "Invalid credential type: give one of ManualConfig, "),
        ({"credential": of("ManualConfig", secretKey="s")}, "credential.spec.accessKey", "an AccessKey and a SecretKey"),
        ({"credential": of("ManualConfig", accessKey="a")}, "credential.spec.secretKey", "an AccessKey and a SecretKey"),
        ({"credential": of("ManualConfig", accessKey="a b", secretKey="s")}, "credential.spec.accessKey",
         "an id itself goes into accessKeyPlainText"),
        ({"credential": of("ManualConfig", accessKeyPlainText="a b", secretKey="s")}, "credential.spec.accessKeyPlainText",
         "give the id of an access key"),
        ({"credential": of("ManualConfig", accessKey="a", accessKeyPlainText="A" * 20, secretKey="s")},
         "credential.spec.accessKeyPlainText", "is given twice"),
        ({"credential": of("AssumeIAMRole")}, "credential.spec.delegateSelectors", "DelegateSelectors cannot be Empty"),
        ({"credential": sts(delegateSelectors=[])}, "credential.spec.delegateSelectors", "DelegateSelectors cannot be Empty"),
        ({"credential": sts(roleArn=None)}, "credential.spec.roleArn", "Role Arn cannot be Empty"),
        ({"credential": sts(externalId=[])}, "credential.spec.externalId", "give a text of 1 to 2,048 characters"),
        ({"credential": sts(externalId="a", externalName="a")}, "credential.spec.externalName", "give one of them"),
        ({"credential": sts(assumeStsRoleDuration=899)}, "credential.spec.assumeStsRoleDuration", "give 900 to 3600 seconds"),
        ({"credential": of("OidcAuthentication")}, "credential.spec.iamRoleArn", "Iam Role Arn cannot be Empty"),
        ({"secretNamePrefix": "a b"}, "secretNamePrefix", "give at most 124 letters"),
        ({"secretNamePrefix": "p" * 125}, "secretNamePrefix", "give at most 124 letters"),
        ({"usePutSecret": "yes"}, "usePutSecret", "give true or false"),
        ({"recoveryWindowInDays": 6}, "recoveryWindowInDays", "give 7 to 30 days"),
        ({"recoveryWindowInDays": 31}, "recoveryWindowInDays", "give 7 to 30 days"),
        ({"recoveryWindowInDays": 7, "forceDeleteWithoutRecovery": True}, "recoveryWindowInDays", "exclude each other"),
        ({"kmsArn": "x"}, "kmsArn", "there is no such field: give one of "),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_by_its_path(changes: Any, path: str, text: str) -> None:
    with pytest.raises(Malformed) as caught:
        aws(**changes)
    assert caught.value.code == "connector_malformed"
    assert caught.value.facts["path"] == f"spec.{path}"
    assert text in caught.value.detail
